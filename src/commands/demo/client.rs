//! A client as small as it can be: one TLS connection, POST, read the answer. Blocking.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream};

use super::pki::Identity;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to call, and as whom.
pub(super) struct Client<'a> {
    pub(super) address: SocketAddr,
    pub(super) identity: Option<&'a Identity>,
}

/// An open connection.
pub(super) struct Connection {
    stream: BufReader<SslStream<TcpStream>>,
}

impl Client<'_> {
    pub(super) fn connect(&self) -> Result<Connection, String> {
        let context = self.context().map_err(|error| error.to_string())?;
        let tcp = TcpStream::connect_timeout(&self.address, PATIENCE).map_err(|e| e.to_string())?;
        tcp.set_read_timeout(Some(PATIENCE))
            .map_err(|e| e.to_string())?;
        let ssl = Ssl::new(&context).map_err(|error| error.to_string())?;
        let stream = ssl
            .connect(tcp)
            .map_err(|error| brief(&error.to_string()))?;
        Ok(Connection {
            stream: BufReader::new(stream),
        })
    }

    fn context(&self) -> Result<SslContext, openssl::error::ErrorStack> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        if let Some(identity) = self.identity {
            context.set_certificate(&identity.certificate)?;
            context.set_private_key(&identity.key)?;
        }
        Ok(context.build())
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
        // With TLS 1.3 the refusal may come while the request is still going out.
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
        let _ = self
            .stream
            .get_ref()
            .get_ref()
            .set_read_timeout(Some(limit));
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

/// A plain GET.
pub(super) fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: demo\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
