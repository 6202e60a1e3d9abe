//! The admin listener: metrics, health and status, as other programs read them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::TcpStream;

use noded_proxy::daemon::metrics::Metrics;
use noded_proxy::daemon::report::{Certificates, Report};
use serde_json::{Value, json};

use crate::handshake::proxy_for;
use crate::support::client::{admitted, rpc, send, tcp};
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;

const NAME: &str = "node1.example.com";

/// The metric a sample belongs to: a histogram has three kinds of samples.
fn family<'a>(sample: &'a str, types: &BTreeMap<&str, &str>) -> &'a str {
    let name = sample.split(['{', ' ']).next().unwrap();
    let base = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    base.filter(|base| types.get(base) == Some(&"histogram"))
        .unwrap_or(name)
}

#[test]
fn metrics_are_in_the_prometheus_text_format() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node).upstream(stub.address()).start();
    rpc(proxy.addr(), &node, "version", "[]").unwrap();
    let answer = proxy.get("/metrics");
    assert_eq!(answer.status, 200);
    let format = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(format));

    let text = answer.text();
    let (mut types, mut helped, mut samples) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.insert(rest.split_once(' ').unwrap().0);
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(sample), "twice: {line}");
            let family = family(sample, &types);
            assert!(types.contains_key(family), "no TYPE before {line}");
        }
    }
    assert_eq!(
        types.keys().copied().collect::<BTreeSet<_>>(),
        helped,
        "HELP for each TYPE"
    );
    let shown: BTreeSet<&str> = samples
        .iter()
        .map(|sample| family(sample, &types))
        .collect();
    for row in Metrics::new().rows() {
        assert_eq!(
            types.get(row.name.as_str()),
            Some(&row.kind),
            "{}",
            row.name
        );
        assert!(
            shown.contains(row.name.as_str()),
            "no sample of {}",
            row.name
        );
    }
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_resident_memory_bytes",
    ] {
        assert!(shown.contains(name), "no sample of {name}");
    }
}

#[test]
fn labels_never_come_from_a_client() {
    let pki = Pki::new();
    let (node, other) = (pki.client(NAME), pki.client("evil.example.com"));
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node).upstream(stub.address()).start();
    rpc(proxy.addr(), &node, "no_such_procedure", "[]").unwrap();
    assert!(!admitted(proxy.addr(), &other));
    let counted = "noded_proxy_rpcs_total{code=\"200\",procedure=\"other\"}";
    proxy.wait_for("it is counted", |p| p.metric(counted) == 1.0);
    proxy.wait_for("it is counted", |p| p.rejected("unknown_digest") == 1.0);
    let text = proxy.get("/metrics").text();
    for word in [
        "no_such_procedure",
        "evil",
        "node1",
        &node.digest,
        &other.digest,
    ] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn an_rpc_is_counted_by_procedure_and_status() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node).upstream(stub.address()).start();
    rpc(proxy.addr(), &node, "version", "[]").unwrap();
    let counted = "noded_proxy_rpcs_total{code=\"200\",procedure=\"version\"}";
    proxy.wait_for("it is counted", |p| p.metric(counted) == 1.0);
    let timed = "noded_proxy_rpc_duration_seconds_count{procedure=\"version\"}";
    assert_eq!(proxy.metric(timed), 1.0);
    assert_eq!(
        proxy.metric("noded_proxy_handshake_duration_seconds_count"),
        1.0
    );
    assert_eq!(
        proxy.metric("noded_proxy_queue_duration_seconds_count"),
        1.0
    );
    assert_eq!(
        proxy.metric("noded_proxy_body_bytes_total{direction=\"request\"}"),
        2.0
    );
    assert_eq!(
        proxy.metric("noded_proxy_body_bytes_total{direction=\"reply\"}"),
        17.0
    );
}

