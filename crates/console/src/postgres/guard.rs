//! Which statements there are: those that read, and those by which clients arrange their session.

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Query, Set, SetExpr, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire;
use pgwire::api::ClientInfo;
use pgwire::api::results::Response;
use pgwire::error::{PgWireError, PgWireResult};

use super::connection::told;
use crate::Error;

/// Refuses what is not to be, before anything else sees it.
#[derive(Debug)]
pub(super) struct Guard;

#[async_trait]
impl QueryHook for Guard {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        refused(statement).map(Err)
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        refused(statement).map(Err)
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        refused(statement).map(Err)
    }
}

fn refused(statement: &Statement) -> Option<PgWireError> {
    let verdict = judge(statement);
    verdict.err().map(|error| told(&error))
}

/// Whether a statement may run. What is not known to do no harm may not.
pub(super) fn judge(statement: &Statement) -> Result<(), Error> {
    match statement {
        Statement::Query(query) => judge_query(query),
        Statement::Explain { statement, .. } => judge(statement),
        Statement::Declare { stmts } => {
            stmts.iter().filter_map(|declared| declared.for_query.as_ref()).try_for_each(|query| judge_query(query))
        }
        Statement::Set(set) => judge_set(set),
        Statement::ExplainTable { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowVariables { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowCatalogs { .. }
        | Statement::ShowSchemas { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowFunctions { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Fetch { .. }
        | Statement::Close { .. } => Ok(()),
        other => Err(Error::not_reading(format!("the statement {} is not supported", first_words(other)))),
    }
}

fn judge_query(query: &Query) -> Result<(), Error> {
    query.with.iter().flat_map(|with| &with.cte_tables).try_for_each(|named| judge_query(&named.query))?;
    judge_body(&query.body)
}

fn judge_body(body: &SetExpr) -> Result<(), Error> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => Err(Error::not_reading("SELECT INTO makes a table")),
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
        SetExpr::Query(query) => judge_query(query),
        SetExpr::SetOperation { left, right, .. } => judge_body(left).and_then(|()| judge_body(right)),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(Error::not_reading("a statement that changes rows is not supported"))
        }
    }
}

/// Settings of the session are the client's own, but for the engine's: they have the bounds.
fn judge_set(set: &Set) -> Result<(), Error> {
    let is_engines = |name: String| name.to_lowercase().replace('"', "").starts_with("datafusion.");
    let named: Vec<String> = match set {
        Set::SingleAssignment { variable, .. } => vec![variable.to_string()],
        Set::ParenthesizedAssignments { variables, .. } => variables.iter().map(ToString::to_string).collect(),
        Set::MultipleAssignments { assignments } => assignments.iter().map(|assignment| assignment.name.to_string()).collect(),
        _ => Vec::new(),
    };
    if named.into_iter().any(is_engines) {
        return Err(Error::not_reading("the settings of the engine cannot be changed by a client"));
    }
    Ok(())
}

/// What kind of statement it is, without what it says.
fn first_words(statement: &Statement) -> String {
    statement.to_string().split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
