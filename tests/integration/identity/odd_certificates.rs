//! Odd client certificates, all of them in the map: what noded takes, the proxy takes, or it says
//! why not.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use openssl::pkey::PKey;

use super::clients::{VERSIONS, Version, installed};
use super::commands::{assert_says, run};
use super::odd::{Odd, all};
use crate::support::lab::Noded;
use crate::support::pki::Pki;
use crate::support::proxy::Proxy;

/// An answer that is no alert.
const OK: &str = "ok";
/// The alerts for a client that shows no certificate, in TLS 1.2 and 1.3.
const KEPT_BACK: [&str; 2] = ["handshake failure", "certificate required"];
/// The client cannot read the certificate itself.
const NOT_LOADED: &str = "cannot load";

/// A certificate that is not taken in both versions of TLS: the answer in TLS 1.2 and 1.3.
type Refused = (&'static str, [&'static str; 2]);

/// What noded 3.0.2 refuses (on OpenSSL 3.0). It takes all others.
const BY_NODED: [Refused; 6] = [
    (
        "key-secp256k1",
        ["illegal parameter", "certificate required"],
    ),
    (
        "key-secp224r1",
        ["illegal parameter", "certificate required"],
    ),
    (
        "key-brainpoolP256r1",
        ["illegal parameter", "certificate required"],
    ),
    ("subject-utf8-invalid", [NOT_LOADED; 2]),
    ("serial-leading-zero-bytes", [NOT_LOADED; 2]),
    ("big-110k", ["illegal parameter"; 2]),
];

/// What the proxy refuses on AWS-LC, and the reason that it gives where the client shows its
/// certificate. It takes all others.
#[cfg(feature = "aws-lc")]
const BY_PROXY: [(Refused, &str); 20] = {
    const UNUSABLE: &str = "unusable_certificate";
    const MALFORMED: &str = "malformed_certificate";
    [
        // AWS-LC asks for signatures of RSA and ECDSA keys alone, and the safe interface to it does
        // not let us ask for more. So the client keeps its certificate back.
        (("key-ed25519", KEPT_BACK), UNUSABLE),
        (("key-ed448", KEPT_BACK), UNUSABLE),
        (("key-rsapss", KEPT_BACK), UNUSABLE),
        (("key-rsapss-sha512", KEPT_BACK), UNUSABLE),
        // TLS 1.3 has no signature for these curves. In TLS 1.2 AWS-LC takes more than noded.
        (("key-secp256k1", [OK, "certificate required"]), UNUSABLE),
        (("key-secp224r1", [OK, "certificate required"]), UNUSABLE),
        // A curve that AWS-LC does not know.
        (
            (
                "key-brainpoolP256r1",
                ["decode error", "certificate required"],
            ),
            UNUSABLE,
        ),
        // AWS-LC wants digitalSignature in the key usage, if there is one.
        (
            (
                "ku-keyEncipherment-only",
                ["unsupported certificate", "illegal parameter"],
            ),
            UNUSABLE,
        ),
        (
            (
                "ku-certSign-only",
                ["unsupported certificate", "illegal parameter"],
            ),
            UNUSABLE,
        ),
        (
            (
                "ku-empty-bits",
                ["unsupported certificate", "illegal parameter"],
            ),
            UNUSABLE,
        ),
        (("big-110k", ["illegal parameter"; 2]), UNUSABLE),
        // Not DER, or not what RFC 5280 allows; OpenSSL overlooks it.
        (("utctime-no-seconds", ["decode error"; 2]), MALFORMED),
        (("gentime-fraction", ["decode error"; 2]), MALFORMED),
        (("time-feb-30", ["decode error"; 2]), MALFORMED),
        (("time-leap-second", ["decode error"; 2]), MALFORMED),
        (("v1-with-ext", ["decode error"; 2]), MALFORMED),
        (("ext-duplicate", ["certificate unknown"; 2]), MALFORMED),
        (("ext-san-garbage", ["certificate unknown"; 2]), MALFORMED),
        (("subject-utf8-invalid", [NOT_LOADED; 2]), MALFORMED),
        (("serial-leading-zero-bytes", [NOT_LOADED; 2]), MALFORMED),
    ]
};

