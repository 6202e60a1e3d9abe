//! What a stranger makes the proxy write: names of his choice in his certificate, and refusals
//! without end.

use std::io::Read;
use std::process::Command;

use noded_proxy::tls::mint::CertificateBuilder;
use openssl::x509::X509Name;
use rustix::process::{Pid, Signal, kill_process};

use crate::handshake::proxy_for;
use crate::support::client::{
    Tls, connect, read_response, refusal, rpc, send, tcp, try_read_response,
};
use crate::support::piped::Piped;
use crate::support::pki::{Identity, Pki, rsa, signed};
use crate::support::proxy::Proxy;
use crate::support::stub::StubNoded;

/// DER of one element with this tag.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    let mut der = vec![tag];
    match content.len() {
        0..=0x7f => der.push(length[3]),
        0x80..=0xff => der.extend([0x81, length[3]]),
        0x100..=0xffff => der.extend([0x82, length[2], length[3]]),
        _ => der.extend([0x83, length[1], length[2], length[3]]),
    }
    der.extend(content);
    der
}

/// A self-signed certificate whose common name is any text: the library itself would refuse some.
fn named(text: &str) -> Identity {
    let kind = [0x06, 3, 0x55, 4, 3];
    let pair = [&kind[..], &tlv(0x0c, text.as_bytes())].concat();
    let name = X509Name::from_der(&tlv(0x30, &tlv(0x31, &tlv(0x30, &pair)))).unwrap();
    signed(CertificateBuilder::new(name, rsa()), None)
}

