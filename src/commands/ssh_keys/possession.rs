//! A node proves that it holds the private keys that it tells of: it signs what the master has made up
//! for this one look at this one node. `ssh-keygen` makes and checks the signatures; nothing here
//! reads a private key, and nothing is decided by it here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::here::Here;
use rules::ssh_keys::sight::{KeyFile, Sight};

/// What the signatures are for: they are good for nothing else.
const NAMESPACE: &str = "noded-proxy-ssh-keys";
/// Random bytes of a challenge.
const RANDOM: usize = 32;
/// Bytes of a challenge, and of a signature, that are taken.
const MOST_CHALLENGE: usize = 256;
const MOST_SIGNATURE: usize = 16 << 10;
/// Keys of one node that are signed with and checked.
const MOST_KEYS: usize = 64;

/// Something that no node has signed before.
pub(super) fn challenge(node: &str) -> Result<String, String> {
    let mut random = [0; RANDOM];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    read.map_err(|error| format!("/dev/urandom: {error}"))?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{node} {hex}"))
}

/// Those whose keys are asked for: all private ones, and first those by which something can be taken
/// away elsewhere.
fn asked(files: &mut [KeyFile]) -> Vec<&mut KeyFile> {
    let private = files.iter_mut().filter(|file| file.private);
    let mut asked: Vec<&mut KeyFile> = private.collect();
    asked.sort_by_key(|file| !file.is_backup() && !file.is_own());
    asked.truncate(MOST_KEYS);
    asked
}

/// The node signs with each of them.
pub(super) fn sign(here: &Here, sight: &mut Sight, challenge: &[u8]) {
    if challenge.is_empty() || challenge.len() > MOST_CHALLENGE {
        return;
    }
    let directory = Path::new(&here.seen.ssh.directory);
    for file in asked(&mut sight.files) {
        let Ok(real) = here.tree.real(&directory.join(&file.name)) else {
            continue;
        };
        let real = real.display().to_string();
        let signed = keygen(&["-Y", "sign", "-n", NAMESPACE, "-f", &real], challenge);
        file.signature = signed.filter(|text| text.len() <= MOST_SIGNATURE);
    }
}

/// The master notes which signatures are good. Without one a key is what the node says, and no more.
pub(super) fn check(sight: &mut Sight, challenge: &str) {
    for file in asked(&mut sight.files) {
        let signature = file.signature.take();
        let signature = signature.filter(|text| text.len() <= MOST_SIGNATURE);
        file.proven = signature.is_some_and(|text| is_by(&text, challenge, &file.key.to_string()));
    }
}

fn is_by(signature: &str, challenge: &str, key: &str) -> bool {
    let Ok(mut kept) = tempfile::NamedTempFile::new() else {
        return false;
    };
    if kept.write_all(signature.as_bytes()).is_err() {
        return false;
    }
    let path = kept.path().display().to_string();
    let arguments = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", &path];
    let said = keygen(&arguments, challenge.as_bytes());
    said.is_some_and(|said| said.split_whitespace().any(|word| word == key))
}

/// What it says, if it succeeds. It asks nobody for a passphrase, nor to touch a security key.
fn keygen(arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut keygen = Command::new("ssh-keygen")
        .args(arguments)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("SSH_ASKPASS", "/bin/false")
        .env("SSH_SK_PROVIDER", "/bin/false")
        .env("LC_ALL", "C")
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // It is short, so it fits into the pipe whatever the program does; and closed by the drop.
    let written = keygen.stdin.take()?.write_all(input);
    let ended = keygen.wait_with_output().ok()?;
    let is_good = written.is_ok() && ended.status.success();
    String::from_utf8(ended.stdout).ok().filter(|_| is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &tempfile::TempDir, options: &[&str]) -> (String, String) {
        let path = dir.path().join("key");
        let _ = std::fs::remove_file(&path);
        let file = path.display().to_string();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-f", &file])
            .args(options)
            .status();
        assert!(made.unwrap().success());
        let shown = keygen(&["-l", "-f", &file], b"").unwrap();
        (file, shown.split(' ').nth(1).unwrap().to_owned())
    }

    #[test]
    fn only_the_key_itself_signs_and_only_this_challenge() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (challenge("n1").unwrap(), challenge("n1").unwrap());
        assert!(one != two && one.len() < MOST_CHALLENGE);
        for kind in ["rsa", "ecdsa"] {
            let (file, key) = make(&dir, &["-t", kind, "-N", ""]);
            let sign = |name, text: &str| {
                keygen(&["-Y", "sign", "-n", name, "-f", &file], text.as_bytes())
            };
            let good = sign(NAMESPACE, &one).unwrap();
            assert!(is_by(&good, &one, &key), "{kind}");
            assert!(!is_by(&good, &two, &key), "another challenge");
            assert!(
                !is_by(&sign("file", &one).unwrap(), &one, &key),
                "for another purpose"
            );
            let (_, other) = make(&dir, &["-t", kind, "-N", ""]);
            assert!(!is_by(&good, &one, &other), "another key");
        }
        assert!(!is_by("nonsense", &one, "nonsense"));
        let (file, _) = make(&dir, &["-t", "rsa", "-N", "a secret"]);
        let signed = keygen(
            &["-Y", "sign", "-n", NAMESPACE, "-f", &file],
            one.as_bytes(),
        );
        assert_eq!(signed, None, "nobody is asked for a passphrase");
    }
}