/// The same on OpenSSL.
#[cfg(not(feature = "aws-lc"))]
const BY_PROXY: [(Refused, &str); 8] = {
    const UNUSABLE: &str = "unusable_certificate";
    const MALFORMED: &str = "malformed_certificate";
    const CURVE: [&str; 2] = ["illegal parameter", "certificate required"];
    [
        (("key-secp256k1", CURVE), UNUSABLE),
        (("key-secp224r1", CURVE), UNUSABLE),
        (("key-brainpoolP256r1", CURVE), UNUSABLE),
        (("big-110k", ["illegal parameter"; 2]), UNUSABLE),
        // Its time cannot be counted, so nobody could say whether it is valid.
        (("time-feb-30", ["unknown ca"; 2]), MALFORMED),
        (("time-leap-second", ["unknown ca"; 2]), MALFORMED),
        (("subject-utf8-invalid", [NOT_LOADED; 2]), MALFORMED),
        (("serial-leading-zero-bytes", [NOT_LOADED; 2]), MALFORMED),
    ]
};

/// The certificates of a cluster, all of them in its map.
struct Scene {
    /// The real noded, where the lab can run.
    noded: Option<Noded>,
    proxy: Proxy,
    odd: Vec<Odd>,
}

impl Scene {
    fn new() -> Self {
        let noded = Noded::start(&["--map", "client"]);
        let server = match &noded {
            Some(noded) => noded.read("SERVER_PEM"),
            None => Pki::new().server_pem(),
        };
        let odd = all(&PKey::private_key_from_pem(server.as_bytes()).unwrap());
        let line = |odd: &Odd| format!("{}={}\n", odd.name, odd.digest);
        let map: String = odd.iter().map(line).collect();
        if let Some(noded) = &noded {
            fs::write(noded.path("CANDIDATES"), &map).unwrap();
        }
        let proxy = Proxy::with(&Pki::new()).server_pem(&server);
        Self {
            noded,
            proxy: proxy.map_text(&map).start(),
            odd,
        }
    }

    /// Asks noded. It ends a connection a second after its answer, so many are asked at once.
    fn noded_takes_what_we_think(&self) {
        let Some(noded) = &self.noded else {
            return;
        };
        for some in self.odd.chunks(8) {
            std::thread::scope(|scope| {
                for odd in some {
                    scope.spawn(|| {
                        let ask = |v: Version| answer(noded.address(), &odd.pem, v.s_client);
                        let answers = VERSIONS.map(ask);
                        for (found, wanted) in answers.iter().zip(expected(odd.name, &BY_NODED)) {
                            // noded closes without waiting, so its alert may be lost.
                            let lost = wanted != OK && found == "closed";
                            assert!(lost || found == wanted, "{}: {answers:?}", odd.name);
                        }
                    });
                }
            });
        }
    }

    /// What the proxy answers in both versions, and the reason of each refusal.
    fn through_the_proxy(&self, odd: &Odd) -> ([String; 2], [Option<String>; 2]) {
        let mut reasons = [None, None];
        let mut nth = 0;
        let answers = VERSIONS.map(|version| {
            // Of many refusals the log has only some.
            let last = || {
                let refusals = self.proxy.status()["last_refusals"].clone();
                refusals
                    .as_array()
                    .unwrap()
                    .last()
                    .cloned()
                    .unwrap_or_default()
            };
            let before = last();
            let found = answer(self.proxy.addr(), &odd.pem, version.s_client);
            if found != OK && found != NOT_LOADED {
                self.proxy
                    .wait_for("the refusal is told", |_| last()["peer"] != before["peer"]);
                reasons[nth] = last()["reason"].as_str().map(str::to_owned);
            }
            nth += 1;
            found
        });
        (answers, reasons)
    }
}

