//! One connection: its session, its statements, and what it is told when one fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::{DfSessionService, Parser, QueryHook, pgwire};
use futures::Sink;
use pgwire::api::auth::StartupHandler;
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{DescribePortalResponse, FieldInfo, Response};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, ConnectionHandle, DEFAULT_NAME, ErrorHandler, METADATA_USER, PgWireServerHandlers, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;

use super::guard::Guard;
use super::{Shared, login, rows};
use crate::bounded::Limit;
use crate::error::syntax;
use crate::{Error, ErrorKind, Reader, metrics};

/// The handlers of one connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    login: Arc<login::Login>,
    statements: Arc<Statements>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let session = shared.template.session();
        let hooks: Vec<Arc<dyn QueryHook>> =
            vec![Arc::new(Guard), Arc::new(CursorStatementHook), Arc::new(SetShowHook), Arc::new(TransactionStatementHook)];
        let service = DfSessionService::new_with_hooks(Arc::clone(&session), hooks);
        let parsing = Arc::new(Parsing { reader: shared.reader.clone(), inner: service.query_parser() });
        let statements = Arc::new(Statements { shared: Arc::clone(&shared), session, service, parsing });
        let login = Arc::new(login::handler(&shared));
        Self { shared, login, statements }
    }
}

impl PgWireServerHandlers for Connection {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.statements)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.statements)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.login)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(Arc::clone(&self.shared.manager)))
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::new(Errors { reader: self.shared.reader.clone() })
    }
}

/// Answers statements, in both forms that the protocol has.
struct Statements {
    shared: Arc<Shared>,
    session: Arc<SessionContext>,
    service: DfSessionService,
    parsing: Arc<Parsing>,
}

impl Statements {
    /// The time that a statement has: what the settings say, or less where the client wants less.
    fn limit<C: ClientInfo>(&self, client: &C) -> Limit {
        // As the library keeps what `SET statement_timeout` says.
        let wanted = client.metadata().get("statement_timeout_ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
        self.shared.reader.limit().within(wanted)
    }

    /// A prepared statement, planned anew: the tables have changed since.
    async fn renewed(&self, portal: &Portal<PreparedStatement>) -> PgWireResult<Option<Portal<PreparedStatement>>> {
        let stored = &portal.statement;
        let (text, Some((statement @ Statement::Query(_), _))) = &stored.statement else { return Ok(None) };
        if stored.id == DEFAULT_NAME {
            // Prepared for this once.
            return Ok(None);
        }
        self.shared.reader.catalog().refresh().await?;
        let plan = self.session.state().statement_to_plan(ParsedStatement::Statement(Box::new(statement.clone()))).await;
        let plan = plan.map_err(|error| PgWireError::ApiError(Box::new(error)))?;
        let prepared = (text.clone(), Some((statement.clone(), plan)));
        let mut renewed = Portal::default();
        renewed.name.clone_from(&portal.name);
        renewed.statement = Arc::new(StoredStatement::new(stored.id.clone(), prepared, stored.parameter_types.clone()));
        renewed.parameter_format = portal.parameter_format.clone();
        renewed.parameters.clone_from(&portal.parameters);
        renewed.result_column_format = portal.result_column_format.clone();
        Ok(Some(renewed))
    }
}

/// As the library keeps one.
type PreparedStatement = <Parser as QueryParser>::Statement;

#[async_trait]
impl SimpleQueryHandler for Statements {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let limit = self.limit(client);
        let handle = handle(client);
        let answered = async {
            self.shared.reader.catalog().refresh().await?;
            SimpleQueryHandler::do_query(&self.service, client, query).await
        };
        let responses = limit.keep(answered).await?;
        let mut bounded = Vec::with_capacity(responses.len());
        for response in responses {
            bounded.push(rows::bound(&self.shared.reader, response, limit.clone(), handle.clone(), None));
        }
        Ok(bounded)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Statements {
    type Statement = PreparedStatement;
    type QueryParser = Parsing;

    fn query_parser(&self) -> Arc<Parsing> {
        Arc::clone(&self.parsing)
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<PreparedStatement>, rows_max: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let limit = self.limit(client);
        let handle = handle(client);
        let answered = async {
            let renewed = self.renewed(portal).await?;
            ExtendedQueryHandler::do_query(&self.service, client, renewed.as_ref().unwrap_or(portal), rows_max).await
        };
        let response = limit.keep(answered).await?;
        let bytes_max = (rows_max == 0).then_some(self.shared.answer_bytes_max);
        Ok(rows::bound(&self.shared.reader, response, limit, handle, bytes_max))
    }

    /// What a portal gives. A cursor has no plan here, it is running already: that tells its columns.
    async fn do_describe_portal<C>(&self, _: &mut C, portal: &Portal<PreparedStatement>) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let PortalExecutionState::Suspended(running) = &*portal.state().lock().await {
            return Ok(DescribePortalResponse::new(running.row_schema().to_vec()));
        }
        let fields = self.parsing.get_result_schema(&portal.statement.statement, Some(&portal.result_column_format))?;
        Ok(DescribePortalResponse::new(fields))
    }
}

fn handle<C: ClientInfo>(client: &C) -> Option<Arc<ConnectionHandle>> {
    client.session_extensions().get::<Arc<ConnectionHandle>>().map(|handle| Arc::clone(handle.as_ref()))
}

/// The library's parser, over the tables there are now.
pub(super) struct Parsing {
    reader: Reader,
    inner: Arc<Parser>,
}

#[async_trait]
impl QueryParser for Parsing {
    type Statement = PreparedStatement;

    async fn parse_sql<C>(&self, client: &C, sql: &str, types: &[Option<Type>]) -> PgWireResult<Option<PreparedStatement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.reader.catalog().refresh().await?;
        self.inner.parse_sql(client, sql, types).await
    }

    fn get_parameter_types(&self, statement: &PreparedStatement) -> PgWireResult<Vec<Type>> {
        self.inner.get_parameter_types(statement)
    }

    fn get_result_schema(&self, statement: &PreparedStatement, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        self.inner.get_result_schema(statement, format)
    }
}

/// Says what a statement's error is in Postgres's terms.
struct Errors {
    reader: Reader,
}

impl ErrorHandler for Errors {
    fn on_error<C: ClientInfo>(&self, client: &C, error: &mut PgWireError) {
        if let PgWireError::InvalidPassword(_) = error {
            let name = client.metadata().get(METADATA_USER).map_or("", String::as_str);
            tracing::info!(peer = %client.socket_addr(), reader = name, "a Postgres client gave no password of this reader");
            let message = format!("password authentication failed for user \"{name}\"");
            let mut info = ErrorInfo::new("FATAL".to_owned(), "28P01".to_owned(), message);
            info.hint = Some("`tidegate reader add NAME` on the server makes a reader and prints the password".to_owned());
            *error = PgWireError::UserError(Box::new(info));
        }
        if let PgWireError::ApiError(source) = error {
            let known = if let Some(error) = source.downcast_ref::<DataFusionError>() {
                Some(self.reader.explain(error))
            } else {
                source.downcast_ref::<ParserError>().map(|error| Error::new(ErrorKind::Syntax, syntax(error)))
            };
            if let Some(known) = known {
                metrics::answered(known.label());
                *error = told(&known);
            }
        }
        tracing::debug!(%error, "a Postgres client is told of an error");
    }
}

/// An error of ours as the protocol says it.
pub(super) fn told(error: &Error) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".to_owned(), error.sqlstate().to_owned(), error.message().to_owned());
    info.hint = error.hint().map(str::to_owned);
    PgWireError::UserError(Box::new(info))
}
