//! The usual scene: one candidate, the proxy, and a stub in noded's place.

use std::net::TcpStream;

use openssl::ssl::SslStream;

use super::client::{Response, Tls, connect, rpc, send, try_read_response};
use super::pki::{Identity, Pki};
use super::proxy::{Builder, Proxy};
use super::stub::StubNoded;

/// One candidate, the proxy, and a stub in noded's place.
pub(crate) struct Stage {
    pub(crate) pki: Pki,
    pub(crate) client: Identity,
    pub(crate) proxy: Proxy,
    pub(crate) stub: StubNoded,
}

impl Stage {
    pub(crate) fn new(stub: StubNoded) -> Self {
        Self::built(stub, |proxy| proxy)
    }

    /// With these lines in the configuration.
    pub(crate) fn configured(stub: StubNoded, config: &str) -> Self {
        Self::built(stub, |proxy| proxy.config(config))
    }

    pub(crate) fn built(stub: StubNoded, build: impl FnOnce(Builder) -> Builder) -> Self {
        let pki = Pki::new();
        let client = pki.client("node1.example.com");
        let builder = Proxy::with(&pki)
            .candidates(&[("uuid-1", &client)])
            .upstream(stub.address());
        // So that each connection to the stub is one request.
        let builder = builder.config("upstream.warm = 'off'");
        let proxy = build(builder).start();
        Self {
            pki,
            client,
            proxy,
            stub,
        }
    }

    pub(crate) fn connect(&self) -> SslStream<TcpStream> {
        connect(self.proxy.addr(), Some(&self.client), Tls::Any).unwrap()
    }

    /// One RPC on a connection of its own.
    pub(crate) fn rpc(&self, procedure: &str, body: &str) -> Response {
        rpc(self.proxy.addr(), &self.client, procedure, body).unwrap()
    }

    /// Sends bytes on a connection of their own and reads answers until the proxy closes it.
    pub(crate) fn talk(&self, bytes: impl AsRef<[u8]>) -> Vec<Response> {
        let mut stream = self.connect();
        send(&mut stream, bytes);
        read_all(&mut stream)
    }

    pub(crate) fn upstream_errors(&self, kind: &str) -> f64 {
        self.proxy.metric(&format!(
            "noded_proxy_upstream_errors_total{{kind=\"{kind}\"}}"
        ))
    }

    pub(crate) fn refused(&self, reason: &str) -> f64 {
        self.proxy.metric(&format!(
            "noded_proxy_refused_requests_total{{reason=\"{reason}\"}}"
        ))
    }

    /// Waits until so many slots are in use and so many requests wait for one.
    pub(crate) fn wait_load(&self, in_use: usize, waiting: usize) {
        self.proxy.wait_for(
            &format!("{in_use} slots in use, {waiting} waiting"),
            |proxy| {
                proxy.metric("noded_proxy_slots_in_use") == in_use as f64
                    && proxy.metric("noded_proxy_queue_length") == waiting as f64
            },
        );
    }
}

/// Reads answers until the connection ends.
pub(crate) fn read_all(stream: &mut SslStream<TcpStream>) -> Vec<Response> {
    let mut answers = Vec::new();
    loop {
        match try_read_response(stream) {
            Ok(answer) => answers.push(answer),
            Err(why) if why.contains(" 0 bytes of the head") => return answers,
            Err(why) => panic!("{why}, after {answers:?}"),
        }
    }
}

/// Whether this answer is one of the proxy's own: status, and `[false, "noded-proxy on HOST: why"]`
/// as JSON.
#[track_caller]
pub(crate) fn assert_refusal(answer: &Response, status: u16, why: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let (good, text): (bool, String) = serde_json::from_slice(&answer.body).unwrap();
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    assert!(
        !good && text.starts_with(&format!("noded-proxy on {host}: ")),
        "{text}"
    );
    assert!(text.contains(why), "{why:?} is not in {text:?}");
}

/// So many bytes of ASCII that do not repeat soon.
pub(crate) fn ascii(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b' ' + (state >> 24) as u8 % 95
    };
    (0..length).map(|_| next()).collect()
}

/// Fails without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    assert_eq!(
        found.iter().zip(expected).position(|(a, b)| a != b),
        None,
        "first difference"
    );
}
