//! What no proxy can beat: the CPU time that the TLS library itself takes for the server's
//! side of a full handshake with a client certificate, both ends in this process and no
//! network between them.

use crate::args::Args;
use crate::client::{context, version};
use crate::stats::thread_cpu;
use openssl::hash::MessageDigest;
use openssl::ssl::{
    HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslContextBuilder, SslFiletype,
    SslMethod, SslOptions, SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

type Bytes = Rc<RefCell<VecDeque<u8>>>;

/// One end of an in-memory connection.
#[derive(Default, Debug)]
struct Pipe {
    incoming: Bytes,
    outgoing: Bytes,
}

impl Pipe {
    fn pair() -> (Pipe, Pipe) {
        let a = Pipe::default();
        let b = Pipe {
            incoming: a.outgoing.clone(),
            outgoing: a.incoming.clone(),
        };
        (a, b)
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.incoming.borrow_mut().read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.borrow_mut().write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first flight of a client, as bytes to be sent again and again.
pub(crate) fn client_hello(context: &SslContext) -> Vec<u8> {
    let pipe = Pipe::default();
    let sent = pipe.outgoing.clone();
    let _ = Ssl::new(context).expect("ssl").connect(pipe);
    sent.take().into()
}

/// Asks for a client certificate and takes any: the digest decides.
fn server_context(pem: &str, tls: SslVersion) -> SslContext {
    let mut b = SslContextBuilder::new(SslMethod::tls_server()).expect("context");
    b.set_min_proto_version(Some(tls)).expect("version");
    b.set_max_proto_version(Some(tls)).expect("version");
    b.set_session_cache_mode(SslSessionCacheMode::OFF);
    b.set_options(SslOptions::NO_TICKET);
    // OpenSSL sends TLS 1.3 tickets with NO_TICKET set, too; AWS-LC has no such call.
    #[cfg(not(feature = "aws-lc"))]
    b.set_num_tickets(0).expect("tickets");
    b.set_certificate_file(pem, SslFiletype::PEM)
        .expect("server certificate");
    b.set_private_key_file(pem, SslFiletype::PEM)
        .expect("server key");
    let need = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    b.set_verify_callback(need, |_, _| true);
    b.build()
}

enum Step {
    Start(Ssl, Pipe),
    Mid(MidHandshakeSslStream<Pipe>),
    Done(SslStream<Pipe>),
}

impl Step {
    fn advance(self, server: bool) -> Step {
        let result = match self {
            Step::Start(ssl, pipe) if server => ssl.accept(pipe),
            Step::Start(ssl, pipe) => ssl.connect(pipe),
            Step::Mid(mid) => mid.handshake(),
            done => return done,
        };
        match result {
            Ok(stream) => Step::Done(stream),
            Err(HandshakeError::WouldBlock(mid)) => Step::Mid(mid),
            Err(e) => panic!("handshake: {e}"),
        }
    }
}

/// Server CPU time for one handshake, digest and teardown included.
fn one(server: &SslContext, client: &SslContext) -> Duration {
    let (client_pipe, server_pipe) = Pipe::pair();
    let mut c = Step::Start(Ssl::new(client).expect("ssl"), client_pipe);
    let mut cpu = Duration::ZERO;
    let mut timed = |work: &mut dyn FnMut()| {
        let start = thread_cpu();
        work();
        cpu += thread_cpu() - start;
    };
    let mut s = None;
    let mut pipe = Some(server_pipe);
    timed(&mut || {
        s = pipe
            .take()
            .map(|p| Step::Start(Ssl::new(server).expect("ssl"), p))
    });
    while !matches!((&c, &s), (Step::Done(_), Some(Step::Done(_)))) {
        c = c.advance(false);
        timed(&mut || s = s.take().map(|step| step.advance(true)));
    }
    timed(&mut || {
        if let Some(Step::Done(stream)) = s.take() {
            let cert = stream.ssl().peer_certificate().expect("client certificate");
            std::hint::black_box(cert.digest(MessageDigest::sha1()).expect("digest"));
        }
    });
    cpu
}

/// Median over `--duration` seconds for each version of the protocol.
pub(crate) fn limit(args: &Args) -> Value {
    let duration = args.seconds("duration", 1.0);
    let median_us = |tls: &str| {
        let tls = version(tls);
        let server = server_context(args.need("server"), tls);
        let client = context(Some(Path::new(args.need("cert"))), tls).expect("client");
        for _ in 0..20 {
            one(&server, &client);
        }
        let mut all = Vec::new();
        let end = Instant::now() + duration;
        while Instant::now() < end {
            all.push(one(&server, &client));
        }
        all.sort_unstable();
        all[all.len() / 2].as_secs_f64() * 1e6
    };
    json!({"library": openssl::version::version(), "1.3": median_us("1.3"), "1.2": median_us("1.2")})
}
