//! Micro benchmarks: what one step costs, without the network where that can be.
//!
//! `cargo bench --bench micro`, or with a filter: `cargo bench --bench micro -- map`.

#[path = "load/http.rs"]
#[allow(dead_code, reason = "shared with the load generator")]
mod http_client;
#[path = "load/pki.rs"]
#[allow(dead_code, reason = "shared with the load generator")]
mod pki;

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Uri, Version};
use noded_proxy::config::Config;
use noded_proxy::daemon::metrics::Metrics;
use noded_proxy::daemon::server::Server;
use noded_proxy::proxy::http::procedure;
use noded_proxy::tls::{Acceptor, Buffered, Credentials, Profile};
use noded_proxy::trust::{Reloader, Store};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslStream};
use rules::admission::Admission;
use rules::authz::{Facts, Policy, authorise};
use rules::candidates::{MapFile, parse};
use rules::identity::{Digest, PeerIdentity};
use tempfile::TempDir;
use tokio::runtime::Builder;

const SIZES: [u32; 3] = [10, 1_000, 100_000];

/// A candidate map of made-up entries; the digest of entry 0 differs from one `salt` to another.
fn map_text(entries: u32, salt: u8) -> String {
    let mut text = String::new();
    for n in 0..entries {
        let digest = Digest::of_der(&[&n.to_be_bytes()[..], &[salt]].concat());
        let _ = writeln!(text, "00000000-0000-4000-8000-{n:012x}={digest}");
    }
    text
}

fn admission(entries: u32) -> Admission {
    match parse(map_text(entries, 0).as_bytes()) {
        MapFile::Listed(map) => Admission::Listed(Arc::new(map)),
        other => panic!("{other}"),
    }
}

fn admission_rule(c: &mut Criterion) {
    let der: Arc<[u8]> = vec![0x30; 700].into();
    c.bench_function("digest of a certificate", |b| {
        b.iter(|| Digest::of_der(black_box(&der)))
    });
    let mut group = c.benchmark_group("authorise");
    for size in SIZES {
        let admission = admission(size);
        let peer = PeerIdentity {
            address: [127, 0, 0, 1].into(),
            digest: Digest::of_der(&[0, 0, 0, 5, 0]),
            der: Arc::clone(&der),
            common_name: None,
            not_before: 0,
            not_after: i64::MAX,
        };
        let (addresses, nodes) = Default::default();
        let facts = Facts {
            admission: &admission,
            known: Some(&der),
            candidate_addresses: &addresses,
            primary_addresses: &nodes,
            cluster: None,
            master_ip: None,
            of_the_cluster: false,
            excludes_clients: false,
            now: 1,
        };
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| authorise(black_box(&peer), &facts, Policy::default()).is_ok());
        });
    }
}

fn map_parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("map parse");
    for size in SIZES {
        let text = map_text(size, 0);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| parse(black_box(text.as_bytes())));
        });
    }
}

/// Read, parse, decide, publish and keep: all that happens between the rename and the new rule.
fn snapshot_build(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot build");
    for size in SIZES {
        let dir = tempfile::tempdir().expect("folder");
        pki::certs(dir.path(), 1);
        let config = Config {
            candidate_map: Some(dir.path().join("map")),
            server_pem: dir.path().join("server.pem"),
            ssconf_dir: dir.path().to_path_buf(),
            state_dir: dir.path().to_path_buf(),
            ..Config::default()
        };
        let (paths, rules) = (config.paths(), config.reload_settings());
        let texts = [map_text(size, 0), map_text(size, 1)];
        let (store, metrics) = (Store::new(Policy::default()), Metrics::new().trust);
        let map = paths.map.clone();
        let mut reloader = Reloader::new(paths, store, metrics, rules);
        let mut turn = 0;
        group
            .sample_size(20)
            .bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter_batched(
                    || {
                        turn += 1;
                        fs::write(&map, &texts[turn % 2]).expect("write");
                    },
                    |()| assert!(reloader.reload()),
                    BatchSize::PerIteration,
                );
            });
    }
}

fn http_head(c: &mut Criterion) {
    let uri = Uri::from_static("/blockdev_getmirrorstatus_multi");
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("node1.example.com:1811"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("1234"));
    c.bench_function("HTTP head", |b| {
        b.iter(|| procedure(&Method::POST, black_box(&uri), Version::HTTP_11, &headers).is_ok());
    });
}

