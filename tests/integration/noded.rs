//! The real node daemon behind the proxy, the real client in front of it: nobody notices the proxy.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use noded_proxy::proxy::upstream;
use rules::Named;

use crate::support::client::{Tls, connect, read_response, rpc, send};
use crate::support::lab::{Answer, Noded};
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::stage::assert_refusal;

/// Calls that any noded answers the same twice in a row.
const CALLS: [(&str, &str); 6] = [
    ("version", "[]"),
    ("test_delay", "[0.3]"),
    ("bridges_exist", "[[\"nosuchbr\"]]"),
    ("get_file_info", "[\"/etc/hosts\"]"),
    ("export_list", "[]"),
    ("all_instances_info", "[[\"fake\"], {\"fake\": {}}]"),
];

#[track_caller]
fn assert_like(direct: &Answer, through: &Answer) {
    // Not assert_eq: the bodies may have megabytes.
    assert!(
        direct == through,
        "{:.500}\n{:.500}",
        format!("{direct:?}"),
        format!("{through:?}")
    );
    assert_eq!((through.status, &through.error), (200, &None));
}

/// A file's content in the form in which Ganeti sends it.
fn upload(path: &str, content: &str) -> String {
    format!("[\"{path}\", [0, \"{content}\"], 416, \"root\", \"root\", 1700000000.0, 1700000000.0]")
}

#[test]
fn answers_are_the_same_as_without_the_proxy() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    for (procedure, body) in CALLS {
        let direct = noded.direct(&[], procedure, body);
        let through = noded.through(&proxy, &[], procedure, body);
        assert_like(&direct, &through);
        assert_eq!(
            through.good,
            !["bridges_exist", "export_list"].contains(&procedure)
        );
    }
    let error = noded.through(&proxy, &[], "bridges_exist", "[[\"nosuchbr\"]]");
    assert_eq!(error.fail_msg.as_deref(), Some("Missing bridges nosuchbr"));
}

/// The same words; the numbers in it (free memory, load) change from moment to moment.
#[test]
fn node_info_is_the_same_as_without_the_proxy() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    let body = "[[], [[\"fake\", {}]]]";
    let words = |answer: Answer| {
        answer
            .body
            .split(|c: char| c.is_ascii_digit())
            .collect::<String>()
    };
    let (direct, through) = (
        noded.direct(&[], "node_info", body),
        noded.through(&proxy, &[], "node_info", body),
    );
    assert!(
        through.good && through.body.contains("memory_free"),
        "{through:?}"
    );
    assert_eq!(words(direct), words(through));
}

#[test]
fn a_request_that_is_no_json_is_answered_by_noded() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    let direct = noded.direct(&["--raw"], "version", "{");
    let through = noded.through(&proxy, &["--raw"], "version", "{");
    assert_like(&direct, &through);
    assert!(
        through
            .fail_msg
            .is_some_and(|why| why.contains("Expecting property name"))
    );
}

/// noded itself closes without a word; Ganeti's user now reads why.
#[test]
fn an_unknown_procedure_is_explained() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    let through = noded.through(&proxy, &[], "no_such_method", "[]");
    assert_eq!(
        (through.status, through.good, through.error),
        (502, false, None)
    );
    let (_, why): (bool, String) = serde_json::from_str(&through.body).unwrap();
    assert!(
        why.starts_with("noded-proxy on ") && why.contains(&noded.address().to_string()),
        "{why}"
    );
    assert!(
        through
            .fail_msg
            .is_some_and(|message| message.contains(&why))
    );
}

#[test]
fn large_uploads_are_written_whole() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    for size in [1 << 20, 5 << 20] {
        let content = "0123456789abcdef".repeat(size / 16);
        let path = "/var/lib/ganeti/rapi/users";
        let answer = noded.through(&proxy, &[], "upload_file_single", &upload(path, &content));
        assert!(answer.good, "{size}: {answer:?}");
        let written = fs::read_to_string(noded.file(path)).unwrap();
        assert!(written == content, "{} of {size} bytes", written.len());
    }
    let many = format!(
        "[{}]",
        upload("/var/lib/ganeti/rapi/users", &"x".repeat(3 << 20))
    );
    assert!(noded.through(&proxy, &[], "upload_file", &many).good);
}

#[test]
fn a_job_of_twenty_megabytes_is_written_whole() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    let content = "0123456789abcdefghij".repeat(1_000_000);
    let path = "/var/lib/ganeti/queue/job-99";
    let answer = noded.through(
        &proxy,
        &[],
        "jobqueue_update",
        &format!("[\"{path}\", [0, \"{content}\"]]"),
    );
    assert!(answer.good, "{answer:?}");
    assert!(fs::read_to_string(noded.file(path)).unwrap() == content);
}

