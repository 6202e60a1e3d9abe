//! `ganeti_pub_keys`: the SSH keys of all nodes that can be candidates, `UUID TYPE KEY [COMMENT]` on
//! each line. Blank lines are skipped: after a renewal Ganeti leaves one. Nothing here judges.

use rules::verify::observed::{BadLine, PubKeys};

use super::MOST_BAD_LINES;
use super::keys::public;

/// Reads all lines. Never panics, whatever the bytes.
pub fn parse(content: &[u8]) -> PubKeys {
    let text = String::from_utf8_lossy(content);
    let mut read = PubKeys::default();
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let Some(uuid) = words.next() else { continue };
        let key = words.next().zip(words.next());
        let comment: Vec<&str> = words.collect();
        match key.and_then(|(kind, blob)| public(kind, blob, &comment.join(" "))) {
            Some(key) => read.keys.push((uuid.to_owned(), key)),
            None if read.bad_lines.len() < MOST_BAD_LINES => read.bad_lines.push(BadLine {
                line: at + 1,
                why: "expected UUID TYPE KEY".into(),
            }),
            None => {}
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::super::authorized::tests::{ED25519, RSA};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_have_their_uuid_and_blank_lines_say_nothing() {
        let text = format!("uuid-1 {RSA} root@n1\nuuid-1 {ED25519}\n\nuuid-2 ssh-rsa AAAA\nx\n");
        let read = parse(text.as_bytes());
        let uuids: Vec<&str> = read.keys.iter().map(|(uuid, _)| uuid.as_str()).collect();
        assert_eq!(uuids, ["uuid-1", "uuid-1"]);
        assert_eq!(read.keys[0].1.comment, "root@n1");
        let bad: Vec<usize> = read.bad_lines.iter().map(|bad| bad.line).collect();
        assert_eq!(bad, [4, 5]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            parse(&bytes);
        }
    }
}
