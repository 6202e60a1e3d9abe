//! Clients that compare host names: whatever they take of `server.pem`, they take of the ECDSA
//! certificate.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::clients::{VERSIONS, Version, installed, save};
use super::minted::CLUSTER;
use crate::support::pki::{Identity, Pki};
use crate::support::proxy::Proxy;

/// The cluster's name in `ssconf_cluster_name`.
const NAME: &str = "cluster1.example.org";

/// A client that trusts `server.pem` alone, and wants this name in the certificate that it is
/// shown.
#[derive(Debug, Clone, Copy)]
enum Client {
    /// On OpenSSL.
    Curl,
    /// On GnuTLS, Ganeti's own library.
    Pycurl,
    GnutlsCli,
    /// `ssl.create_default_context`.
    Python,
    /// `openssl s_client`.
    Openssl,
}

impl Client {
    const ALL: [Self; 5] = [
        Self::Curl,
        Self::Pycurl,
        Self::GnutlsCli,
        Self::Python,
        Self::Openssl,
    ];
}

/// A proxy, and files with what its clients need.
struct Scene {
    proxy: Proxy,
    ca: PathBuf,
    pem: PathBuf,
}

impl Scene {
    fn new(pki: &Pki, client: &Identity, config: &str) -> Self {
        let proxy = Proxy::with(pki).candidates(&[("u1", client)]);
        let proxy = proxy.config(config).start();
        let (ca, pem) = (
            proxy.dir().join("ca.pem"),
            save(proxy.dir(), "client.pem", client),
        );
        std::fs::write(&ca, &pki.server().cert_pem).unwrap();
        Self { proxy, ca, pem }
    }

    /// Whether this client is content with what it is shown under this name. The proxy has no noded
    /// behind it, so a client that speaks HTTP gets a 502.
    fn is_content(&self, client: Client, version: Version, name: &str) -> (bool, String) {
        let port = self.proxy.addr().port().to_string();
        let (ca, pem) = (text(&self.ca), text(&self.pem));
        let to = format!("{name}:1811:127.0.0.1:{port}");
        let old = version.s_client == "-tls1_2";
        let mut command = match client {
            Client::Curl => {
                let mut curl = Command::new("curl");
                curl.args(["-sS", "--noproxy", "*", "--cacert", &ca, "--cert", &pem])
                    .args(["--key", &pem, "--connect-to", &to, "-d", "[]"])
                    .args(if old {
                        ["--tls-max", "1.2"]
                    } else {
                        ["--tlsv1.3", "-sS"]
                    })
                    .arg(format!("https://{name}:1811/version"));
                curl
            }
            Client::Pycurl => python(
                PYCURL,
                &[&ca, &pem, &to, name, if old { "1.2" } else { "1.3" }],
            ),
            Client::Python => python(
                PYTHON,
                &[&ca, &pem, &port, name, if old { "1.2" } else { "1.3" }],
            ),
            Client::GnutlsCli => {
                let mut gnutls = Command::new("gnutls-cli");
                gnutls
                    .args([
                        "--priority",
                        version.gnutls,
                        "--x509cafile",
                        &ca,
                        "--port",
                        &port,
                    ])
                    .args(["--x509certfile", &pem, "--x509keyfile", &pem, "127.0.0.1"])
                    .args(["--logfile=/dev/null", &format!("--verify-hostname={name}")]);
                gnutls
            }
            Client::Openssl => {
                let mut openssl = Command::new("openssl");
                openssl
                    .args([
                        "s_client",
                        version.s_client,
                        "-verify_return_error",
                        "-CAfile",
                        &ca,
                    ])
                    .args(["-cert", &pem, "-key", &pem, "-verify_hostname", name])
                    .args(["-connect", &format!("127.0.0.1:{port}")]);
                openssl
            }
        };
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }
}

/// Fails unless the proxy answers.
const PYCURL: &str = r#"
import io, pycurl, sys
assert "GnuTLS" in pycurl.version, pycurl.version
ca, pem, to, name, version = sys.argv[1:]
curl = pycurl.Curl()
only = {"1.2": pycurl.SSLVERSION_TLSv1_2 | pycurl.SSLVERSION_MAX_TLSv1_2, "1.3": pycurl.SSLVERSION_TLSv1_3}
for option, value in ((pycurl.URL, "https://%s:1811/version" % name), (pycurl.CONNECT_TO, [to]),
                      (pycurl.CAINFO, ca), (pycurl.SSL_VERIFYPEER, 1), (pycurl.SSL_VERIFYHOST, 2),
                      (pycurl.SSLCERT, pem), (pycurl.SSLKEY, pem), (pycurl.SSLVERSION, only[version]),
                      (pycurl.POSTFIELDS, "[]"), (pycurl.TIMEOUT, 20), (pycurl.PROXY, ""),
                      (pycurl.WRITEDATA, io.BytesIO())):
    curl.setopt(option, value)
curl.perform()
"#;

const PYTHON: &str = r#"
import socket, ssl, sys
ca, pem, port, name, version = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(pem)
context.minimum_version = context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
with socket.create_connection(("127.0.0.1", int(port)), 20) as tcp:
    with context.wrap_socket(tcp, server_hostname=name) as stream:
        stream.sendall(b"POST /version HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\n[]")
        assert stream.recv(9) == b"HTTP/1.1 "
"#;

fn python(script: &str, arguments: &[&str]) -> Command {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", script]).args(arguments);
    python
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn whoever_is_content_with_server_pem_is_content_with_the_ecdsa_certificate() {
    if !installed("openssl") || !installed("gnutls-cli") || !installed("curl") {
        return;
    }
    let pki = Pki::new();
    let client = pki.client("node1.example.com");
    let server_pem = Scene::new(&pki, &client, "tls.certificate = 'server-pem'");
    let ecdsa = Scene::new(&pki, &client, "");
    let host = rustix::system::uname();
    let host = host.nodename().to_str().unwrap();
    // Known when the next file says so: the certificate is made again.
    std::fs::write(ecdsa.proxy.dir().join("ganeti/ssconf_cluster_name"), NAME).unwrap();
    ecdsa.proxy.wait_for("the cluster's name is in it", |_| {
        ecdsa.is_content(Client::Openssl, VERSIONS[1], NAME).0
    });
    let names = [
        (CLUSTER, true, true),
        (NAME, false, true),
        (host, false, true),
        ("elsewhere.example.org", false, false),
    ];
    for client in Client::ALL {
        for version in VERSIONS {
            for (name, of_server_pem, of_ecdsa) in names {
                for (scene, expected) in [(&server_pem, of_server_pem), (&ecdsa, of_ecdsa)] {
                    let (content, said) = scene.is_content(client, version, name);
                    let what = format!("{client:?} {} {name}", version.s_client);
                    assert_eq!(content, expected, "{what}: {said}");
                }
            }
        }
    }
}
