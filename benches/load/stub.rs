//! What noded is to the proxy: plain HTTP/1.1, one request for each connection, then
//! `Connection: close`. Answers at once, or after `--fork-ms` from the accept, which is
//! what noded's fork takes.

use crate::args::Args;
use crate::http::{answer, content_length, head_end, json_string};
use serde_json::Value;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

/// The procedure whose answer is `--big` bytes long.
const BIG: &[u8] = b"POST /all_instances_info ";

struct Stub {
    small: Vec<u8>,
    big: Vec<u8>,
    fork: Duration,
}

pub(crate) fn stub(args: &Args) -> Value {
    let stub = Arc::new(Stub {
        small: answer(b"[true, \"stub\"]"),
        big: answer(&json_string(args.get("big", 16 << 20))),
        fork: Duration::from_secs_f64(args.get("fork-ms", 0.0) / 1e3),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(async move {
        let socket = TcpSocket::new_v4().expect("socket");
        socket.set_reuseaddr(true).expect("reuse");
        let port = args.get("port", 1812);
        socket
            .bind((Ipv4Addr::LOCALHOST, port).into())
            .expect("bind");
        let listener = socket.listen(4096).expect("listen");
        loop {
            if let Ok((tcp, _)) = listener.accept().await {
                let (stub, ready) = (stub.clone(), Instant::now() + stub.fork);
                // noded gives a connection 10 s to send its request.
                tokio::spawn(timeout(Duration::from_secs(10), async move {
                    let _ = stub.serve(tcp, ready).await;
                }));
            }
        }
    })
}

impl Stub {
    async fn serve(&self, mut tcp: TcpStream, ready: Instant) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        sleep_until(ready).await;
        let mut buf = Vec::with_capacity(4096);
        let head = loop {
            if tcp.read_buf(&mut buf).await? == 0 {
                return Ok(());
            }
            if let Some(end) = head_end(&buf) {
                break end;
            }
        };
        let big = buf.starts_with(BIG);
        let mut left = content_length(&buf[..head])
            .unwrap_or(0)
            .saturating_sub(buf.len() - head);
        if left > 0 {
            buf.resize(left.min(256 * 1024), 0);
        }
        while left > 0 {
            match tcp.read(&mut buf).await? {
                0 => return Ok(()),
                n => left = left.saturating_sub(n),
            }
        }
        tcp.write_all(if big { &self.big } else { &self.small })
            .await?;
        tcp.shutdown().await
    }
}
