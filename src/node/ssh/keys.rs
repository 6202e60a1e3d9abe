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

/// The public half of an ECDSA key in OpenSSH's own form, decoded (`PROTOCOL.key`). The crate wants a
/// private number of full length, but OpenSSH leaves out the zeros in front: one key of 512 has them
/// on the curve P-256, one of four on P-521. As ssh does, it refuses a file whose halves differ.
pub fn ecdsa_half(key: &[u8]) -> Option<PublicKey> {
    let (cipher, rest) = string(key.strip_prefix(b"openssh-key-v1\0")?)?;
    let (_, rest) = string(rest)?; // how the passphrase becomes a key
    let (_, rest) = string(rest)?;
    let (public, rest) = string(rest.strip_prefix(&1_u32.to_be_bytes())?)?;
    let (private, _) = string(rest)?;
    // Two equal numbers, then both halves, unless it is encrypted.
    let is_same = private.get(8..)?.starts_with(public);
    let found = of_blob(public).filter(|found| found.kind.starts_with("ecdsa-"));
    found.filter(|_| is_same && cipher == b"none")
}

/// Bytes with their length before them, and the rest.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)
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

    /// On P-256 one key of 512 has a private number that is shorter, on P-521 one of four.
    #[test]
    fn ecdsa_keys_of_every_length_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut short = 0;
        for (bits, many) in [("256", 200), ("384", 50), ("521", 100)] {
            for at in 0..many {
                let name = format!("{bits}-{at}");
                let options = ["-t", "ecdsa", "-b", bits, "-N", ""];
                let (private, public, _) = pair(&dir, &name, &options);
                let Held::Public(public) = held(&public) else {
                    panic!("{name}");
                };
                let half = match held(&private) {
                    Held::Private(half) => half,
                    other => {
                        short += 1;
                        let half = ecdsa_half(&binary(&private));
                        half.unwrap_or_else(|| panic!("{name}: {other:?}"))
                    }
                };
                assert_eq!(half.fingerprint, public.fingerprint, "{name}");
            }
        }
        assert!(short > 0, "the crate reads them all: is this still needed?");
    }

    fn binary(private: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(private.to_vec()).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        openssl::base64::decode_block(&body).unwrap()
    }

    #[test]
    fn halves_that_differ_are_refused_and_so_is_what_is_encrypted() {
        let dir = tempfile::tempdir().unwrap();
        let options = ["-t", "ecdsa", "-N", ""];
        let [one, other] = ["one", "other"].map(|name| binary(&pair(&dir, name, &options).0));
        assert!(ecdsa_half(&one).is_some());
        // Magic, "none", "none", "", 1; then the public half with its length.
        let head = 15 + 8 + 8 + 4 + 4;
        let end = head + 4 + 104;
        let mixed = [&one[..head], &other[head..end], &one[end..]].concat();
        assert_eq!(ecdsa_half(&mixed), None);
        let (locked, _, _) = pair(&dir, "locked", &["-t", "ecdsa", "-N", "a secret"]);
        assert_eq!(ecdsa_half(&binary(&locked)), None);
        assert!(matches!(held(&locked), Held::Private(_)));
        for cut in 0..one.len() {
            let _ = ecdsa_half(&one[..cut]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = (held(&bytes), of_blob(&bytes), ecdsa_half(&bytes));
            ecdsa_half(&[b"openssh-key-v1\0", &bytes[..]].concat());
            let armoured = [&b"-----BEGIN OPENSSH PRIVATE KEY-----\n"[..], &bytes].concat();
            held(&armoured);
        }
    }
}
