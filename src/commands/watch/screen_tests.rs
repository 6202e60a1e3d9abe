//! Looks as text.

use super::super::rates::Counts;
use super::*;
use crate::daemon::handover::Holds;
use crate::daemon::report::example;
use std::time::Duration;

#[test]
fn a_look_as_text() {
    let old = Counts::default();
    let new = Counts::of("noded_proxy_rpcs_total{code=\"200\"} 25\n");
    let rates = Rates::between(old, new, Duration::from_secs(2));
    let text = "\
noded-proxy 0.1.0 on node1.example.com, up 2 days

state        ready, degraded, AUDIT, listed, 3 candidates
             AUDIT MODE: every certificate of this cluster is admitted
RPCs         12.5/s, 0.0/s without a good answer
connections  0.0/s, 0.0/s refused; 4 open, 1 in handshake
noded        [##------------------] 2 of 20 slots in use (1 warm), 0 waiting

last refusals
3 min ago 192.0.2.9:40000 unknown_digest node9 -
";
    let plain = Paint::new(false);
    let report = example::report();
    assert_eq!(render(&report, Some(rates), example::NOW, plain), text);
    let first = render(&report, None, example::NOW, plain);
    assert!(first.contains("RPCs         -/s, -/s without"), "{first}");
}

#[test]
fn colours_say_what_is_bad() {
    let mut report = example::report();
    report.health.ready = false;
    (report.upstream.slots_in_use, report.upstream.waiting) = (20, 3);
    report.last_refusals.clear();
    let text = render(&report, None, example::NOW, Paint::new(true));
    for words in [
        "\x1b[31mNOT READY\x1b[0m",
        "\x1b[31m[####################]\x1b[0m 20 of 20",
        "\x1b[33m3 waiting\x1b[0m",
        "last refusals\nnone\n",
    ] {
        assert!(text.contains(words), "{words:?}: {text:?}");
    }
}

/// A report whose process uses so many slots, after reloads.
fn after_reloads(in_use: usize, held: &[usize], failed: Option<&str>) -> Report {
    let mut report = example::report();
    report.upstream.slots_in_use = in_use;
    report.handover.failed = failed.map(String::from);
    let old = |(pid, slots): (u32, &usize)| Holds {
        pid,
        slots: *slots,
        lacks_slot: false,
        replaced_seconds_ago: 200,
    };
    report.handover.predecessors = (71..).zip(held).map(old).collect();
    report
}

#[test]
fn slots_of_replaced_processes_count_and_a_failed_reload_is_told() {
    const RED: &str = "\x1b[31m[####################]\x1b[0m";
    const GREEN: &str = "\x1b[32m[############--------]\x1b[0m";
    let table: [(usize, &[usize], Option<&str>, &str); 4] = [
        (
            12,
            &[],
            None,
            &format!("noded        {GREEN} 12 of 20 slots in use (1 warm), 0 waiting\n"),
        ),
        (
            12,
            &[7, 1],
            None,
            &format!(
                "noded        {RED} 20 of 20 slots in use, 8 of them by replaced processes (1 warm), 0 waiting\n\
                 replaced     process 71 finishes up to 7 RPCs, replaced 3 min ago\n\
                 replaced     process 72 finishes up to 1 RPC, replaced 3 min ago\n"
            ),
        ),
        (
            11,
            &[1],
            Some("the port\nis \x1b[2Jtaken"),
            &format!(
                "noded        {GREEN} 12 of 20 slots in use, 1 of them by replaced processes (1 warm), 0 waiting\n\
                 replaced     process 71 finishes up to 1 RPC, replaced 3 min ago\n\
                 last reload  \x1b[31mfailed: the port\\u{{a}}is \\u{{1b}}[2Jtaken\x1b[0m\n"
            ),
        ),
        (usize::MAX, &[usize::MAX], None, RED),
    ];
    for (in_use, held, failed, expected) in table {
        let report = after_reloads(in_use, held, failed);
        let text = render(&report, None, example::NOW, Paint::new(true));
        assert!(text.contains(expected), "{expected}: {text}");
        let told = expected.matches("last reload").count();
        assert_eq!(text.matches("last reload").count(), told, "{text}");
    }
}
