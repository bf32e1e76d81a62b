//! One handshake, within its time.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::server::TlsStream;

/// What a request without TLS is told. Not 400: clients give up events for that, and keep them for this until their address is mended.
const TURNED_AWAY: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
    r#"{"success":false,"code":"tls_required","message":"this port speaks TLS","detail":"write https:// in the place of http:// and send again"}"#
);
/// How much of such a request is read, in bytes, so that its sender sees the answer.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was not done within its time.
    #[error("the handshake was not done within server.handshake_timeout")]
    TooSlow,
    /// The client speaks HTTP without TLS.
    #[error("the client speaks HTTP without TLS")]
    Plain,
    /// The client left before it said anything, as what looks whether a port is open does.
    #[error("the client left")]
    Gone,
    /// The client has no certificate, or none that the settings ask for.
    #[error("the client's certificate: {0}")]
    ClientCertificate(rustls::Error),
    /// Anything else.
    #[error(transparent)]
    Other(io::Error),
}

impl Failure {
    /// The word for it among the labels of a metric; nothing where there was no handshake to fail.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::TooSlow => Some("too_slow"),
            Self::Plain => Some("plain_text"),
            Self::Gone => None,
            Self::ClientCertificate(_) => Some("client_certificate"),
            Self::Other(_) => Some("other"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(refused @ (rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_))) => {
                Self::ClientCertificate(refused.clone())
            }
            _ => Self::Other(error),
        }
    }
}

/// Shakes hands with a client within a time.
///
/// # Errors
///
/// Why there is no connection; what could be said to the client was said.
pub(crate) async fn shake(acceptor: &TlsAcceptor, stream: TcpStream, timeout: Duration) -> Result<TlsStream<TcpStream>, Failure> {
    tokio::time::timeout(timeout, attempt(acceptor, stream)).await.unwrap_or(Err(Failure::TooSlow))
}

async fn attempt(acceptor: &TlsAcceptor, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(Failure::Gone);
    }
    // A method is of letters; TLS begins with 22.
    if first.iter().all(u8::is_ascii_alphabetic) {
        // Whether it was heard changes nothing.
        drop(turn_away(stream).await);
        return Err(Failure::Plain);
    }
    Ok(acceptor.accept(stream).await?)
}

async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(TURNED_AWAY.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(DRAIN_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}