/// What `openssl s_client` gets with a certificate: the status line of an answer, the alert, or
/// nothing.
fn answer(address: SocketAddr, pem: &str, version: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("client.pem");
    fs::write(&file, pem).unwrap();
    let request = dir.path().join("request");
    let text =
        "POST /version HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
    fs::write(&request, text).unwrap();
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-cipher",
            "DEFAULT@SECLEVEL=0",
            version,
            "-connect",
        ])
        .arg(address.to_string())
        .args([
            "-cert".as_ref(),
            file.as_os_str(),
            "-key".as_ref(),
            file.as_os_str(),
        ])
        .stdin(Stdio::from(fs::File::open(request).unwrap()))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let alert = said
        .split_once("alert ")
        .map(|(_, rest)| rest.split(':').next().unwrap());
    match alert {
        _ if said.contains("HTTP/1.") => "ok".into(),
        Some(alert) => alert.into(),
        None if said.contains("DECODER") => "cannot load".into(),
        None => "closed".into(),
    }
}

/// The answers that are expected for a certificate, by a list of those that are refused.
fn expected(name: &str, list: &[Refused]) -> [&'static str; 2] {
    let row = list.iter().find(|(refused, _)| *refused == name);
    row.map_or([OK; 2], |(_, answers)| *answers)
}

#[test]
fn what_noded_takes_is_taken_or_refused_with_a_reason_and_explain_says_the_same() {
    if !installed("openssl") {
        return;
    }
    let scene = Scene::new();
    scene.noded_takes_what_we_think();
    let refused = BY_PROXY.map(|(refused, _)| refused);
    for odd in &scene.odd {
        let name = odd.name;
        let (found, reasons) = scene.through_the_proxy(odd);
        assert_eq!(found, expected(name, &refused), "the proxy, {name}");
        let row = BY_PROXY.iter().find(|((refused, _), _)| *refused == name);
        let reason = row.map(|(_, reason)| *reason);
        for (answer, told) in found.iter().zip(reasons) {
            // The proxy cannot know of a certificate that the client keeps back.
            let kept_back = KEPT_BACK.contains(&answer.as_str());
            let reason = if kept_back {
                Some("no_certificate")
            } else {
                reason
            };
            assert!(
                told.is_none() || told.as_deref() == reason,
                "{name}: {told:?}"
            );
        }
        let file = scene.proxy.dir().join("odd.pem");
        fs::write(&file, &odd.pem).unwrap();
        let said = run(&scene.proxy, &["explain", file.to_str().unwrap()]);
        match reason.filter(|_| found[0] != OK) {
            Some(reason) => assert_says(&said, 1, &[&format!("REFUSED, {reason}: "), "to do:"]),
            None => assert_says(&said, 0, &[&format!("ADMITTED as {name}"), "succeeds"]),
        }
    }
}

#[test]
fn a_candidate_that_keeps_its_certificate_back_is_told_so_where_its_certificate_is_known() {
    if !installed("openssl") {
        return;
    }
    let pki = Pki::new();
    let odd = all(&pki.server().key);
    let odd = odd.iter().find(|odd| odd.name == "key-ed25519").unwrap();
    let certs = tempfile::tempdir().unwrap();
    fs::write(certs.path().join("node1.pem"), &odd.pem).unwrap();
    let proxy = Proxy::with(&pki)
        .map_text(&format!("u1={}\n", odd.digest))
        .config(&format!("candidate_certs = '{}'", certs.path().display()))
        .start();
    let addresses = "node1.example.com 127.0.0.1\n";
    fs::write(
        proxy.dir().join("ganeti/ssconf_node_primary_ips"),
        addresses,
    )
    .unwrap();
    proxy.sighup();
    for version in VERSIONS {
        let before = proxy.rejected("unusable_certificate");
        let found = answer(proxy.addr(), &odd.pem, version.s_client);
        if cfg!(feature = "aws-lc") {
            assert_ne!(found, OK);
            proxy.wait_for("the reason is counted", |proxy| {
                proxy.rejected("unusable_certificate") == before + 1.0
            });
        } else {
            assert_eq!(found, OK);
        }
    }
    if cfg!(feature = "aws-lc") {
        let said = run(&proxy, &["explain", "--peer", "127.0.0.1"]);
        assert_says(&said, 1, &["unusable_certificate", "Ed25519"]);
    }
}
