//! One key: the public one of a line, and the public half of a private one. It never keeps a
//! private half.

use rules::verify::observed::PublicKey;
use ssh_key::{HashAlg, PrivateKey, PublicKey as Key};

/// What a file in root's directory of keys holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    /// No key.
    Nothing,
    /// A public key.
    Public(PublicKey),
    /// A private key with this public half.
    Private(PublicKey),
    /// A private key in the form of OpenSSL (PEM), which this room cannot read.
    Pem,
    /// A private key whose public half cannot be read, and why.
    Unreadable(String),
}

/// A public key of its two words, as they stand in a line.
pub fn public(kind: &str, blob: &str, comment: &str) -> Option<PublicKey> {
    let key = Key::from_openssh(&format!("{kind} {blob}")).ok()?;
    Some(told(&key, comment))
}

/// A public key in its binary form (RFC 4253, 6.6).
pub fn of_blob(blob: &[u8]) -> Option<PublicKey> {
    Key::from_bytes(blob).ok().map(|key| told(&key, ""))
}

/// What the content of a file is.
pub fn held(content: &[u8]) -> Held {
    let text = String::from_utf8_lossy(content);
    let mut begins = text.lines().filter(|line| line.contains("-----BEGIN "));
    let is = |line: &&str| line.contains("PRIVATE KEY-----");
    match begins.find(is) {
        Some(line) if line.contains("OPENSSH") => match PrivateKey::from_openssh(content) {
            Ok(key) => Held::Private(told(key.public_key(), "")),
            Err(error) => Held::Unreadable(error.to_string()),
        },
        Some(_) => Held::Pem,
        None => {
            let mut lines = text.lines().filter_map(of_line);
            lines.next().map_or(Held::Nothing, Held::Public)
        }
    }
}

fn of_line(line: &str) -> Option<PublicKey> {
    let mut words = line.trim().splitn(3, [' ', '\t']);
    let (kind, blob) = (words.next()?, words.next()?);
    public(kind, blob, words.next().unwrap_or_default())
}

fn told(key: &Key, comment: &str) -> PublicKey {
    PublicKey {
        kind: key.algorithm().as_str().to_owned(),
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        comment: comment.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// Makes a pair; returns the private file, the public one, and the fingerprint of both.
    fn pair(dir: &tempfile::TempDir, name: &str, options: &[&str]) -> (Vec<u8>, Vec<u8>, String) {
        let path = dir.path().join(name);
        let run = |arguments: &[&str]| {
            let file = path.to_str().unwrap();
            let run = Command::new("ssh-keygen")
                .args(arguments)
                .args(["-f", file])
                .output();
            let run = run.unwrap();
            assert!(run.status.success(), "{arguments:?}: {run:?}");
            String::from_utf8(run.stdout).unwrap()
        };
        run(&[&["-q", "-C", "root@n1"], options].concat());
        let public = std::fs::read(path.with_extension("pub")).unwrap();
        let shown = run(&["-l"]);
        let fingerprint = shown.split(' ').nth(1).unwrap().to_owned();
        (std::fs::read(&path).unwrap(), public, fingerprint)
    }

    #[test]
    fn both_halves_of_a_pair_have_the_fingerprint_that_ssh_keygen_shows() {
        let dir = tempfile::tempdir().unwrap();
        for (name, options) in [
            ("rsa", ["-t", "rsa", "-N", ""]),
            ("ecdsa", ["-t", "ecdsa", "-N", ""]),
            ("ed25519", ["-t", "ed25519", "-N", ""]),
            ("encrypted", ["-t", "rsa", "-N", "a secret"]),
        ] {
            let (private, public, fingerprint) = pair(&dir, name, &options);
            let Held::Private(half) = held(&private) else {
                panic!("{name}: {:?}", held(&private));
            };
            assert_eq!(half.fingerprint, fingerprint, "{name}");
            let Held::Public(half) = held(&public) else {
                panic!("{name}");
            };
            assert_eq!(half.fingerprint, fingerprint, "{name}");
            assert_eq!(half.comment, "root@n1");
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (pem, _, _) = pair(&dir, "pem", &["-t", "rsa", "-m", "PEM", "-N", ""]);
        assert_eq!(held(&pem), Held::Pem);
        let (whole, _, _) = pair(&dir, "rsa", &["-t", "rsa", "-N", ""]);
        let half = &whole[..whole.len() / 2];
        assert!(matches!(held(half), Held::Unreadable(_)));
        for nothing in [&b""[..], b"Host *\n", b"\xff\xfe", b"ssh-rsa"] {
            assert_eq!(held(nothing), Held::Nothing, "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = (held(&bytes), of_blob(&bytes));
            let armoured = [&b"-----BEGIN OPENSSH PRIVATE KEY-----\n"[..], &bytes].concat();
            held(&armoured);
        }
    }
}