/// Both ends of the handshake, over loopback, in one thread, with each key exchange: see `load
/// limit` for the server's alone.
fn handshake(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("folder");
    pki::certs(dir.path(), 1);
    let pem = fs::read(dir.path().join("server.pem")).expect("server.pem");
    let credentials = Credentials::from_pem(&pem).expect("credentials");
    let all = Arc::new(|_: &PeerIdentity| true);
    let acceptor = Acceptor::new(&credentials, None, Profile::Modern, all, &[]).expect("acceptor");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("listen");
    let address = listener.local_addr().expect("address");
    let mut group = c.benchmark_group("handshake, both ends");
    for groups in ["X25519", "X25519MLKEM768"] {
        let mut client = client_builder(dir.path());
        if client.set_groups_list(groups).is_err() {
            continue; // OpenSSL before 3.5
        }
        let client = client.build();
        let both_ends = async || {
            let tcp = tokio::net::TcpStream::connect(address)
                .await
                .expect("connect");
            let ssl = Ssl::new(&client).expect("ssl");
            let mut stream = tokio_openssl::SslStream::new(ssl, tcp).expect("stream");
            let (tcp, _) = listener.accept().await.expect("accept");
            let both = tokio::join!(
                Pin::new(&mut stream).connect(),
                acceptor.accept(Buffered::new(tcp), address.ip(), ())
            );
            assert!(both.0.is_ok() && both.1.is_ok());
        };
        group.bench_function(BenchmarkId::from_parameter(groups), |b| {
            b.iter(|| runtime.block_on(both_ends()));
        });
    }
}

fn client_context(dir: &Path) -> SslContext {
    client_builder(dir).build()
}

fn client_builder(dir: &Path) -> SslContextBuilder {
    let mut b = SslContext::builder(SslMethod::tls_client()).expect("context");
    let pem = dir.join("client/1.pem");
    b.set_certificate_file(&pem, SslFiletype::PEM)
        .expect("certificate");
    b.set_private_key_file(&pem, SslFiletype::PEM).expect("key");
    b
}

/// One RPC through the whole proxy, as its client sees it.
fn request(c: &mut Criterion) {
    let (dir, address) = proxy();
    let client = client_context(dir.path());
    let connect = || {
        let tcp = TcpStream::connect(address).expect("connect");
        tcp.set_nodelay(true).expect("socket");
        Ssl::new(&client)
            .expect("ssl")
            .connect(tcp)
            .expect("handshake")
    };
    let request = http_client::post("/version", 2);
    let mut buf = Vec::new();
    let mut ask = |stream: &mut SslStream<TcpStream>| {
        let response = http_client::exchange(stream, &request, &mut buf).expect("response");
        assert_eq!(response.status, 200);
    };
    c.bench_function("request, new connection", |b| {
        b.iter(|| ask(&mut connect()))
    });
    let mut stream = connect();
    c.bench_function("request, open connection", |b| b.iter(|| ask(&mut stream)));
}

/// The proxy in this process, in front of a thread that answers as noded does.
fn proxy() -> (TempDir, SocketAddr) {
    let dir = tempfile::tempdir().expect("folder");
    pki::certs(dir.path(), 1);
    let (upstream, address) = (noded(), free_port());
    let mut config = Config {
        listen: vec![address],
        server_pem: dir.path().join("server.pem"),
        candidate_map: Some(dir.path().join("map")),
        ssconf_dir: dir.path().to_path_buf(),
        state_dir: dir.path().to_path_buf(),
        admin: free_port(),
        ..Config::default()
    };
    config.upstream.address = upstream;
    thread::spawn(move || {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("runtime");
        runtime.block_on(async {
            Server::build(&config)
                .expect("proxy")
                .run(std::future::pending())
                .await
        })
    });
    while TcpStream::connect(address).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    (dir, address)
}

fn noded() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let address = listener.local_addr().expect("address");
    let answer = http_client::answer(b"[true, 1]");
    thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            // Head and body of this one request come in at most two pieces.
            let mut have = Vec::new();
            while !have.ends_with(b"\r\n\r\n\"\"") {
                let mut piece = [0; 4096];
                match tcp.read(&mut piece) {
                    Ok(n @ 1..) => have.extend(&piece[..n]),
                    _ => break,
                }
            }
            let _ = tcp.write_all(&answer);
        }
    });
    address
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    listener.local_addr().expect("address")
}

criterion_group!(
    benches,
    admission_rule,
    map_parse,
    snapshot_build,
    http_head,
    handshake,
    request
);
criterion_main!(benches);
