//! A noded with threads, as Ganeti's development branch has it (3.2, read in its source and not run):
//! 413 to a body over 10 MiB before it reads it, then it closes; a connection has 10 s at most.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::client::rpc;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;
use crate::support::stage::ascii;

/// The stand-in: Python's own server, with the habits of that branch.
const NODED: &str = r#"
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, timeout = "HTTP/1.1", float(sys.argv[1])
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        if length > 10 << 20:
            return self.answer(413, b"[false, \"too large\"]")
        self.rfile.read(length)
        self.answer(200, b"[true, %d]" % length)
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 64
    def shutdown_request(self, request):
        super().shutdown_request(request)
        print("closed", flush=True)
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

struct Noded {
    child: Child,
    said: BufReader<ChildStdout>,
    port: u16,
}

impl Noded {
    /// One that gives a connection so many seconds.
    fn start(seconds: &str) -> Self {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", NODED, seconds]);
        let mut child = python
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut noded = Self {
            child,
            said,
            port: 0,
        };
        noded.port = noded.line().parse().unwrap();
        noded
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn proxy(&self) -> (Proxy, Identity) {
        let pki = Pki::new();
        let node = pki.client("node1");
        let address = ([127, 0, 0, 1], self.port).into();
        let proxy = Proxy::with(&pki)
            .candidates(&[("uuid-1", &node)])
            .upstream(address)
            .start();
        (proxy, node)
    }
}

impl Drop for Noded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `check` says of the noded that it met.
fn kind(port: u16) -> (String, String) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    check.args(["check", "--json", "--config", "/dev/null", "--guard", "off"]);
    check.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    check.args(["--upstream", &format!("127.0.0.1:{port}")]);
    let output = check.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut findings = report["checks"].as_array().unwrap().iter();
    let found = findings.find(|found| found["id"] == "noded_kind");
    let found = found.unwrap_or_else(|| panic!("{report:#}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("verdict"), text("message"))
}

#[test]
fn check_says_that_it_met_a_noded_with_threads() {
    let noded = Noded::start("10");
    let (verdict, message) = kind(noded.port);
    assert_eq!(verdict, "warning", "{message}");
    assert!(message.contains("a pool of threads"), "{message}");
}

#[test]
fn an_answer_that_comes_before_the_body_was_read_reaches_the_client() {
    let noded = Noded::start("10");
    let (proxy, node) = noded.proxy();
    let large = String::from_utf8(ascii(12 << 20)).unwrap();
    for _ in 0..5 {
        let answer = rpc(proxy.addr(), &node, "upload_file", &large).unwrap();
        assert_eq!(
            (answer.status, &*answer.text()),
            (413, "[false, \"too large\"]")
        );
    }
    let answer = rpc(proxy.addr(), &node, "upload_file", &large[..9 << 20]).unwrap();
    assert_eq!(
        (answer.status, answer.text()),
        (200, format!("[true, {}]", 9 << 20))
    );
}

/// Connections in advance that noded has closed meanwhile lose no call.
#[test]
fn a_connection_in_advance_that_noded_has_closed_costs_no_call() {
    let mut noded = Noded::start("0.5");
    let (proxy, node) = noded.proxy();
    let call = |proxy: &Proxy| {
        let answer = rpc(proxy.addr(), &node, "version", "[]").unwrap();
        assert_eq!((answer.status, &*answer.text()), (200, "[true, 2]"));
    };
    let mut closed = 0.0;
    for _ in 0..3 {
        proxy.wait_for("one is opened in advance", |p| {
            call(p);
            p.metric("noded_proxy_warm_connections") > 0.0
        });
        while closed < proxy.metric("noded_proxy_upstream_connections_total{kind=\"opened\"}") {
            assert_eq!(noded.line(), "closed");
            closed += 1.0;
        }
        assert!(
            proxy.metric("noded_proxy_warm_connections") > 0.0,
            "it is taken for good"
        );
        call(&proxy);
    }
}