#[test]
fn an_answer_of_twenty_megabytes_is_the_same_as_without_the_proxy() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    let body = "[\"lab-big\", \"post\", {\"BYTES\": \"20000000\"}]";
    let through = noded.through(&proxy, &[], "hooks_runner", body);
    assert!(through.body.len() > 20_000_000, "{}", through.body.len());
    assert_like(&noded.direct(&[], "hooks_runner", body), &through);
}

#[test]
fn many_calls_at_a_time_are_all_answered() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    let port = proxy.addr().port().to_string();
    // Patient: 40 handshakes of the client's at a time are slow on a small machine.
    let patience = ["--connect-timeout", "60"];
    let calls = [
        "--port",
        &port,
        "--count",
        "80",
        "--concurrency",
        "40",
        "--summary",
    ];
    let options = [&calls[..], &patience].concat();
    let totals = noded.client(&options, "version", "[]");
    assert_eq!(
        (&totals[0]["calls"], &totals[0]["ok"]),
        (&80.into(), &80.into()),
        "{totals:?}"
    );
    assert_eq!(
        proxy.metric("noded_proxy_rpcs_total{code=\"200\",procedure=\"version\"}"),
        80.0
    );
}

/// More than noded can take at once, which would stop its accept loop: none is refused, all are
/// answered.
#[test]
fn more_slow_calls_than_slots_are_all_answered() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().arg("--max-clients").arg("5").start();
    let port = proxy.addr().port().to_string();
    let options = [
        "--port",
        &port,
        "--count",
        "12",
        "--concurrency",
        "12",
        "--summary",
    ];
    let totals = noded.client(&options, "test_delay", "[0.5]");
    assert_eq!(totals[0]["ok"], 12, "{totals:?}");
}

/// As wconfd and luxid send it: curl's form type for the body, no user agent.
#[test]
fn a_request_as_the_haskell_daemons_send_it_is_answered() {
    let Some(noded) = Noded::plain() else { return };
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .upstream(noded.address())
        .start();
    let mut stream = connect(proxy.addr(), Some(&client), Tls::Any).unwrap();
    send(
        &mut stream,
        "POST /version HTTP/1.1\r\nHost: 127.0.0.1:1811\r\nAccept: */*\r\nContent-Length: 2\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n[]",
    );
    let answer = read_response(&mut stream);
    let (good, _): (bool, u64) = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, good), (200, true));
    // What noded would hang on for 10 s is answered at once, and noded hears nothing of it.
    let body = "[\"é\"]";
    send(
        &mut stream,
        format!(
            "POST /version HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert_refusal(&read_response(&mut stream), 400, "ASCII");
}

#[test]
fn ordinary_calls_leave_no_traceback_in_noded_s_log() {
    let Some(noded) = Noded::start(&["--no-ssl", "--map", "client"]) else {
        return;
    };
    let before = noded.log().len();
    let mut proxy = noded.proxy().start();
    for (procedure, body) in CALLS {
        noded.through(&proxy, &[], procedure, body);
    }
    drop(std::net::TcpStream::connect(proxy.addr()).unwrap()); // a ping
    proxy.terminate();
    assert_eq!(proxy.wait_exit().code(), Some(0));
    let log = noded.log().split_off(before);
    assert!(log.contains("/version"), "{log}");
    assert!(!log.contains("Traceback"), "{log}");
}

#[test]
fn a_candidate_is_needed_and_the_client_is_told_so() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().start();
    let answer = noded.through(&proxy, &["--server-cert-as-client"], "version", "[]");
    assert!(!answer.good && answer.error.is_some(), "{answer:?}");
    proxy.wait_for("it is counted", |p| p.rejected("unknown_digest") == 1.0);
    assert!(noded.through(&proxy, &[], "version", "[]").good);
}

#[test]
fn the_real_client_reads_why_its_request_is_refused() {
    let Some(noded) = Noded::plain() else { return };
    let proxy = noded.proxy().config("limits.body = '1MiB'").start();
    let body = upload("/var/lib/ganeti/rapi/users", &"x".repeat(4 << 20));
    let answer = noded.through(&proxy, &[], "upload_file_single", &body);
    assert_eq!((answer.status, answer.error), (413, None));
    assert!(
        answer
            .fail_msg
            .is_some_and(|why| why.contains("more than 1048576 bytes"))
    );
}

