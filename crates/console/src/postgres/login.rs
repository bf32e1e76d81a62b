//! Who may come in: a reader, by name and password (SCRAM-SHA-256, RFC 7677). The password is never on the wire.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire;
use pgwire::api::auth::sasl::SASLAuthStartupHandler;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth};
use pgwire::api::auth::{AuthSource, DefaultServerParameterProvider, LoginInfo, Password};
use pgwire::error::{PgWireError, PgWireResult};

use super::readers::{self, ReaderFile};
use super::session::SERVER_VERSION;
use super::{Shared, connection::told};
use crate::{Error, ErrorKind};

pub(super) type Login = SASLAuthStartupHandler<DefaultServerParameterProvider>;

/// Takes one connection through its login.
pub(super) fn handler(shared: &Shared) -> Login {
    let mut parameters = DefaultServerParameterProvider::default();
    parameters.is_superuser = false;
    parameters.default_transaction_read_only = true;
    parameters.time_zone = "UTC".to_owned();
    parameters.server_version = format!("{SERVER_VERSION} (Tidegate)");
    let mut scram = ScramAuth::new(Arc::new(Source { readers: shared.readers.clone() }));
    scram.set_iterations(SCRAM_ITERATIONS);
    SASLAuthStartupHandler::new(Arc::new(parameters)).with_scram(scram).with_connection_manager(Arc::clone(&shared.manager))
}

#[derive(Debug)]
struct Source {
    readers: ReaderFile,
}

#[async_trait]
impl AuthSource for Source {
    /// The file is read at each login: a reader who is revoked is gone at once. A name that nobody has gets a password that nobody knows, so that it is refused as late
    /// and in the same words as a wrong password.
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let (readers, name) = (self.readers.clone(), login.user().unwrap_or_default().to_owned());
        let found = tokio::task::spawn_blocking(move || readers.find(&name)).await;
        let failed = |what: String| -> PgWireError {
            tracing::error!(error = what, "the file of readers cannot be read");
            told(&Error::new(ErrorKind::Store, "the readers cannot be looked up; the log of the server says why"))
        };
        let entry = found.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        let entry = entry.unwrap_or_else(readers::Entry::nobody);
        let (salt, salted) = entry.secret().map_err(|error| failed(error.to_string()))?;
        Ok(Password::new(Some(salt), salted))
    }
}
