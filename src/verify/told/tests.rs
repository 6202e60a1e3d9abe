//! What the script tells is what a look at the same files sees; and what a liar may write.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::node::tree::Tree;
use crate::tls::mint::{CertificateBuilder, common_name, rsa_key};
use crate::verify::{Places, observe};
use rules::verify::observed::{Observed, Seen};

fn places() -> Places {
    let data = PathBuf::from("/var/lib/ganeti");
    Places {
        server_pem: data.join("server.pem"),
        map: data.join("ssconf_master_candidates_certs"),
        data,
    }
}

/// Runs the script on a tree.
fn tell(root: &Path) -> String {
    let mut sh = Command::new("sh")
        .args(["-s", "--"])
        .arg(root)
        .args(["/var/lib/ganeti", "/var/lib/ganeti/server.pem"])
        .arg("/var/lib/ganeti/ssconf_master_candidates_certs")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    sh.stdin
        .take()
        .unwrap()
        .write_all(SCRIPT.as_bytes())
        .unwrap();
    let said = sh.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(said.stdout).unwrap()
}

fn put(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn keygen(root: &Path, name: &str, options: &[&str]) {
    fs::create_dir_all(root.join("root/.ssh")).unwrap();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-C", "root@n3", "-f"])
        .arg(root.join("root/.ssh").join(name))
        .args(options)
        .status();
    assert!(made.unwrap().success());
}

/// Key and certificate for this name; the key first, as Ganeti writes them.
fn pem(name: &str) -> String {
    let key = rsa_key(2048).unwrap();
    let minted = CertificateBuilder::new(common_name(name).unwrap(), key).mint();
    String::from_utf8(minted.unwrap().pem().unwrap()).unwrap()
}

/// A node with everything that the script looks at.
fn node() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (server, client) = (pem("ganeti.example.com"), pem("n3"));
    let rapi = pem("ganeti.example.com");
    for (name, content) in [
        ("server.pem", server.as_str()),
        ("client.pem", &client),
        ("client.pem.backup-1", &client),
        ("hmac.key", "secret-hmac"),
        ("config.data.backup-1", "secret-backup"),
        ("rapi.pem", &rapi),
        ("spice.pem", &rapi),
        (
            "spice-ca.pem",
            &rapi[rapi.find("-----BEGIN CERT").unwrap()..],
        ),
        ("locks.data", "secret-locks"),
        ("tempres.data", "secret-reservations"),
        ("ssconf_node_list", "n1\nn2\nn3\n"),
        ("ssconf_master_candidates", "n1\nn2\n"),
        ("ssconf_offline_nodes", "\n"),
        ("ssconf_master_node", "n1\n"),
        (
            "ssconf_master_candidates_certs",
            "u=AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA\n",
        ),
        (
            "rapi/users",
            "# c secret-comment write\nu secret-password write\nv {HA1}secret-hash read,write x\nw secret-2 read\n",
        ),
    ] {
        put(root, &format!("var/lib/ganeti/{name}"), content);
    }
    keygen(root, "id_rsa", &["-t", "rsa", "-N", ""]);
    keygen(root, "id_ecdsa", &["-t", "ecdsa", "-m", "PEM", "-N", ""]);
    let public = fs::read_to_string(root.join("root/.ssh/id_rsa.pub")).unwrap();
    put(
        root,
        "root/.ssh/authorized_keys",
        format!("# me\nno-pty {public}bad line\n"),
    );
    put(root, "root/.ssh/known_hosts", format!("n1 {public}"));
    put(
        root,
        "var/lib/ganeti/ganeti_pub_keys",
        format!("uuid-3 {public}\n"),
    );
    put(
        root,
        "etc/passwd",
        "root:secret-shadow:0:0:root:/root:/bin/sh\ngnt-x:x:7:7::/:\n",
    );
    put(root, "etc/group", "root:x:0:\n");
    put(
        root,
        "etc/ssh/sshd_config",
        "AuthorizedKeysFile /elsewhere/%u\n",
    );
    put(
        root,
        "etc/ssh/sshd_config.d/a.conf",
        "AuthorizedKeysCommand /bin/x\n",
    );
    put(root, "etc/ganeti/hooks/cluster-verify-post.d/hook", "");
    put(root, "usr/local/etc/ganeti/hooks/node-add-post.d/hook", "");
    put(root, "etc/noded-proxy/noded-proxy.toml", "");
    put(root, "etc/ssh/ssh_host_rsa_key", "secret-host-key");
    put(root, "etc/ssh/ssh_host_rsa_key.pub", "secret-host");
    put(root, "run/ganeti/crypto/x509-1/key", "secret-move");
    put(
        root,
        "run/ganeti/import-export/export-x/status",
        "secret-status",
    );
    dir
}

