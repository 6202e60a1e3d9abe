//! Real clients: GnuTLS (gnutls-cli, wget, Ganeti's pycurl) and OpenSSL (`s_client`).

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::pki::Identity;

/// TLS versions, in the words of s_client, wget and gnutls-cli.
pub(super) const VERSIONS: [Version; 2] = [
    Version {
        s_client: "-tls1_2",
        wget: "TLSv1_2",
        gnutls: "NORMAL:-VERS-ALL:+VERS-TLS1.2",
    },
    Version {
        s_client: "-tls1_3",
        wget: "TLSv1_3",
        gnutls: "NORMAL:-VERS-ALL:+VERS-TLS1.3",
    },
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) s_client: &'static str,
    pub(super) wget: &'static str,
    pub(super) gnutls: &'static str,
}

/// A directory with key and certificate in one file, as Ganeti has `client.pem`.
pub(super) fn save(dir: &Path, name: &str, identity: &Identity) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, &identity.pem).unwrap();
    path
}

/// The client CA list that a client receives: each name as DER, in the order of the wire.
pub(super) fn received(address: SocketAddr, version: Version) -> Vec<Vec<u8>> {
    let output = Command::new("openssl")
        .args(["s_client", "-msg", version.s_client, "-connect"])
        .arg(address.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let message = message(&text).unwrap_or_else(|| panic!("no CertificateRequest in {text}"));
    let body = &message[4..];
    match version.s_client {
        "-tls1_2" => {
            // types<1>, signature algorithms<2>, authorities<2> (RFC 5246, 7.4.4)
            let rest = after(body, 1);
            split(after_2(rest))
        }
        _ => {
            // context<1>, extensions<2>; 47 is certificate_authorities (RFC 8446, 4.3.2 and 4.2.4)
            let mut extensions = &after(body, 1)[2..];
            while !extensions.is_empty() {
                let (kind, rest) = (number(extensions), &extensions[2..]);
                let content = &rest[2..2 + number(rest)];
                if kind == 47 {
                    return split(content);
                }
                extensions = &rest[2 + number(rest)..];
            }
            Vec::new()
        }
    }
}

/// The bytes of the CertificateRequest in what `s_client -msg` prints.
fn message(text: &str) -> Option<Vec<u8>> {
    let start = text.find(", CertificateRequest\n")?;
    let lines = text[start..].lines().skip(1);
    let hex = lines.take_while(|line| line.starts_with("    "));
    let byte = |pair: &str| u8::from_str_radix(pair, 16).unwrap();
    Some(
        hex.flat_map(|line| line.split_whitespace().map(byte))
            .collect(),
    )
}

fn number(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// What follows a vector with a length of one byte.
fn after(bytes: &[u8], width: usize) -> &[u8] {
    assert_eq!(width, 1);
    &bytes[1 + usize::from(bytes[0])..]
}

/// What follows a vector with a length of two bytes.
fn after_2(bytes: &[u8]) -> &[u8] {
    &bytes[2 + number(bytes)..]
}

/// A vector of vectors, all with lengths of two bytes.
fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &bytes[2..2 + number(bytes)];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let end = 2 + number(rest);
        found.push(rest[2..end].to_vec());
        rest = &rest[end..];
    }
    found
}

/// One RPC by Debian's wget: GnuTLS, and strict about the client CA list.
pub(super) fn wget(address: SocketAddr, pem: &Path, version: Version) -> Result<String, String> {
    run_wget(address, pem, version, &["--post-data=[]"])
}

/// The same without a request body, which `s_server -www` does not read.
pub(super) fn wget_page(
    address: SocketAddr,
    pem: &Path,
    version: Version,
) -> Result<String, String> {
    run_wget(address, pem, version, &[])
}

fn run_wget(
    address: SocketAddr,
    pem: &Path,
    version: Version,
    more: &[&str],
) -> Result<String, String> {
    let secure = format!("--secure-protocol={}", version.wget);
    let with = |option: &str| format!("--{option}={}", pem.display());
    let output = Command::new("wget")
        .args(["-q", "-O", "-", "--tries=1", "--timeout=10", "--no-proxy"])
        .args(["--no-check-certificate", &secure])
        .args([with("certificate"), with("private-key")])
        .args(more)
        .arg(format!("https://{address}/version"))
        .output()
        .unwrap();
    verdict(&output)
}

/// One request by gnutls-cli.
pub(super) fn gnutls(address: SocketAddr, pem: &Path, version: Version) -> Result<String, String> {
    let file = pem.display().to_string();
    let mut child = Command::new("gnutls-cli")
        .args(["--insecure", "--logfile=/dev/null", "--priority"])
        .arg(version.gnutls)
        .args(["--x509certfile", &file, "--x509keyfile", &file, "-p"])
        .args([&address.port().to_string(), "127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request =
        "POST /version HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(request.as_bytes()).unwrap();
    let output = child.wait_with_output();
    drop(stdin);
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.find("HTTP/1.1 200") {
        Some(at) => Ok(text[at..].to_owned()),
        None => Err(format!("{output:?}")),
    }
}

/// RPCs by Ganeti's transport: pycurl on GnuTLS. One line for each certificate: the HTTP status, or
/// the error.
pub(super) fn pycurl(address: SocketAddr, pems: &[PathBuf]) -> Vec<String> {
    const SCRIPT: &str = r#"
import io, pycurl, sys
assert "GnuTLS" in pycurl.version, pycurl.version
for pem in sys.argv[2:]:
    for version in (pycurl.SSLVERSION_TLSv1_2 | pycurl.SSLVERSION_MAX_TLSv1_2, pycurl.SSLVERSION_TLSv1_3):
        curl, out = pycurl.Curl(), io.BytesIO()
        for option, value in ((pycurl.URL, sys.argv[1]), (pycurl.SSL_VERIFYPEER, 0),
                              (pycurl.SSL_VERIFYHOST, 0), (pycurl.SSLCERT, pem), (pycurl.SSLKEY, pem),
                              (pycurl.SSLVERSION, version), (pycurl.POSTFIELDS, "[]"),
                              (pycurl.TIMEOUT, 10), (pycurl.PROXY, ""), (pycurl.WRITEDATA, out)):
            curl.setopt(option, value)
        try:
            curl.perform()
            print(curl.getinfo(pycurl.RESPONSE_CODE), flush=True)
        except pycurl.error as error:
            print(error, flush=True)
"#;
    let output = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT, &format!("https://{address}/version")])
        .args(pems)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn verdict(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{output:?}"))
    }
}

/// Whether a program is there; a word on standard error if not, and a failure where all are
/// required.
pub(super) fn installed(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        let required = std::env::var_os("NODED_PROXY_REQUIRE_LAB").is_some_and(|v| v == "1");
        assert!(!required, "{program} is required and not installed");
        let _ = writeln!(std::io::stderr(), "SKIPPED: no {program}");
    }
    there
}
