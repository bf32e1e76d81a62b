//! A TCP proxy that spoils connections on request: what a network does to a client, at the moment somebody wants it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

const CHUNK_BYTES: usize = 16 * 1024;
/// How often a connection that hangs looks whether it may go on.
const LOOK: Duration = Duration::from_millis(10);
/// The most of a request's head that is looked at before it is refused.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take to send a request that is answered here, and to hang up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);
const SLOW_DOWN: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Bytes pass unchanged.
    None,
    /// Connections are closed at once, those that are open too.
    Refuse,
    /// Every new request is answered with `503 Slow Down`, as S3 does under load; open connections are closed.
    Http503,
    /// Connections stay open, new ones are taken, and nothing passes: packets that are dropped on the way.
    Hang,
    /// Every chunk, in both directions, comes so much later.
    Slow(Duration),
    /// Requests reach the server; its answer is dropped and the connection closed. To a client: an error after the effect.
    LoseAnswers,
}

/// A proxy on a free port of loopback.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    fault: Mutex<Fault>,
    /// Both ends of what is open, to close it from here.
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    struck: AtomicU64,
    ended: AtomicBool,
}

impl Proxy {
    /// Starts a proxy before a server, `127.0.0.1:PORT`, which need not be there yet.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn start(target: &str) -> Result<Self> {
        Self::start_at(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string(), target)
    }

    /// The same where clients are to find it: `127.0.0.1:PORT`.
    ///
    /// # Errors
    ///
    /// When it cannot be listened on.
    pub fn start_at(listen: &str, target: &str) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("a proxy cannot listen on {listen}"))?;
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            fault: Mutex::new(Fault::None),
            open: Mutex::default(),
            struck: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let proxy = Self { address: listener.local_addr()?, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::Acquire) {
                    break;
                }
                let shared = Arc::clone(&shared);
                // A connection that breaks is what this is for; its client sees it.
                thread::spawn(move || shared.serve(client));
            }
        });
        Ok(proxy)
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Spoils connections in this way from now on.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        if matches!(fault, Fault::Refuse | Fault::Http503) {
            let closed = self.shared.close_all();
            self.shared.struck.fetch_add(closed, Ordering::AcqRel);
        }
    }

    /// How often a fault has struck: connections closed, requests refused, chunks delayed or held, answers lost. To see that there was one.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.close_all();
        // Wakes the thread that waits for a connection, so that it sees the end. Where that fails there is nothing to wake.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(&self) {
        self.struck.fetch_add(1, Ordering::AcqRel);
    }

    /// Until bytes may pass again.
    fn wait(&self) {
        self.strike();
        while self.fault() == Fault::Hang && !self.ended.load(Ordering::Acquire) {
            thread::sleep(LOOK);
        }
    }

    fn close_all(&self) -> u64 {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.iter().map(|(client, server)| u64::from(close(client) | close(server))).sum()
    }

    fn serve(self: Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        match self.fault() {
            Fault::Refuse => {
                self.strike();
                return Ok(());
            }
            Fault::Http503 => {
                self.strike();
                return refuse(client);
            }
            Fault::None | Fault::Hang | Fault::Slow(_) | Fault::LoseAnswers => {}
        }
        let server = TcpStream::connect(&self.target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|(client, _)| client.peer_addr().is_ok());
            open.push((client.try_clone()?, server.try_clone()?));
        }
        let (to_server, from_client) = (server.try_clone()?, client.try_clone()?);
        let shared = Arc::clone(&self);
        thread::spawn(move || shared.pass(from_client, to_server, Side::Requests));
        self.pass(server, client, Side::Answers)
    }

    /// Passes one direction on until it ends. The end of the requests leaves the way back open: the server may have more to say.
    fn pass(&self, from: TcpStream, to: TcpStream, side: Side) -> std::io::Result<()> {
        let copied = self.copy(&from, &to, side);
        if side == Side::Requests && copied.is_ok() {
            return to.shutdown(Shutdown::Write);
        }
        close(&from);
        close(&to);
        copied
    }

    /// Copies bytes as the fault of the moment has it.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, side: Side) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = match from.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            match self.fault() {
                Fault::Slow(pause) => {
                    self.strike();
                    thread::sleep(pause);
                }
                Fault::Hang => self.wait(),
                // It has answered, so it has done what it was asked.
                Fault::LoseAnswers if side == Side::Answers => {
                    self.strike();
                    return Ok(());
                }
                Fault::None | Fault::LoseAnswers | Fault::Refuse | Fault::Http503 => {}
            }
            to.write_all(chunk.get(..length).unwrap_or_default())?;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Requests,
    Answers,
}

/// Closes one end; `false` where it was closed already.
fn close(stream: &TcpStream) -> bool {
    stream.shutdown(Shutdown::Both).is_ok()
}

/// Reads the head of a request, says no, and lets the client read that before it hangs up.
fn refuse(mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(CLIENT_PATIENCE))?;
    let (mut head, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        match client.read(&mut chunk)? {
            0 => return Ok(()),
            length => head.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
    let (length, body) = (SLOW_DOWN.len(), SLOW_DOWN);
    write!(
        client,
        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    client.shutdown(Shutdown::Write)?;
    // Closed with bytes unread, the system would take the answer back.
    while client.read(&mut chunk)? > 0 {}
    Ok(())
}