fn seen(reading: &dyn Reading) -> Observed {
    let mut seen = observe(reading, &places(), Some("n3"), 7);
    for file in &mut seen.files {
        // Whoever recorded a tree counts as root.
        (file.owner.trusted, file.group.trusted) = (true, true);
    }
    seen
}

#[test]
fn what_is_told_is_what_is_seen_there_and_no_secret_is_sent() {
    let dir = node();
    let said = tell(dir.path());
    let told = Told::parse(said.as_bytes()).unwrap();
    assert!(told.unseen().is_empty(), "{:?}", told.unseen());
    let (told, looked) = (seen(&told), seen(&Tree::recorded(dir.path()).unwrap()));
    assert_eq!(told, looked);
    let services = looked.certificates.services.iter();
    let services: Vec<bool> = services
        .map(|pem| pem.certificate.good().is_some() && pem.key_fault.is_none())
        .collect();
    assert_eq!(services, [true; 3]);
    let has = |path: &str| looked.files.iter().any(|file| file.path == path);
    for path in [
        "/etc/ssh/ssh_host_rsa_key",
        "/var/lib/ganeti/locks.data",
        "/var/lib/ganeti/tempres.data",
        "/run/ganeti/import-export/export-x",
        "/usr/local/etc/ganeti/hooks/node-add-post.d/hook",
    ] {
        assert!(has(path), "{path}");
    }
    let sent: Vec<u8> = said
        .lines()
        .filter_map(|line| line.split(' ').nth(2).and_then(from_base64))
        .flatten()
        .collect();
    let sent = String::from_utf8_lossy(&sent);
    assert!(sent.contains("BEGIN CERTIFICATE") && sent.contains("BEGIN PUBLIC KEY"));
    for secret in ["secret", "PRIVATE"] {
        assert!(!sent.contains(secret), "{secret}: {sent}");
    }
}

#[test]
fn faults_of_keys_and_links_are_told_too() {
    let dir = node();
    let root = dir.path();
    let data = root.join("var/lib/ganeti");
    let certificate = |text: &str| text[text.find("-----BEGIN CERT").unwrap()..].to_owned();
    let key = |text: &str| text[..text.find("-----BEGIN CERT").unwrap()].to_owned();
    let (own, other) = (pem("n3"), pem("n1"));
    for (name, content) in [
        ("client.pem", key(&other) + &certificate(&own)),
        ("client.pem.backup-2", certificate(&own)),
        (
            "client.pem.backup-3",
            "-----BEGIN CERTIFICATE-----\nAA\n".to_owned() + &key(&own),
        ),
        (
            "client.pem.backup-4",
            "-----BEGIN CERTIFICATE-----\nAA\n-----END".to_owned(),
        ),
    ] {
        fs::write(data.join(name), content).unwrap();
    }
    fs::write(
        root.join("root/.ssh/half"),
        "-----BEGIN RSA PRIVATE KEY-----\nsecret\n",
    )
    .unwrap();
    fs::create_dir(root.join("root/.ssh/directory")).unwrap();
    std::os::unix::fs::symlink("id_rsa", root.join("root/.ssh/link")).unwrap();
    let said = tell(root);
    let told = seen(&Told::parse(said.as_bytes()).unwrap());
    let looked = seen(&Tree::recorded(root).unwrap());
    assert_eq!(told.certificates.client, looked.certificates.client);
    assert!(told.certificates.client.key_fault.is_some());
    for (told, looked) in told
        .certificates
        .client_backups
        .iter()
        .zip(&looked.certificates.client_backups)
    {
        let (told, looked) = (
            (told, told.certificate.good()),
            (looked, looked.certificate.good()),
        );
        assert_eq!((told.1, &told.0.key_fault), (looked.1, &looked.0.key_fault));
    }
    let names = |seen: &Observed| -> Vec<(String, bool)> {
        let files = seen.ssh.key_files.iter();
        files
            .map(|file| (file.name.clone(), matches!(file.key, Seen::Faulty(_))))
            .collect()
    };
    assert_eq!(names(&told), names(&looked));
    assert!(names(&told).contains(&("half".into(), true)));
    let secret = key(&own).lines().nth(3).unwrap().to_owned();
    let sent: Vec<u8> = said
        .lines()
        .filter_map(|line| line.split(' ').nth(2).and_then(from_base64))
        .flatten()
        .collect();
    assert!(!String::from_utf8_lossy(&sent).contains(&secret));
}

