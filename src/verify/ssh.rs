//! Root's SSH keys and who may log in, to plain values. No private half leaves this file.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::look::Look;
use super::places::Places;
use crate::node::reading::Half;
use crate::node::ssh::keys::{Held, ecdsa_half, held, of_blob};
use crate::node::ssh::{authorized, pub_keys, sshd};
use crate::tls::{from_base64, ssh_public};
use rules::ssh_keys::pairs::List;
use rules::verify::observed::{AuthorizedFile, KeyFile, PublicKey, Seen, Ssh};

/// Largest file of authorized or public keys that is read: some thousand keys.
const MOST: usize = 4 << 20;
/// Largest file with one key, or of sshd, that is read.
const MOST_KEY: usize = 64 << 10;
/// Files of root's directory that are read.
const MOST_FILES: usize = 1000;
/// Where `ssh-keys` keeps who has which pair.
const PAIRS: &str = "/var/lib/noded-proxy-ssh-keys/pairs";
/// What sshd reads by default.
const AUTHORIZED: [&str; 2] = ["authorized_keys", "authorized_keys2"];

/// All that is known of root's keys.
pub(super) fn read(look: &Look<'_>, places: &Places) -> Ssh {
    let directory = home(look).join(".ssh");
    let known = |text: &[u8]| Ok(pub_keys::parse(text));
    Ssh {
        pub_keys: look.parsed(&places.data.join("ganeti_pub_keys"), MOST, known),
        pairs: look.parsed(Path::new(PAIRS), MOST, pairs),
        authorized: AUTHORIZED
            .map(|name| authorized_file(look, &directory.join(name)))
            .into(),
        key_files: key_files(look, &directory),
        elsewhere: elsewhere(look),
        directory: directory.display().to_string(),
    }
}

/// What this node was told of all pairs.
fn pairs(text: &[u8]) -> Result<List, String> {
    let list: List = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match list.fault() {
        None => Ok(list),
        Some(fault) => Err(fault.into()),
    }
}

/// Root's home by `/etc/passwd`.
fn home(look: &Look<'_>) -> PathBuf {
    let content = look.bytes(Path::new("/etc/passwd"), MOST);
    let text = content
        .good()
        .map(|text| String::from_utf8_lossy(text).into_owned());
    let text = text.unwrap_or_default();
    let root = text.lines().find(|line| line.starts_with("root:"));
    let home = root.and_then(|line| line.split(':').nth(5));
    home.filter(|home| home.starts_with('/'))
        .unwrap_or("/root")
        .into()
}

fn authorized_file(look: &Look<'_>, path: &Path) -> AuthorizedFile {
    AuthorizedFile {
        path: path.display().to_string(),
        lines: look.parsed(path, MOST, |text| Ok(authorized::parse(text))),
    }
}

/// Every file of the directory that holds a key, whatever it is called.
fn key_files(look: &Look<'_>, directory: &Path) -> Vec<KeyFile> {
    let names = look.names(directory).into_iter();
    let others = names.filter(|name| !AUTHORIZED.contains(&name.as_str()));
    let found = others.take(MOST_FILES).filter_map(|name| {
        let path = directory.join(&name);
        let content = look.bytes(&path, MOST_KEY);
        let (private, key) = match look.tree.half(&path) {
            Some(half) => (true, told(half)),
            None => match held(content.good()?) {
                Held::Nothing => return None,
                Held::Public(key) => (false, Seen::Good(key)),
                Held::Private(key) => (true, Seen::Good(key)),
                Held::Unreadable(why) => {
                    let short = short(content.good()?);
                    (true, short.map_or(Seen::Faulty(why), Seen::Good))
                }
                Held::Pem => (true, pem(content.good()?)),
            },
        };
        Some(KeyFile {
            of_root: of_root(look, &path),
            path: path.display().to_string(),
            name,
            private,
            key,
        })
    });
    found.collect()
}

fn of_root(look: &Look<'_>, path: &Path) -> bool {
    let recorder = look.tree.recorder().map(|(uid, _)| uid);
    let about = look.tree.about(path);
    about.is_some_and(|about| about.uid == 0 || Some(about.uid) == recorder)
}

/// One that the crate does not read, since its private number has zeros in front.
fn short(content: &[u8]) -> Option<PublicKey> {
    let text = std::str::from_utf8(content).ok()?;
    let (_, body) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let (body, _) = body.split_once("-----END OPENSSH PRIVATE KEY-----")?;
    let body = Zeroizing::new(body.split_whitespace().collect::<String>());
    ecdsa_half(&Zeroizing::new(from_base64(&body)?))
}

fn pem(content: &[u8]) -> Seen<PublicKey> {
    let key = ssh_public(content).and_then(|blob| of_blob(&blob).ok_or("an odd key"));
    match key {
        Ok(key) => Seen::Good(key),
        Err(why) => Seen::Faulty(why.into()),
    }
}

/// A private key of which a node has told the public half.
fn told(half: &Half) -> Seen<PublicKey> {
    const NOT_READ: &str = "its public half cannot be read";
    match half {
        Half::Public(line) => match held(line) {
            Held::Public(key) => Seen::Good(PublicKey {
                comment: String::new(), // some forms of private keys have one in them
                ..key
            }),
            _ => Seen::Faulty(NOT_READ.into()),
        },
        Half::Unreadable | Half::Unknown => Seen::Faulty(NOT_READ.into()),
    }
}

/// What sshd is told of further keys, in its file and its directory.
fn elsewhere(look: &Look<'_>) -> Vec<String> {
    let directory = Path::new("/etc/ssh/sshd_config.d");
    let names = look.names(directory).into_iter();
    let more = names.filter(|name| name.ends_with(".conf"));
    let more = more.take(MOST_FILES).map(|name| directory.join(name));
    let files = [PathBuf::from("/etc/ssh/sshd_config")]
        .into_iter()
        .chain(more);
    let told = files.flat_map(|path| {
        let content = look.bytes(&path, MOST_KEY);
        content
            .good()
            .map_or_else(Vec::new, |text| sshd::elsewhere(text))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn an_ecdsa_key_with_zeros_in_front_is_read_like_any() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let make = || {
            let _ = std::fs::remove_file(&path);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ecdsa", "-b", "521", "-N", "", "-f"])
                .arg(&path)
                .status();
            assert!(made.unwrap().success());
            std::fs::read(&path).unwrap()
        };
        // One of four is such a key.
        let mut keys = std::iter::repeat_with(make);
        let odd = keys.find(|key| matches!(held(key), Held::Unreadable(_)));
        let public = std::fs::read(path.with_extension("pub")).unwrap();
        let Held::Public(public) = held(&public) else {
            panic!("no public key");
        };
        let odd = odd.unwrap();
        assert_eq!(short(&odd).unwrap().fingerprint, public.fingerprint);
        assert_eq!(short(&odd[..odd.len() / 2]), None);
        assert_eq!(short(b"\xff"), None);
    }
}
