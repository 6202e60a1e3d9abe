//! What a dashboard looks at: proxies with traffic, and a real Prometheus that scrapes them. All of
//! it ends with the test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for a state; a loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until it is so; whether it became so.
pub(crate) fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A process that ends with this value; it may tidy up.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        if !wait_until(|| self.0.try_wait().is_ok_and(|status| status.is_some())) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A running proxy with a stand-in for noded (`noded-proxy demo`), and callers.
pub(crate) struct Traffic {
    _demo: Ends,
    /// It would end at once if nobody could read what it says.
    _said: Lines<BufReader<ChildStdout>>,
    admin: SocketAddr,
    /// As the demo prints them: one is admitted, one is refused.
    calls: Vec<String>,
}

impl Traffic {
    pub(crate) fn start() -> Self {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
        let demo = demo.args(["demo", "--keep"]).stdout(Stdio::piped());
        let mut demo = Ends(demo.spawn().unwrap());
        let mut said = BufReader::new(demo.0.stdout.take().unwrap()).lines();
        let (mut admin, mut calls) = (None, Vec::new());
        for line in said.by_ref() {
            let line = line.unwrap();
            if let Some(rest) = line.strip_prefix("curl --cacert ") {
                calls.push(format!("curl -sS -m 10 --cacert {rest}"));
            }
            if let Some(url) = line.strip_prefix("curl http://") {
                admin = url.split('/').next().and_then(|at| at.parse().ok());
                break;
            }
        }
        assert_eq!(calls.len(), 2, "{calls:?}");
        let admin = admin.unwrap();
        Self {
            _demo: demo,
            _said: said,
            admin,
            calls,
        }
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A good RPC, one that noded does not know, one that is no request, and a refused connection.
    pub(crate) fn call(&self) {
        let good = &self.calls[0];
        let unknown = good.replace("/version", "/no_such_procedure");
        let odd = good.replace("/version", "/No");
        for call in [good, &unknown, &odd, &self.calls[1]] {
            let call = Command::new("sh").args(["-c", call]).output().unwrap();
            drop(call); // some fail, as they should
        }
    }
}

/// What node_exporter gives out of a file for its textfile collector: that of one disk transfer that
/// this process stands for, counted by the program itself.
pub(crate) struct Exporter {
    address: SocketAddr,
}

impl Exporter {
    pub(crate) fn of_one_transfer() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = counted();
        std::thread::spawn(move || {
            for visit in listener.incoming().map_while(Result::ok) {
                give(visit, &metrics);
            }
        });
        Self { address }
    }
}

/// The file after one transfer that went well.
fn counted() -> String {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("noded-proxy-moves.prom");
    let mut count = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    count.args(["moves", "count", "--import", "--run-dir"]);
    count.arg(place.path()).arg("--to").arg(&file);
    count.args(["--pid", &std::process::id().to_string()]);
    let mut count = count.stdin(Stdio::piped()).spawn().unwrap();
    let told = b"{\"Bytes\":1048576}\n{\"Ended\":\"Whole\"}\n";
    count.stdin.take().unwrap().write_all(told).unwrap();
    assert!(count.wait().unwrap().success());
    fs::read_to_string(file).unwrap()
}

/// One answer, whatever is asked.
fn give(mut visit: TcpStream, metrics: &str) {
    let mut asked = BufReader::new(visit.try_clone().unwrap()).lines();
    while asked
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
    let _ = write!(visit, "{head}\r\n\r\n{metrics}"); // who left asks again
}

/// Debian's Prometheus, in a directory of its own.
pub(crate) struct Prometheus {
    _process: Ends,
    _directory: TempDir,
    url: String,
}

impl Prometheus {
    /// Scrapes these every half second, as docs/alerts.md has it, and a node_exporter.
    pub(crate) fn scraping(admins: &[SocketAddr], exporter: &Exporter) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let targets: Vec<String> = admins.iter().map(|admin| format!("\"{admin}\"")).collect();
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
             scrape_configs:\n  - job_name: noded-proxy\n    static_configs:\n      \
             - targets: [{}]\n        labels: {{cluster: cluster.example.com}}\n  \
             - job_name: node\n    static_configs: [{{targets: [\"{}\"]}}]\n",
            targets.join(", "),
            exporter.address,
        );
        fs::write(file("prometheus.yml"), config).unwrap();
        let process = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                file("prometheus.yml").display()
            ))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(File::create(file("log")).unwrap())
            .spawn();
        let process = Ends(process.unwrap());
        let mut url = String::new();
        let started = wait_until(|| {
            let log = fs::read_to_string(file("log")).unwrap();
            let line = log
                .lines()
                .find(|line| line.contains("msg=\"Listening on\""));
            let address = line.and_then(|line| line.split("address=").nth(1));
            url = format!("http://{}", address.unwrap_or_default().trim());
            address.is_some()
        });
        assert!(started, "{}", fs::read_to_string(file("log")).unwrap());
        Self {
            _process: process,
            _directory: directory,
            url,
        }
    }

    fn ask(&self, path: &str, parameters: &[String]) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "30", "-G"]);
        for parameter in parameters {
            curl.args(["--data-urlencode", parameter]);
        }
        let output = curl.arg(format!("{}{path}", self.url)).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Whether a query has a number as its answer.
    pub(crate) fn has_data(&self, query: &str) -> bool {
        let answer = self.ask("/api/v1/query", &[format!("query={query}")]);
        assert_ne!(answer["status"], "error", "{query}: {answer}");
        let results = answer["data"]["result"].as_array();
        let number = |value: &Value| value["value"][1].as_str()?.parse::<f64>().ok();
        let numbers = results.into_iter().flatten().filter_map(number);
        numbers.into_iter().any(f64::is_finite)
    }

    /// The dashboard drawn with its data, with this node in depth.
    pub(crate) fn drawn(&self, node: &str) -> String {
        let draw = concat!(env!("CARGO_MANIFEST_DIR"), "/prometheus/draw");
        let drawn = Command::new(draw).args([&self.url, node, "1"]).output();
        let drawn = drawn.unwrap();
        assert!(drawn.status.success(), "{drawn:?}");
        String::from_utf8(drawn.stdout).unwrap()
    }

    /// The answer to a variable of a dashboard, `label_values(SERIES, LABEL)`.
    pub(crate) fn label_values(&self, query: &str) -> Vec<Value> {
        let inner = query.strip_prefix("label_values(").unwrap();
        let (series, label) = inner.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
        let path = format!("/api/v1/label/{label}/values");
        let answer = self.ask(&path, &[format!("match[]={series}")]);
        answer["data"].as_array().cloned().unwrap_or_default()
    }
}