#[test]
fn answers_that_are_not_taken_as_a_table() {
    let whole = |line: &str| format!("motd\n{BEGIN}\n{line}\n{END}\n");
    let good = "e /root/.ssh 700 0 0 5";
    assert!(Told::parse(whole(good).as_bytes()).is_ok());
    for (text, why) in [
        (String::new(), "begin"),
        (format!("{BEGIN}\n{good}\n"), "no end"),
        (whole(good) + "more\n", "goes on"),
        (whole("e root 700 0 0 5"), "no meaning"),
        (whole("e /a/../etc 700 0 0 5"), "no meaning"),
        (whole("e /a//b 700 0 0 5"), "no meaning"),
        (whole("e /a\u{1b}b 700 0 0 5"), "no meaning"),
        (whole("e /a 99 0 0 5"), "no meaning"),
        (whole("e /a 17777 0 0 5"), "no meaning"),
        (whole("e /a 700 0 0 5 5"), "no meaning"),
        (whole("c /a $"), "no meaning"),
        (whole("k /a more"), "no meaning"),
        (whole("u everything"), "no meaning"),
        (whole("z /a"), "no meaning"),
        (whole(""), "no meaning"),
        (whole(&format!("x /{}", "a".repeat(600))), "no meaning"),
    ] {
        let refused = Told::parse(text.as_bytes()).unwrap_err();
        assert!(refused.contains(why), "{text}: {refused}");
    }
    let many: String = (0..=MOST).map(|at| format!("x /{at}\n")).collect();
    let refused = Told::parse(whole(&many).as_bytes()).unwrap_err();
    assert!(refused.contains("more than 20000 files"), "{refused}");
}

#[test]
fn without_openssl_nobody_says_that_a_key_does_not_fit() {
    let certificate = pem("n3");
    let certificate = &certificate[certificate.find("-----BEGIN CERT").unwrap()..];
    let base64 = openssl::base64::encode_block(certificate.as_bytes());
    let path = "/var/lib/ganeti/client.pem";
    let text = format!("{BEGIN}\nc {path} {base64}\nu openssl\n{END}\n");
    let told = Told::parse(text.as_bytes()).unwrap();
    assert_eq!(told.unseen(), ["whether keys fit their certificates"]);
    assert_eq!(seen(&told).certificates.client.key_fault, None);
    let text = text.replace("u openssl", &format!("k {path}"));
    let told = Told::parse(text.as_bytes()).unwrap();
    assert!(seen(&told).certificates.client.key_fault.is_some());
}

proptest! {
    #[test]
    fn no_text_panics(lines in proptest::collection::vec("[ecpkxu] /[a-z./]{0,9}[ 0-9A-Za-z=]{0,12}", 0..20), bytes in any::<Vec<u8>>()) {
        let text = format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"));
        for text in [text.as_bytes(), &bytes] {
            if let Ok(told) = Told::parse(text) {
                seen(&told);
            }
        }
    }
}
