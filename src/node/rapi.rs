//! `rapi/users`: who may use the remote API, and whether the passwords can be read. No password is
//! ever kept.

use rules::verify::observed::RapiUser;

/// What stands in front of a hashed password (`lib/http/auth.py`).
const HASHED: &str = "{ha1}";

/// Reads the users of a file: `USER PASSWORD [OPTION,...]` on each line, `#` begins a comment.
pub fn users(text: &[u8]) -> Vec<RapiUser> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(user).collect()
}

fn user(line: &str) -> Option<RapiUser> {
    let mut words = line.split_whitespace();
    let name = words.next().filter(|name| !name.starts_with('#'))?;
    let password = words.next()?;
    let mut options = words.next().unwrap_or_default().split(',');
    Some(RapiUser {
        name: name.to_owned(),
        clear_text: !password.to_ascii_lowercase().starts_with(HASHED),
        write: options.any(|option| option.trim() == "write"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_as_a_table() {
        for (line, expected) in [
            ("u secret write", Some((true, true))),
            ("u secret read,write", Some((true, true))),
            ("u\tsecret", Some((true, false))),
            ("u {HA1}0123 write", Some((false, true))),
            ("u {ha1}0123 read", Some((false, false))),
            ("u {cleartext}x write", Some((true, true))),
            ("# u secret write", None),
            ("u", None),
            ("", None),
        ] {
            let found = user(line);
            let facts = found.as_ref().map(|user| (user.clear_text, user.write));
            assert_eq!(facts, expected, "{line}");
            assert!(!format!("{found:?}").contains("secret"), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            users(&bytes);
        }
    }
}
