//! docs/troubleshooting.md: Ganeti's own client prints these texts in these states, and each text of
//! the table is printed in one of them.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

use crate::support::lab::{Answer, Noded};
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;

const DOCUMENT: &str = include_str!("../../docs/troubleshooting.md");
const STRANGER: &str = "uuid-1=00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\n";

/// The texts of the table, without what differs from node to node.
fn texts() -> Vec<(&'static str, String)> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap())
        .map(|text| (text, text.replace("HOST", &host())))
        .collect()
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into()
}

/// Notes which rows were seen.
struct Seen<'a>(&'a Noded, Mutex<BTreeSet<&'static str>>);

impl Seen<'_> {
    /// The text is printed, and begins as this row says and as no longer one does.
    #[track_caller]
    fn expect(&self, row: &str, answer: &Answer) {
        let printed = answer.fail_msg.as_deref().unwrap_or("nothing");
        let noded = self.0.address().to_string();
        let begins = |text: &str| printed.starts_with(&text.replace("ADDRESS", &noded));
        let fitting = texts().into_iter().filter(|(_, text)| begins(text));
        let found = fitting.max_by_key(|(text, _)| text.len());
        let found = found.unwrap_or_else(|| panic!("no row for {printed}")).0;
        assert!(found.contains(row), "{printed}\nis found as: {found}");
        self.1.lock().unwrap().insert(found);
    }

    #[track_caller]
    fn through(&self, row: &str, proxy: &Proxy) {
        self.expect(row, &self.0.through(proxy, &[], "version", "[]"));
    }

    #[track_caller]
    fn at(&self, row: &str, port: u16) {
        let port = ["--port", &port.to_string()];
        self.expect(row, &self.0.direct(&port, "version", "[]"));
    }
}

#[test]
fn ganeti_prints_what_the_troubleshooting_guide_says() {
    let Some(noded) = Noded::start(&["--no-ssl", "--map", "client"]) else {
        return;
    };
    let seen = Seen(&noded, Mutex::default());
    let mut stopped = noded.proxy().start();
    let port = stopped.addr().port();
    stopped.terminate();
    stopped.wait_exit();
    seen.at("Error 7", port);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    seen.at("Error 28", silent.local_addr().unwrap().port());
    seen.at("non-properly terminated", noded.address().port());
    let strange = noded.proxy().map_text(STRANGER).start();
    seen.through("Error 56", &strange);
    seen.expect(
        "CA is unknown",
        &noded.in_tls_1_2(&strange, "version", "[]"),
    );
    let other = noded.proxy().server_pem(&Pki::new().server_pem()).start();
    seen.through("Error 60", &other);
    let forbids = noded.proxy().config("policy.deny = ['read_only']").start();
    seen.through("policy.", &forbids);
    let one = "upstream.max_clients = 1\nupstream.fast_slots = 0\nupstream.queue_timeout = '1ms'";
    let busy = noded.proxy().config(one).start();
    std::thread::scope(|scope| {
        scope.spawn(|| noded.through(&busy, &[], "test_delay", "[5]"));
        busy.wait_for("it runs", |p| p.metric("noded_proxy_slots_in_use") == 1.0);
        seen.through("busy", &busy);
    });
    let unknown = noded.proxy().start();
    let answer = noded.through(&unknown, &[], "no_such_method", "[]");
    seen.expect("noded-proxy on HOST: ", &answer);
    noded.stop_daemon();
    seen.through("cannot be reached", &unknown);
    let missing: Vec<_> = texts().into_iter().map(|(row, _)| row).collect();
    let seen = seen.1.into_inner().unwrap();
    assert_eq!(seen, missing.into_iter().collect());
}