#[test]
fn status_tells_the_whole_state() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node)
        .upstream(stub.address())
        .arg("--max-clients=7")
        .start();
    assert!(!admitted(proxy.addr(), pki.server()));
    proxy.wait_for("it is counted", |p| p.rejected("unknown_digest") == 1.0);
    let answer = proxy.get("/status");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let status = answer.json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["tls_library"].is_string() && status["host"].is_string());
    assert!(status["uptime_seconds"].is_u64());
    assert_eq!(status["listening"], json!([proxy.addr().to_string()]));
    assert_eq!(status["health"], proxy.health().1);
    let admission = &status["admission"];
    assert_eq!(admission["phase"], "listed");
    assert_eq!(admission["map_file"], "listed");
    assert_eq!(admission["entries"], 1);
    assert!(admission["map_age_seconds"].is_u64() && admission["generation"].is_u64());
    assert_eq!(
        admission["candidates"],
        json!([{ "key": "uuid-1", "digest": node.digest }])
    );
    assert_eq!(admission["faults"], json!([]));
    assert_eq!(status["server_pem"]["digest"], pki.server().digest.as_str());
    assert_eq!(status["server_pem"]["common_name"], "ganeti.example.com");
    assert!(status["server_pem"]["expires_in_seconds"].as_i64().unwrap() > 1800 * 86_400);
    assert_eq!(status["connections"]["open"], 0);
    assert_eq!(status["connections"]["handshakes"], 0);
    assert_eq!(status["upstream"]["address"], stub.address().to_string());
    assert_eq!(status["upstream"]["slots"], 7);
    assert_eq!(
        (
            &status["upstream"]["slots_in_use"],
            &status["upstream"]["waiting"]
        ),
        (&json!(0), &json!(0))
    );
    let refusals = status["last_refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0]["reason"], "unknown_digest");
    assert!(refusals[0]["time"].is_u64() && refusals[0]["peer"].is_string());
}

#[test]
fn status_shows_no_key() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    let told = format!("{}{}", proxy.get("/status").text(), proxy.log());
    assert!(!told.contains("PRIVATE"));
    let key = pki.server_pem();
    let line = key.lines().nth(1).unwrap();
    assert!(!told.contains(line));
}

#[test]
fn the_last_32_refusals_are_kept() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    for _ in 0..40 {
        let mut plain = tcp(proxy.addr()).unwrap();
        send(&mut plain, "this is not TLS at all\r\n");
        let _ = plain.read_to_end(&mut Vec::new());
    }
    proxy.wait_for("all are counted", |p| p.rejected("protocol_error") == 40.0);
    assert_eq!(
        proxy.status()["last_refusals"].as_array().unwrap().len(),
        32
    );
}

#[test]
fn healthz_is_200_when_ready_and_all_is_well() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    proxy.wait_for("it is ready", |p| p.health().0 == 200);
    let (_, health) = proxy.health();
    let well = json!({ "live": true, "ready": true, "degraded": false, "reasons": [] });
    assert_eq!(health, well);
    let live = proxy.get("/healthz/live");
    assert_eq!((live.status, live.text().as_str()), (200, "live\n"));
}

#[test]
fn healthz_is_degraded_when_server_pem_ends_within_a_week() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    assert_eq!(proxy.health().1["degraded"], false);
    let short = pki.renewed_server(6);
    crate::support::proxy::replace(&proxy.server_pem_path(), short.pem.as_bytes(), 0o400);
    proxy.wait_for("it is degraded", |p| p.health().1["degraded"] == true);
    let (status, health) = proxy.health();
    assert_eq!((status, &health["ready"]), (200, &Value::Bool(true)));
    assert!(
        health["reasons"][0]
            .as_str()
            .unwrap()
            .contains("within 7 days")
    );
}

#[test]
fn each_reason_is_a_text_for_people_and_facts_for_programs() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    proxy.write_map_in_place(b"oops\n", 0o444);
    proxy.wait_for("it is degraded", |p| p.health().1["degraded"] == true);
    let (_, health) = proxy.health();
    let (texts, facts) = (&health["reasons"], &health["faults"]);
    assert_eq!(
        texts.as_array().unwrap().len(),
        facts.as_array().unwrap().len()
    );
    assert!(
        texts[0].as_str().unwrap().contains(": line 1: "),
        "{health:#}"
    );
    assert_eq!(
        (&facts[0]["kind"], &facts[0]["file"]),
        (&json!("fault"), &json!("candidate_map"))
    );
    assert_eq!(facts[0]["path"], proxy.map_path().to_str().unwrap());
    assert_eq!(
        (&facts[0]["flaw"]["kind"], &facts[0]["flaw"]["line"]),
        (&json!("malformed"), &json!(1))
    );
}