/// noded keeps its own TLS. With no map, or an empty one, it admits `server.pem` alone, which the
/// proxy shows.
#[test]
fn noded_with_tls_answers_the_same() {
    for (map, calls) in [("absent", &CALLS[..]), ("empty", &CALLS[..1])] {
        let Some(noded) = Noded::start(&["--map", map]) else {
            return;
        };
        let proxy = noded.proxy().arg("--upstream-tls").start();
        for (procedure, body) in calls {
            let direct = noded.direct(&["--server-cert-as-client"], procedure, body);
            assert_like(&direct, &noded.through(&proxy, &[], procedure, body));
        }
        let content = "0123456789abcdef".repeat(3 << 16);
        let path = "/var/lib/ganeti/rapi/users";
        assert!(
            noded
                .through(&proxy, &[], "upload_file_single", &upload(path, &content))
                .good
        );
        assert!(fs::read_to_string(noded.file(path)).unwrap() == content);
        let body = "[\"lab-big\", \"post\", {\"BYTES\": \"3000000\"}]";
        assert!(noded.through(&proxy, &[], "hooks_runner", body).body.len() > 3_000_000);
        assert!(!noded.log().contains("Traceback"), "{}", noded.log());
        assert_ne!(
            proxy.metric("noded_proxy_upstream_connections_total{kind=\"warm\"}"),
            0.0
        );
    }
}

/// `--no-ssl` was forgotten.
#[test]
fn a_noded_that_speaks_tls_behind_a_plain_upstream_is_told_by_name() {
    for map in ["absent", "client"] {
        let Some(noded) = Noded::start(&["--map", map]) else {
            return;
        };
        let proxy = noded.proxy().start();
        let answer = noded.through(&proxy, &[], "version", "[]");
        assert_eq!(answer.status, 502);
        assert!(answer.body.contains("--no-ssl"), "{map}: {}", answer.body);
        let (_, health) = proxy.health();
        let reason = health["reasons"][0].as_str().unwrap();
        assert!(reason.contains("speaks TLS"), "{map}: {health}");
    }
}

/// One that has a candidate map of its own, and one that does not speak TLS.
#[test]
fn a_noded_that_fits_no_upstream_tls_is_told_with_what_to_change() {
    for flags in [&["--map", "client"][..], &["--no-ssl", "--map", "client"]] {
        let Some(noded) = Noded::start(flags) else {
            return;
        };
        let proxy = noded.proxy().arg("--upstream-tls").start();
        let answer = noded.through(&proxy, &[], "version", "[]");
        assert_eq!((answer.status, answer.good), (502, false), "{flags:?}");
        let why = answer.fail_msg.unwrap();
        let address = noded.address().to_string();
        for words in [&*address, "TLS: ", "--no-ssl", "upstream.tls = false"] {
            assert!(why.contains(words), "{flags:?}: {why}");
        }
    }
}

#[test]
fn a_noded_that_shows_another_certificate_gets_no_request() {
    let Some(noded) = Noded::start(&["--map", "absent"]) else {
        return;
    };
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .upstream(noded.address());
    let proxy = proxy.arg("--upstream-tls").start();
    let answer = rpc(proxy.addr(), &client, "version", "[]").unwrap();
    assert_refusal(&answer, 502, "TLS");
    assert_eq!(
        proxy.metric("noded_proxy_upstream_errors_total{kind=\"tls\"}"),
        1.0
    );
}

#[test]
fn noded_may_be_restarted_behind_the_proxy() {
    let Some(noded) = Noded::start(&["--no-ssl", "--map", "client"]) else {
        return;
    };
    let noded = Arc::new(noded);
    let proxy = noded.proxy().start();
    let running = {
        let (noded, port) = (Arc::clone(&noded), proxy.addr().port().to_string());
        thread::spawn(move || noded.client(&["--port", &port], "test_delay", "[2]"))
    };
    proxy.wait_for("it runs", |p| p.metric("noded_proxy_slots_in_use") == 1.0);
    noded.stop_daemon();
    let down = noded.through(&proxy, &[], "version", "[]");
    assert_eq!((down.status, down.good), (502, false));
    let ended = running.join().unwrap(); // its child answers all the same
    assert_eq!(ended[0]["ok"], true, "{ended:?}");
}

/// How often the traffic of the next test goes round; 15 s each, most of it idle.
const ROUNDS: usize = 4;