fn command(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    command.args(arguments);
    command.args(["--admin", &proxy.admin().to_string()]);
    if arguments[0] == "explain" {
        command.args(["--ssconf-dir", proxy.dir().join("ganeti").to_str().unwrap()]);
        let server_pem = proxy.server_pem_path();
        command.args(["--server-pem", server_pem.to_str().unwrap()]);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_strangers_name_is_cut_and_escaped_wherever_it_is_shown() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    let table = [
        (
            "a\u{1b}]0;owned\u{7}\u{1b}[2Jb",
            "a\\u{1b}]0;owned\\u{7}\\u{1b}[2Jb",
        ),
        ("a\nready:  true\r\nb", "a\\u{a}ready:  true\\u{d}\\u{a}b"),
        (
            "a\u{202e}moc.elpmaxe\u{2028}\u{9b}1m",
            "a\\u{202e}moc.elpmaxe\\u{2028}\\u{9b}1m",
        ),
        (&*"n".repeat(300), &*("n".repeat(97) + "...")),
        (&*"\u{1b}".repeat(40_000), &*("\\u{1b}".repeat(16) + "...")),
    ];
    for (at, (name, shown)) in table.iter().enumerate() {
        assert!(refusal(proxy.addr(), Some(&named(name)), Tls::Any).is_some());
        proxy.wait_for("it is logged", |p| p.lines_with("refused").len() == at + 1);
        let line = proxy.lines_with("refused").pop().unwrap();
        assert_eq!(
            (&line["reason"], &line["cn"]),
            (&"unknown_digest".into(), &(*shown).into())
        );
        let status = proxy.status();
        assert_eq!(status["last_refusals"][at]["common_name"], *shown);
        for text in [
            command(&proxy, &["status"]),
            command(&proxy, &["status", "--json"]),
            command(&proxy, &["explain", "--peer", "127.0.0.1"]),
        ] {
            assert!(text.contains("unknown_digest"), "{text}");
            let odd = text
                .chars()
                .find(|c| *c != '\n' && !(' '..='~').contains(c));
            assert_eq!(odd, None, "{text}");
        }
    }
    assert!(proxy.get("/status").body.len() < 8 << 10);
    assert!(proxy.log().len() < 8 << 10);
}

#[test]
fn refusals_without_end_share_lines_with_a_count_and_none_is_lost() {
    const REFUSALS: u64 = 400;
    let pki = Pki::new();
    let mut proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    for _ in 0..REFUSALS {
        let mut plain = tcp(proxy.addr()).unwrap();
        send(&mut plain, "GET / HTTP/1.1\r\n\r\n");
        let _ = plain.read_to_end(&mut Vec::new());
    }
    proxy.wait_for("all are counted", |p| {
        p.rejected("protocol_error") == REFUSALS as f64
    });
    // A refusal for another reason still has its line.
    assert!(refusal(proxy.addr(), Some(pki.server()), Tls::Any).is_some());
    proxy.wait_for("it is logged", |p| {
        p.lines_with("refused")
            .iter()
            .any(|line| line["reason"] == "unknown_digest")
    });
    proxy.terminate();
    proxy.wait_exit();
    let of = |message| {
        let mut lines = proxy.lines_with(message);
        lines.retain(|line| line["reason"] == "protocol_error");
        lines
    };
    let (alone, together) = (of("refused"), of("further refusals"));
    // Ten in each window of ten seconds, however slow this machine is.
    assert!(alone.len() <= 10 * together.len(), "{}", proxy.log());
    assert!(together.iter().all(|line| line["source"] == "127.0.0.1"));
    let told: u64 = together
        .iter()
        .filter_map(|line| line["count"].as_u64())
        .sum();
    assert_eq!(alone.len() as u64 + told, REFUSALS);
}

#[test]
fn the_end_of_a_burst_is_told_without_a_further_refusal() {
    let pki = Pki::new();
    let proxy = proxy_for(&pki, &pki.client("node1.example.com")).start();
    for _ in 0..20 {
        let mut plain = tcp(proxy.addr()).unwrap();
        send(&mut plain, "GET / HTTP/1.1\r\n\r\n");
        let _ = plain.read_to_end(&mut Vec::new());
    }
    proxy.wait_for("it is told", |p| p.logged("further refusals"));
}

#[test]
fn a_reader_of_the_log_that_stalls_stops_no_call_and_is_told_what_it_missed() {
    const AT_ONCE: usize = 100;
    const ROUNDS: usize = 90;
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let stub = StubNoded::usual();
    let mut proxy = Piped::start(&pki, &node, stub.address(), "127.0.0.1:0");
    let admin = proxy.address_in(" admin listener open address=");
    let public = proxy.address_in(" listening address=");

    // From here on nobody reads the log. Each of these requests is a line of it.
    let mut stream = connect(public, Some(&node), Tls::Any).unwrap();
    for round in 0..ROUNDS {
        send(
            &mut stream,
            "GET /version HTTP/1.1\r\nHost: n\r\n\r\n".repeat(AT_ONCE),
        );
        for _ in 0..AT_ONCE {
            let answer = try_read_response(&mut stream);
            assert_eq!(answer.map(|a| a.status), Ok(405), "round {round}");
        }
    }
    assert_eq!(rpc(public, &node, "version", "[]").unwrap().status, 200);
    let mut scrape = tcp(admin).unwrap();
    send(&mut scrape, "GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n");
    let metrics = read_response(&mut scrape).text();
    let value = |name: &str| {
        let sample = metrics.lines().find_map(|line| line.strip_prefix(name));
        sample.unwrap().trim().parse::<usize>().unwrap()
    };
    let dropped = value("noded_proxy_log_lines_dropped_total ");
    assert!(dropped > 0, "the test makes too few lines");

    // Read on: nothing else is missing.
    let log = proxy.log.take().unwrap();
    let reads = std::thread::spawn(move || log.map_while(Result::ok).collect::<Vec<_>>());
    drop(stream);
    kill_process(Pid::from_child(&proxy.child), Signal::TERM).unwrap();
    assert!(proxy.child.wait().unwrap().success());
    let lines = reads.join().unwrap();
    let told: usize = lines
        .iter()
        .filter_map(|line| {
            line.split_once("had stalled lines=")?
                .1
                .parse::<usize>()
                .ok()
        })
        .sum();
    // A line may have been dropped after the scrape.
    assert!(
        (dropped..dropped + 10).contains(&told),
        "{told} told, {dropped} counted"
    );
    let written = lines
        .iter()
        .filter(|line| line.contains(" rpc peer="))
        .count();
    assert!(written + told > ROUNDS * AT_ONCE, "{written} and {told}");
}