#[test]
fn what_the_daemon_shows_the_commands_read_back_whole() {
    let pki = Pki::new();
    let node = pki.client(NAME);
    let proxy = proxy_for(&pki, &node).start();
    assert!(!admitted(proxy.addr(), pki.server()));
    proxy.wait_for("it is counted", |p| p.rejected("unknown_digest") == 1.0);
    assert!(admitted(proxy.addr(), &node));
    let status = proxy.status();
    let report: Report = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(&report).unwrap(), status);
    assert_eq!(
        report.last_refusals[0].why,
        "the certificate's digest is not in the candidate map"
    );
    let shown = proxy.get("/certs").json();
    let certificates: Certificates = serde_json::from_value(shown.clone()).unwrap();
    assert_eq!(serde_json::to_value(&certificates).unwrap(), shown);
}

#[test]
fn only_get_is_answered() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    for method in ["POST", "PUT", "DELETE"] {
        for path in ["/metrics", "/status", "/healthz", "/elsewhere"] {
            assert_eq!(proxy.ask_admin(method, path).status, 405, "{method} {path}");
        }
    }
}

#[test]
fn unknown_paths_are_404() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    for path in ["/", "/metrics/", "/version", "/status.json"] {
        assert_eq!(proxy.get(path).status, 404, "{path}");
    }
}

#[test]
fn the_admin_listener_answers_before_there_is_a_server_pem() {
    let pki = Pki::new();
    let proxy = Proxy::with(&pki).no_server_pem().start();
    assert_eq!(proxy.metric("noded_proxy_candidate_map_entries"), 0.0);
    assert_eq!(proxy.status()["server_pem"], Value::Null);
    assert_eq!(proxy.status()["admission"]["phase"], "nobody");
}

#[test]
fn a_flood_of_silent_connections_takes_neither_the_rpc_port_nor_the_answers() {
    const FLOOD: usize = 600;
    let pki = Pki::new();
    let node = pki.client(NAME);
    let stub = StubNoded::usual();
    let proxy = proxy_for(&pki, &node)
        .upstream(stub.address())
        .under(&["prlimit", "--nofile=250"])
        .start();
    let mut flood = Vec::new();
    for round in 1..=6 {
        flood.extend((0..FLOOD / 6).map(|_| TcpStream::connect(proxy.admin()).unwrap()));
        let answer = rpc(proxy.addr(), &node, "version", "[]").unwrap();
        assert_eq!(answer.status, 200, "{round}");
        assert_eq!(proxy.get("/healthz/live").status, 200, "{round}");
    }
    proxy.wait_for("the older ones gave way", |p| {
        p.metric("process_open_fds") < 150.0
    });
}

#[test]
fn who_does_not_finish_a_request_is_cut() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    let mut slow = tcp(proxy.admin()).unwrap();
    send(&mut slow, "GET /status HTTP/1.1\r\nHost: ad");
    let mut all = Vec::new();
    let closed = slow.read_to_end(&mut all);
    assert!(
        closed.is_ok(),
        "{closed:?}, {}",
        String::from_utf8_lossy(&all)
    );
}

#[test]
fn a_connection_is_for_one_request() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client(NAME)).start();
    let mut stream = tcp(proxy.admin()).unwrap();
    let request = "GET /healthz/live HTTP/1.1\r\nHost: admin\r\n\r\n";
    send(&mut stream, request.repeat(3));
    let mut all = String::new();
    let _ = stream.read_to_string(&mut all);
    assert_eq!(all.matches("HTTP/1.1 200").count(), 1, "{all}");
    assert!(all.contains("connection: close"), "{all}");
}

/// What `/healthz` says is a metric too, reason by reason.
#[test]
fn readiness_and_each_reason_to_look_are_metrics() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki).candidates(&[("uuid-1", &node)]).start();
    let degraded =
        |reason: &str| proxy.metric(&format!("noded_proxy_degraded{{reason=\"{reason}\"}}")) == 1.0;
    assert_eq!(proxy.metric("noded_proxy_ready"), 1.0);
    assert!(!degraded("candidate_map") && !degraded("no_server_pem"));
    proxy.write_map_in_place(b"?", 0o644);
    proxy.wait_for("the map is at fault", |_| degraded("candidate_map"));
    assert_eq!(proxy.metric("noded_proxy_ready"), 1.0);
    std::fs::remove_file(proxy.server_pem_path()).unwrap();
    proxy.wait_for("the node has left", |p| {
        p.metric("noded_proxy_ready") == 0.0
    });
    assert!(degraded("no_server_pem"));
}