/// RPCs in all rhythms, so that connections in advance are used, left over and opened again. noded
/// gives an open connection 10 s and logs a traceback when nothing comes: it has nothing to log but
/// requests.
#[test]
fn connections_in_advance_leave_only_requests_in_noded_s_log() {
    let Some(noded) = Noded::start(&["--no-ssl", "--map", "client"]) else {
        return;
    };
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let mut proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &client)])
        .upstream(noded.address())
        .arg("--warm")
        .arg("auto")
        .start();
    let before = noded.log().len();
    // What noded does not log as an error.
    let procedures = [
        ("version", "[]"),
        ("node_info", "[[], [[\"fake\", {}]]]"),
        ("get_file_info", "[\"/etc/hosts\"]"),
        ("test_delay", "[0.05]"),
    ];
    let call = |i: usize| {
        let (procedure, body) = procedures[i % procedures.len()];
        let answer = rpc(proxy.addr(), &client, procedure, body);
        assert_eq!(answer.map(|a| a.status), Ok(200), "{procedure}");
    };
    let mut calls = 0;
    // At a time, and how often. Each round has them before other gaps; the last ends with the
    // longest.
    let bursts = [(20, 1), (1, 30), (1, 1), (2, 1), (5, 1)];
    let gaps = [0.1, 1.0, 3.0, 11.0];
    for round in 0..ROUNDS {
        for (i, gap) in gaps.into_iter().enumerate() {
            let (at_a_time, times) = bursts[(round + i) % bursts.len()];
            for _ in 0..times {
                thread::scope(|scope| {
                    (0..at_a_time).for_each(|i| drop(scope.spawn(move || call(i))))
                });
            }
            calls += at_a_time * times;
            thread::sleep(Duration::from_secs_f64(gap));
        }
    }
    proxy.wait_for("nothing is open any more", |p| {
        p.metric("noded_proxy_slots_in_use") == 0.0
    });
    let connections = |kind: &str| {
        proxy.metric(&format!(
            "noded_proxy_upstream_connections_total{{kind=\"{kind}\"}}"
        ))
    };
    let (opened, used) = (connections("opened"), connections("warm"));
    let spent = proxy.metric("noded_proxy_warm_spent_total");
    let errors = upstream::Error::all().map(|error| {
        let kind = error.name();
        proxy.metric(&format!(
            "noded_proxy_upstream_errors_total{{kind=\"{kind}\"}}"
        ))
    });
    let errors: Vec<f64> = errors.collect();
    proxy.terminate();
    assert_eq!(proxy.wait_exit().code(), Some(0));
    let log = noded.log().split_off(before);
    let request = |line: &&str| line.contains(" INFO ") && line.ends_with(" HTTP/1.1 200");
    assert_eq!(log.lines().find(|line| !request(line)), None, "{log}");
    assert_eq!(errors.iter().sum::<f64>(), 0.0, "{errors:?}");
    assert!(spent > 0.0 && used > 0.0, "spent {spent}, used {used}");
    assert_eq!(opened, calls as f64 + spent, "one request on each");
    assert_eq!(log.lines().count() as f64, opened, "{log}");
}

/// noded would execute it as soon as it has it whole, whoever its sender is by then.
#[test]
fn a_long_request_whose_sender_is_demoted_meanwhile_is_not_executed() {
    let Some(noded) = Noded::start(&["--no-ssl", "--map", "client"]) else {
        return;
    };
    let pki = Pki::new();
    let (node, other) = (
        pki.client("node1.example.com"),
        pki.client("node2.example.com"),
    );
    let proxy = Proxy::with(&pki)
        .candidates(&[("uuid-1", &node)])
        .upstream(noded.address())
        .config("limits.body_in_memory = '1MiB'")
        .start();
    let tags = noded.file("/var/lib/ganeti/ssconf_cluster_tags");
    for (demoted, written) in [(false, "not-yet-demoted"), (true, "demoted")] {
        let padding = " ".repeat(4 << 20);
        let arguments = format!("[{{\"cluster_tags\": \"{written}\"}}]");
        let mut stream = connect(proxy.addr(), Some(&node), Tls::Any).unwrap();
        let length = padding.len() + arguments.len();
        send(
            &mut stream,
            format!(
                "POST /write_ssconf_files HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"
            ),
        );
        send(&mut stream, padding);
        if demoted {
            proxy.write_map(&[("uuid-2", &other)]);
            assert_eq!(read_response(&mut stream).status, 403);
            let _ = std::io::Write::write_all(&mut stream, arguments.as_bytes());
        } else {
            send(&mut stream, arguments);
            let answer = read_response(&mut stream);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    drop(proxy);
    let tags = fs::read_to_string(tags).unwrap();
    assert_eq!(tags.trim(), "not-yet-demoted");
}
