//! What TLS never does here: take a session up again, renegotiate, speak HTTP/2 or an old version.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslSessionCacheMode, SslVersion};

use crate::handshake::proxy_for;
use crate::support::client::{
    Tls, alert, ask, connect_with, context, refusal_with, request, shake_hands,
};
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;

/// A client that keeps sessions and counts those it is given.
pub(crate) fn session_keeper(node: &Identity, tls: Tls) -> (SslContext, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&given);
    let mut settings = context(Some(node), tls);
    settings.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    settings.set_new_session_callback(move |_, session| {
        let resumable = session.id().len() + usize::from(session.time() > 0);
        counter.fetch_add(usize::from(resumable > 0), Ordering::SeqCst);
    });
    (settings.build(), given)
}

/// Runs `openssl s_client`, another TLS library, with this standard input.
fn s_client(proxy: &Proxy, node: &Identity, options: &[&str], input: &str) -> String {
    let pem = proxy.dir().join("client.pem");
    std::fs::write(&pem, &node.pem).unwrap();
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &proxy.addr().to_string(),
            "-servername",
            "node1",
        ])
        .arg("-cert")
        .arg(pem)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed (tests/lab/setup)");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// No session identifier, no ticket, and no session taken up again. (A row of `threats`.)
pub(crate) fn no_session_is_resumed(tls: Tls) {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let (client, given) = session_keeper(&node, tls);
    let mut stream = shake_hands(proxy.addr(), Ssl::new(&client).unwrap()).unwrap();
    ask(&mut stream);
    assert!(!stream.ssl().session_reused());
    assert_eq!(given.load(Ordering::SeqCst), 0, "sessions to keep");

    let version = if tls == Tls::V12 {
        "-tls1_2"
    } else {
        "-tls1_3"
    };
    let kept = proxy.dir().join("session");
    let keep = ["-sess_out", kept.to_str().unwrap(), version, "-ign_eof"];
    let request =
        request("version", "[]").replace("Content-Type", "Connection: close\r\nContent-Type");
    let told = s_client(&proxy, &node, &keep, &request);
    assert!(
        told.contains("HTTP/1.1 502"),
        "an admitted client with an answer:\n{told}"
    );
    assert!(!told.contains("Session Ticket arrived"), "{told}");
    if kept.exists() {
        let offer = ["-sess_in", kept.to_str().unwrap(), version, "-ign_eof"];
        let told = s_client(&proxy, &node, &offer, &request);
        assert!(
            told.contains("New, TLSv1") && !told.contains("Reused, "),
            "{told}"
        );
    }
}

#[test]
fn tls_1_2_takes_aead_ciphers_with_forward_secrecy_only() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let table = [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("ECDHE-RSA-AES256-GCM-SHA384", true),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", true),
        ("ECDHE-ECDSA-AES256-SHA", false),
        ("ECDHE-RSA-AES128-SHA", false),
        ("ECDHE-RSA-AES128-SHA256", false),
        ("AES128-GCM-SHA256", false),
        ("AES128-SHA", false),
    ];
    for (cipher, accepted) in table {
        let told = s_client(&proxy, &node, &["-tls1_2", "-cipher", cipher], "");
        let agreed = told.contains(&format!("Cipher is {cipher}"));
        assert_eq!(agreed, accepted, "{cipher}:\n{told}");
    }
}

#[test]
fn renegotiation_is_refused() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    // "R" asks s_client to renegotiate.
    let told = s_client(&proxy, &node, &["-tls1_2"], "R\n");
    assert!(told.contains("RENEGOTIATING"), "{told}");
    assert!(
        told.contains("no renegotiation") || told.contains("error:"),
        "{told}"
    );
    proxy.wait_for("it was admitted", |p| {
        p.metric("noded_proxy_connections_total{result=\"no_request\"}") == 1.0
    });
    proxy.wait_for("the connection is closed", |p| {
        p.metric("noded_proxy_connections_open") == 0.0
    });
}

#[test]
fn http_1_1_is_chosen_whatever_else_is_offered() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let offers: [(&[u8], Option<&[u8]>); 3] = [
        (b"\x02h2\x08http/1.1", Some(b"http/1.1")),
        (b"\x08http/1.1", Some(b"http/1.1")),
        (b"\x02h2", None),
    ];
    for tls in Tls::BOTH {
        for (offer, expected) in offers {
            let settings = |context: &mut SslContextBuilder| {
                context.set_alpn_protos(offer).unwrap();
            };
            let mut stream = connect_with(proxy.addr(), Some(&node), tls, settings).unwrap();
            assert_eq!(stream.ssl().selected_alpn_protocol(), expected, "{tls:?}");
            ask(&mut stream);
        }
    }
}

#[test]
fn tls_1_1_is_refused() {
    let pki = Pki::new();
    let node = pki.client("node1.example.com");
    let proxy = proxy_for(&pki, &node).start();
    let mut settings = context(Some(&node), Tls::Any);
    #[cfg(not(feature = "aws-lc"))]
    settings.set_security_level(0); // or OpenSSL 3 would not even ask for it
    settings
        .set_min_proto_version(Some(SslVersion::TLS1))
        .unwrap();
    settings
        .set_max_proto_version(Some(SslVersion::TLS1_1))
        .unwrap();
    let failure = refusal_with(proxy.addr(), settings).expect("the client is refused");
    assert_eq!(failure.alert, Some(alert::PROTOCOL_VERSION), "{failure:?}");
    proxy.wait_for("it is counted", |p| p.rejected("protocol_error") == 1.0);
}
