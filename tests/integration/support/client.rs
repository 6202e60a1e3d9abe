//! TLS clients with certificates of the tests' choosing, and just enough HTTP to read answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode, SslVersion,
};
use serde_json::Value;
use socket2::SockRef;

use super::PATIENCE;
use super::pki::Identity;

/// The TLS versions that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// 1.2 alone.
    V12,
    /// 1.3 alone.
    V13,
    /// Whatever the library speaks.
    Any,
}

impl Tls {
    /// The versions that the proxy speaks.
    pub(crate) const BOTH: [Self; 2] = [Self::V12, Self::V13];
}

/// TLS alerts (RFC 8446, section 6).
pub(crate) mod alert {
    pub(crate) const HANDSHAKE_FAILURE: u8 = 40;
    pub(crate) const UNKNOWN_CA: u8 = 48;
    pub(crate) const DECRYPT_ERROR: u8 = 51;
    pub(crate) const PROTOCOL_VERSION: u8 = 70;
    pub(crate) const NO_RENEGOTIATION: u8 = 100;
    pub(crate) const CERTIFICATE_REQUIRED: u8 = 116;
}

/// Connects and shakes hands. In TLS 1.3 the client is done before the server has looked at its
/// certificate: a refusal is seen by the next read, see [`refusal`].
pub(crate) fn connect(
    address: SocketAddr,
    identity: Option<&Identity>,
    tls: Tls,
) -> Result<SslStream<TcpStream>, String> {
    connect_with(address, identity, tls, |_| {})
}

/// As [`connect`], with further settings.
pub(crate) fn connect_with(
    address: SocketAddr,
    identity: Option<&Identity>,
    tls: Tls,
    settings: impl FnOnce(&mut SslContextBuilder),
) -> Result<SslStream<TcpStream>, String> {
    let mut context = context(identity, tls);
    settings(&mut context);
    let ssl = Ssl::new(&context.build()).unwrap();
    shake_hands(address, ssl).map_err(|failure| failure.text)
}

/// A client's settings: it does not verify the server.
pub(crate) fn context(identity: Option<&Identity>, tls: Tls) -> SslContextBuilder {
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    if let Some(identity) = identity {
        context.set_certificate(&identity.cert).unwrap();
        context.set_private_key(&identity.key).unwrap();
    }
    let (least, most) = match tls {
        Tls::V12 => (Some(SslVersion::TLS1_2), Some(SslVersion::TLS1_2)),
        Tls::V13 => (Some(SslVersion::TLS1_3), Some(SslVersion::TLS1_3)),
        Tls::Any => (None, None),
    };
    context.set_min_proto_version(least).unwrap();
    context.set_max_proto_version(most).unwrap();
    context
}

/// A failed handshake or read: the alert that the server sent, if it sent one.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Number of the alert.
    pub(crate) alert: Option<u8>,
    /// The library's words.
    pub(crate) text: String,
}

impl Failure {
    fn new(error: &openssl::ssl::Error) -> Self {
        // The reason codes of received alerts are 1000 + their number, in OpenSSL and AWS-LC alike.
        let codes = error.ssl_error().map_or(&[][..], ErrorStack::errors).iter();
        let alert = codes
            .filter_map(|e| u8::try_from(e.reason_code() - 1000).ok())
            .next();
        let alert_text = alert.map_or_else(String::new, |alert| format!("alert {alert}: "));
        Self {
            alert,
            text: format!("{alert_text}{error}"),
        }
    }
}

/// Connects TCP with bounds on all waits.
pub(crate) fn tcp(address: SocketAddr) -> Result<TcpStream, String> {
    let tcp = TcpStream::connect(address).map_err(|error| error.to_string())?;
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    Ok(tcp)
}

/// The handshake on a connection of its own.
pub(crate) fn shake_hands(address: SocketAddr, ssl: Ssl) -> Result<SslStream<TcpStream>, Failure> {
    let tcp = tcp(address).map_err(|text| Failure { alert: None, text })?;
    let mut stream = SslStream::new(ssl, tcp).unwrap();
    match stream.connect() {
        Ok(()) => Ok(stream),
        Err(error) => Err(Failure::new(&error)),
    }
}

/// Connects, expecting to be refused in the handshake; `None` if it was not.
pub(crate) fn refusal(
    address: SocketAddr,
    identity: Option<&Identity>,
    tls: Tls,
) -> Option<Failure> {
    refusal_with(address, context(identity, tls))
}

/// As [`refusal`], with any settings.
pub(crate) fn refusal_with(address: SocketAddr, context: SslContextBuilder) -> Option<Failure> {
    let ssl = Ssl::new(&context.build()).unwrap();
    let mut stream = match shake_hands(address, ssl) {
        Ok(stream) => stream,
        Err(failure) => return Some(failure),
    };
    // An admitted client gets an answer to this, a refused one its alert.
    let _ = stream.ssl_write(b"GET / HTTP/1.0\r\n\r\n");
    match stream.ssl_read(&mut [0; 1]) {
        Ok(_) => None,
        Err(error) => Some(Failure::new(&error)),
    }
}

/// Whether this client is admitted now: its handshake is completed and a request is answered.
pub(crate) fn admitted(address: SocketAddr, identity: &Identity) -> bool {
    refusal(address, Some(identity), Tls::Any).is_none()
}

/// Sends bytes.
pub(crate) fn send(stream: &mut impl Write, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).unwrap();
    stream.flush().unwrap();
}

/// One answered request, so that everything the server sends after its handshake was read.
pub(crate) fn ask(stream: &mut SslStream<TcpStream>) {
    ask_with(stream);
}

/// The same over any stream.
pub(crate) fn ask_with(stream: &mut (impl Read + Write)) {
    send(stream, request("version", "[]"));
    read_response(stream);
}

/// A request as Ganeti's clients send it.
pub(crate) fn request(procedure: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /{procedure} HTTP/1.1\r\nHost: node1:1811\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Reads one answer.
pub(crate) fn read_response(stream: &mut impl Read) -> Response {
    try_read_response(stream).unwrap()
}

/// Reads one answer; without `Content-Length` the body goes to the end of the stream.
pub(crate) fn try_read_response(stream: &mut impl Read) -> Result<Response, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(format!("closed after {} bytes of the head", head.len())),
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("after {} bytes of the head: {error}", head.len())),
        }
    }
    let head = String::from_utf8(head).map_err(|error| error.to_string())?;
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no status in {first:?}"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = Vec::new();
    match length.map(|(_, value)| value.parse::<usize>()) {
        Some(Ok(length)) => {
            body.resize(length, 0);
            stream
                .read_exact(&mut body)
                .map_err(|error| format!("body of {length}: {error}"))?;
        }
        Some(Err(error)) => return Err(format!("Content-Length: {error}")),
        None => {
            stream
                .read_to_end(&mut body)
                .map_err(|error| format!("body: {error}"))?;
        }
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// One RPC on a connection of its own.
pub(crate) fn rpc(
    address: SocketAddr,
    identity: &Identity,
    procedure: &str,
    body: &str,
) -> Result<Response, String> {
    let mut stream = connect(address, Some(identity), Tls::Any)?;
    stream
        .write_all(request(procedure, body).as_bytes())
        .map_err(|error| error.to_string())?;
    try_read_response(&mut stream)
}

/// Leaves as a process does that is killed on a machine that is: the other side sees a reset.
pub(crate) fn reset(stream: SslStream<TcpStream>) {
    let socket = SockRef::from(stream.get_ref());
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
}
