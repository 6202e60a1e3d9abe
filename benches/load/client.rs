//! TLS connections to the proxy under test, as Ganeti's RPC clients open them.

use crate::args::Args;
use crate::http::{Response, exchange};
use openssl::error::ErrorStack;
use openssl::ssl::{
    HandshakeError, Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) type Conn = SslStream<TcpStream>;

/// Where to connect, and with which certificates (one context for each).
pub(crate) struct Client {
    contexts: Vec<SslContext>,
    source: IpAddr,
    port: u16,
    timeout: Duration,
}

impl Client {
    /// From `--port`, `--tls` and a certificate: a PEM file, a folder of them or none.
    pub(crate) fn new(args: &Args, cert: Option<&Path>) -> Self {
        let tls = version(&args.get("tls", "1.3".to_owned()));
        let mut files = match cert {
            Some(path) if path.is_dir() => pem_files(path).expect("certificate folder"),
            Some(path) => vec![Some(path.to_path_buf())],
            None => vec![None],
        };
        files.sort();
        Self {
            contexts: files
                .iter()
                .map(|file| context(file.as_deref(), tls).expect("client certificate"))
                .collect(),
            source: Ipv4Addr::LOCALHOST.into(),
            port: args.get("port", 1811),
            timeout: args.seconds("timeout", 5.0),
        }
    }

    /// The same, from another loopback address.
    pub(crate) fn with_source(mut self, source: IpAddr) -> Self {
        self.source = source;
        self
    }

    pub(crate) fn context(&self) -> &SslContext {
        &self.contexts[0]
    }

    /// A new TCP connection and a full handshake with the n-th certificate.
    pub(crate) fn connect(&self, n: usize) -> Result<Conn, String> {
        let ssl = Ssl::new(&self.contexts[n % self.contexts.len()]).map_err(|e| e.to_string())?;
        ssl.connect(self.tcp()?).map_err(|e| match e {
            HandshakeError::WouldBlock(_) => "handshake timeout".to_owned(),
            _ => "handshake refused".to_owned(),
        })
    }

    pub(crate) fn tcp(&self) -> Result<TcpStream, String> {
        self.try_tcp().map_err(|e| format!("connect: {e}"))
    }

    fn try_tcp(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if self.source != Ipv4Addr::LOCALHOST {
            socket.bind(&SocketAddr::new(self.source, 0).into())?;
        }
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into())?;
        let tcp = TcpStream::from(socket);
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(self.timeout))?;
        tcp.set_write_timeout(Some(self.timeout))?;
        Ok(tcp)
    }

    /// One RPC on the connection in `slot`, which is opened if there is none and stays in
    /// `slot` if it can carry another.
    pub(crate) fn rpc(
        &self,
        n: usize,
        slot: &mut Option<Conn>,
        request: &[u8],
        buf: &mut Vec<u8>,
    ) -> Result<Response, String> {
        let mut conn = match slot.take() {
            Some(conn) => conn,
            None => self.connect(n)?,
        };
        let response = exchange(&mut conn, request, buf).map_err(|e| reason(&e))?;
        if !response.close {
            *slot = Some(conn);
        }
        Ok(response)
    }

    /// One RPC on a connection of its own; the HTTP status.
    pub(crate) fn single(
        &self,
        n: usize,
        request: &[u8],
        buf: &mut Vec<u8>,
    ) -> Result<u16, String> {
        let mut slot = None;
        let response = self.rpc(n, &mut slot, request, buf)?;
        if let Some(conn) = slot {
            close(conn);
        }
        Ok(response.status)
    }
}

pub(crate) fn close(mut conn: Conn) {
    let _ = conn.shutdown();
    let _ = conn.get_ref().shutdown(Shutdown::Both);
}

/// A word for an I/O error, to count by.
pub(crate) fn reason(e: &io::Error) -> String {
    use io::ErrorKind::*;
    match e.kind() {
        UnexpectedEof => "closed".into(),
        ConnectionReset | BrokenPipe => "reset".into(),
        WouldBlock | TimedOut => "timeout".into(),
        InvalidData => format!("http: {e}"),
        _ => "tls".into(),
    }
}

pub(crate) fn version(text: &str) -> SslVersion {
    match text {
        "1.2" => SslVersion::TLS1_2,
        "1.3" => SslVersion::TLS1_3,
        other => panic!("--tls {other}: 1.2 or 1.3"),
    }
}

fn pem_files(folder: &Path) -> io::Result<Vec<Option<PathBuf>>> {
    std::fs::read_dir(folder)?
        .map(|entry| Ok(Some(entry?.path())))
        .collect()
}

/// No session reuse, and no check of the server's certificate: the clients share the machine with
/// the proxy and should spend as little as they can. One order of groups (the second is that of
/// ECDSA certificates) and of ciphers, so that every proxy is asked for the same work.
pub(crate) fn context(cert: Option<&Path>, tls: SslVersion) -> Result<SslContext, ErrorStack> {
    let mut b = SslContextBuilder::new(SslMethod::tls_client())?;
    b.set_verify(SslVerifyMode::NONE);
    b.set_session_cache_mode(SslSessionCacheMode::OFF);
    b.set_min_proto_version(Some(tls))?;
    b.set_max_proto_version(Some(tls))?;
    b.set_groups_list("X25519:P-256")?;
    b.set_cipher_list("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")?;
    if let Some(path) = cert {
        b.set_certificate_file(path, SslFiletype::PEM)?;
        b.set_private_key_file(path, SslFiletype::PEM)?;
    }
    Ok(b.build())
}
