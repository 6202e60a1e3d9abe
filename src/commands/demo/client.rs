//! A client of the proxy as small as it can be: one TLS connection, POST, and the answer as text.
//! Blocking.
//!
//! It never checks whom it talks to, so nothing but the demo may use it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::tls::mint::CertifiedKey;
use crate::tls::{BlockingStream, connect_unverified};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to call over TLS, and as whom.
pub(super) struct Client<'a> {
    pub(super) address: SocketAddr,
    pub(super) identity: Option<&'a CertifiedKey>,
}

/// An open connection.
pub(super) struct Connection {
    stream: BufReader<BlockingStream>,
}

impl Client<'_> {
    pub(super) fn connect(&self) -> Result<Connection, String> {
        let tcp = TcpStream::connect_timeout(&self.address, PATIENCE).map_err(|e| e.to_string())?;
        tcp.set_read_timeout(Some(PATIENCE))
            .map_err(|e| e.to_string())?;
        let stream = connect_unverified(tcp, self.identity).map_err(|error| brief(&error))?;
        Ok(Connection {
            stream: BufReader::new(stream),
        })
    }

    /// One RPC on a new connection: `STATUS BODY`, or why it was refused.
    pub(super) fn call(&self, procedure: &str) -> Result<String, String> {
        self.connect()?.call(procedure)
    }
}

impl Connection {
    /// One RPC: `STATUS BODY`.
    pub(super) fn call(&mut self, procedure: &str) -> Result<String, String> {
        let request =
            format!("POST /{procedure} HTTP/1.1\r\nHost: demo\r\nContent-Length: 2\r\n\r\n[]");
        self.exchange(&request)
            .map_err(|error| brief(&error.to_string()))
    }

    fn exchange(&mut self, request: &str) -> io::Result<String> {
        // With TLS 1.3 the refusal may come while the request is still going out: the read reports
        // it.
        let _ = self.stream.get_mut().write_all(request.as_bytes());
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::other("connection closed"));
        }
        let status = line.split(' ').nth(1).unwrap_or("?").to_owned();
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap_or(0),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(format!(
            "{status} {}",
            String::from_utf8_lossy(&body).trim_end()
        ))
    }

    /// Whether the proxy closes this connection within `limit`.
    pub(super) fn closed_within(&mut self, limit: Duration) -> bool {
        let tcp = self.stream.get_ref().get_ref();
        let _ = tcp.set_read_timeout(Some(limit));
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }
}

/// The words of OpenSSL's error that a person reads: the alert's name.
fn brief(error: &str) -> String {
    let words = error.split(':').map(str::trim);
    let alert = words
        .clone()
        .find(|w| w.to_ascii_lowercase().replace('_', " ").contains("alert"));
    alert.map_or_else(
        || error.to_owned(),
        |alert| format!("TLS: {}", alert.to_ascii_lowercase().replace('_', " ")),
    )
}
