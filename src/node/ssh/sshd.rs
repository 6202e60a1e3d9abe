//! What `sshd_config` says of further authorized keys. Only the keywords that matter are read, in
//! the file and in its usual directory; `Match` blocks count as if they applied.

/// Keywords that name files, and what they are by default or for Ganeti.
const USUAL: [&str; 5] = [
    ".ssh/authorized_keys",
    ".ssh/authorized_keys2",
    "%h/.ssh/authorized_keys",
    "%h/.ssh/authorized_keys2",
    "none",
];

/// The settings that authorize keys elsewhere than in root's usual files, each as it stands there.
pub fn elsewhere(content: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    text.lines().filter_map(setting).collect()
}

fn setting(line: &str) -> Option<String> {
    let line = line.trim();
    let (keyword, value) = line.split_once([' ', '\t', '='])?;
    let value = value.trim_start_matches([' ', '\t', '=']);
    let others = |home: &str| {
        let files = value.split_whitespace().map(|file| file.trim_matches('"'));
        let mut others = files.filter(|file| {
            let usual = USUAL.iter().any(|name| file.eq_ignore_ascii_case(name));
            !usual && !file.starts_with(home)
        });
        others.next().is_some()
    };
    let is_one = match keyword.to_ascii_lowercase().as_str() {
        "authorizedkeysfile" => others("/root/.ssh/authorized_keys"),
        "authorizedkeyscommand" | "trustedusercakeys" => others("\0"),
        _ => false,
    };
    is_one.then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_as_a_table() {
        for (line, told) in [
            (
                "AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2",
                false,
            ),
            ("authorizedkeysfile=%h/.ssh/authorized_keys", false),
            ("AuthorizedKeysFile /etc/ssh/keys/%u", true),
            (
                "\tAuthorizedKeysFile\t.ssh/authorized_keys /etc/ssh/keys/%u",
                true,
            ),
            ("AuthorizedKeysCommand none", false),
            (
                "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys",
                true,
            ),
            ("TrustedUserCAKeys /etc/ssh/ca.pub", true),
            ("#AuthorizedKeysFile /etc/ssh/keys/%u", false),
            ("PermitRootLogin yes", false),
            ("", false),
        ] {
            assert_eq!(setting(line).is_some(), told, "{line}");
        }
    }
}
