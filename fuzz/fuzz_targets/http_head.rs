//! The HTTP edge on arbitrary bytes: the gate, hyper as the proxy sets it up, the rules for heads, and bodies.
//!
//! Whatever comes, a request that passes is a POST of a procedure whose name stands in the bytes as it was
//! understood, and its body is ASCII and as long as it says; and every connection ends. The first byte sets the
//! size of reads, and whether the client hangs up at the end or falls silent (time then passes at once).
#![no_main]

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use noded_proxy::proxy::connection::parser;
use noded_proxy::proxy::http::{Arrival, Bodies, BodyLimits, Budget, Framing, Gate, explanation, procedure};
use rules::identity::Digest;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const LIMITS: BodyLimits = BodyLimits {
    most: 4096,
    in_memory: 64,
    rate: 1,
};

/// The client: its bytes, so many at a time, then the end.
struct Client<'a> {
    bytes: &'a [u8],
    step: usize,
    hangs_up: bool,
}

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() && !self.hangs_up {
            return Poll::Pending;
        }
        let most = self.step.min(self.bytes.len()).min(buffer.remaining());
        let (now, later) = self.bytes.split_at(most);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

async fn answer(
    arrival: Arrival,
    request: Request<Incoming>,
    bytes: &[u8],
) -> Result<Response<Full<Bytes>>, Infallible> {
    // As the proxy has it: what comes behind such a request is nobody's.
    let last = !matches!(arrival.verdict, Ok(Framing::Length(_)));
    let (head, incoming) = request.into_parts();
    let name = procedure(&head.method, &head.uri, head.version, &head.headers);
    let refusal = match arrival.verdict.and(name) {
        Ok(name) => {
            assert_eq!(head.method, Method::POST);
            let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
            assert!(
                (1..=128).contains(&name.len()) && name.bytes().all(fits),
                "{name:?}"
            );
            let line = format!("POST /{name} HTTP/1.");
            let stands_there = bytes.windows(line.len()).any(|w| w == line.as_bytes());
            assert!(stands_there, "{name}");
            body(incoming, bytes.len() as u64).await
        }
        Err(refusal) => Some(refusal),
    };
    let mut response = Response::default();
    if let Some(refusal) = refusal {
        assert!(refusal.status().is_client_error() || refusal.status().is_server_error());
        *response.status_mut() = refusal.status();
        *response.body_mut() = Full::new(explanation("host", &refusal.to_string()));
    }
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn body(mut incoming: Incoming, sent: u64) -> Option<noded_proxy::proxy::http::Refusal> {
    // Little memory, so that some bodies go to disk.
    let (memory, spool) = (Budget::new(1 << 10), Budget::new(1 << 20));
    let bodies = Bodies::new(LIMITS, memory, std::env::temp_dir(), spool);
    let peer = Digest::from_bytes([1; 20]);
    let mut body = match bodies.gather(peer, &mut incoming).await {
        Ok(body) => body,
        Err(refusal) => return Some(refusal),
    };
    let length = body.length();
    assert!(length <= LIMITS.most && length <= sent);
    let contents = body.contents(LIMITS.most).await.expect("a body that can be read");
    let mut whole = Vec::new();
    loop {
        let piece = body.next().await.expect("a body that can be read");
        if piece.is_empty() {
            break;
        }
        whole.extend_from_slice(piece);
    }
    assert_eq!(whole.len() as u64, length);
    assert_eq!(contents, Some(whole.clone()));
    assert!(whole.is_ascii());
    None
}

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let client = Client {
        bytes,
        step: usize::from(first / 2) * 16 + 1,
        hangs_up: first % 2 == 1,
    };
    let (gate, arrivals) = Gate::new(tokio::io::join(client, tokio::io::sink()), Duration::from_secs(10));
    let stream = TokioIo::new(gate);
    let service = service_fn(|request| answer(arrivals.next(), request, bytes));
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let connection = parser().serve_connection(stream, service);
            // Errors are what most bytes deserve; a connection without end is what none may have.
            let ended = timeout(Duration::from_secs(3600), connection).await;
            assert!(ended.is_ok(), "the connection does not end");
        });
    });
});
