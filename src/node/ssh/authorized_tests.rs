//! Lines as sshd reads them.

use super::*;
use proptest::prelude::*;

/// Public keys, made with `ssh-keygen`; nobody has the other halves.
pub(in super::super) const RSA: &str = "ssh-rsa \
     AAAAB3NzaC1yc2EAAAADAQABAAAAgQDjbXQbmItjA7yZc163ACc6YPrevy7msROa/DCYj6LT6iuQ\
     yHh7ImWAByqODP8agFUdB29Jpnsg/lxIDSZPdwd/2ns51qjeT5MpLoftS1PI1g0x9Qp+cHX5Li3C\
     8psIslkojK3GVRh5w5v63k/winbFyZ67BJhUmtWW3JJOu3MqSw==";
pub(in super::super) const ED25519: &str = "ssh-ed25519 \
     AAAAC3NzaC1lZDI1NTE5AAAAIJsJnPR3kMxRMvc4p5qd3g3ZQXw3XTYT4E5mmeX15oED";
const ECDSA: &str = "ecdsa-sha2-nistp256 \
     AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBP8xx6k9n9ZaRI7WNHwY8xZW\
     tz16nEuiQ99pTrTQoCYd91kWYOnzluihG5WQN3KBXVEPWpamRK6S1y51fRu12Rc=";

const DSA: &str = "ssh-dss \
     AAAAB3NzaC1kc3MAAACBAM6MLdi4V0Ce6DpH+SSbZwyfeNsnYjrJwujT8qriCN3aG+hkAqmSwdGf\
     O/0I2Sh5bUKSNFDG7wJyh0B8ERtAOTy4IEa3tC5rujZbqSXxrFFMZ0NJG+X3k8rqj2LCkg8FTpov\
     QHaXl7G/7l8H/MdOYaPxUx9LNwZItuprac8/M3xXAAAAFQCFBQBwbMNah58k2rScTVvKhqsjxQAA\
     AIBfNSlSR6an2PTax6zhogq/t2YvtsqMbx1H9eUSIeUbI0zlMKuWMupJgJsO/J0+jZ9OjxZg1gIh\
     UIEHXgN5/w1jp7KwtdsU0SRYAnmdf5icGvh/qkR0PaP3tK4kDzw3rcZOd/pYri7znj+U0MB4XElT\
     vreZqfkSRpBKpqBrOt1QrwAAAIBz86HyMecTmkPoSUdd2HhGZbIl3fZry1seCEexnYUVqMqhnGuL\
     2yxDHKPnBDMyd1scjw02izM3rVECV6z0PktDAAMZnVEuLg15++rgfU3vbcUz7ZtGBVlRaADq3DAb\
     L9BOciiGiL79Vit6YpQBuZCVzb27v4n4pySRcuSaF7FAtw==";

/// What `ssh-keygen -l` says of them.
const OF_RSA: &str = "SHA256:xdAtKdNtQaEDjZIOCriNF5mHvxV15n9kRZM+Vte/5aw";
const OF_ED25519: &str = "SHA256:7xt7vNEJewwetNTMFdhweSlfnx6kuYSbFFvDIIaeoSw";

fn read(line: &str) -> Result<(Vec<String>, PublicKey), &'static str> {
    one(line)
}

#[test]
fn a_key_alone_has_its_fingerprint_and_comment() {
    let (options, key) = read(&format!("{RSA} root@n1 # not a comment of the file")).unwrap();
    assert!(options.is_empty());
    assert_eq!(
        (key.kind.as_str(), key.fingerprint.as_str()),
        ("ssh-rsa", OF_RSA)
    );
    assert_eq!(key.comment, "root@n1 # not a comment of the file");
    let (_, key) = read(ED25519).unwrap();
    assert_eq!(
        (key.fingerprint.as_str(), key.comment.as_str()),
        (OF_ED25519, "")
    );
    assert_eq!(read(DSA).unwrap().1.kind, "ssh-dss");
    assert_eq!(read(ECDSA).unwrap().1.kind, "ecdsa-sha2-nistp256");
}

#[test]
fn options_as_a_table() {
    let table: [(&str, &[&str]); 7] = [
        ("restrict", &["restrict"]),
        ("no-pty,cert-authority", &["no-pty", "cert-authority"]),
        ("from=\"a b,c\",no-pty", &["from=\"a b,c\"", "no-pty"]),
        (
            "command=\"echo \\\"#\\\" x\"",
            &["command=\"echo \\\"#\\\" x\""],
        ),
        ("command=\"ssh-rsa AAAA\"", &["command=\"ssh-rsa AAAA\""]),
        ("command=\"tab\there\"", &["command=\"tab\there\""]),
        ("environment=\"A=\\\\\"", &["environment=\"A=\\\\\""]),
    ];
    for (options, expected) in table {
        for blank in [" ", "\t", "  \t "] {
            let found = read(&format!("{options}{blank}{RSA} c"));
            if options.contains("\\\\") {
                // sshd takes \" for no end of the option, whatever stands before it.
                assert_eq!(found, Err("a quotation mark is not closed"), "{options}");
                continue;
            }
            let (found, key) = found.unwrap();
            assert_eq!(found, expected, "{options}");
            assert_eq!(key.fingerprint, OF_RSA, "{options}");
        }
    }
}

#[test]
fn what_is_no_key_is_a_bad_line() {
    let (kind, blob) = RSA.split_once(' ').unwrap();
    let other_kind = format!("ssh-ed25519 {blob}");
    let cut = format!("{kind} {}", &blob[..blob.len() - 8]);
    for line in [
        "ssh-rsa",
        "ssh-rsa AAAA",
        "restrict",
        "from=\"open ssh-rsa AAAA",
        &other_kind,
        &cut,
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}

#[test]
fn a_file_has_numbers_of_lines_and_every_line_counts() {
    let text = format!("# comment\n\n  {RSA} a\r\nodd line\n\trestrict {ED25519}\n#{RSA}\n");
    let lines = parse(text.as_bytes());
    let found: Vec<(usize, usize)> = lines
        .keys
        .iter()
        .map(|one| (one.line, one.options.len()))
        .collect();
    assert_eq!(found, [(3, 0), (5, 1)]);
    assert_eq!(lines.keys[0].key.comment, "a");
    assert_eq!(lines.bad_lines.len(), 1);
    assert_eq!(lines.bad_lines[0].line, 4);
    let many = "x\n".repeat(1000);
    assert_eq!(parse(many.as_bytes()).bad_lines.len(), MOST_BAD_LINES);
}

/// All of sshd(8), "AUTHORIZED_KEYS FILE FORMAT" (OpenSSH 9.2); those with `=` have a value.
const OPTIONS: [&str; 22] = [
    "agent-forwarding",
    "cert-authority",
    "command=",
    "environment=",
    "expiry-time=",
    "from=",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-X11-forwarding",
    "permitlisten=",
    "permitopen=",
    "port-forwarding",
    "principals=",
    "pty",
    "restrict",
    "tunnel=",
    "user-rc",
    "verify-required",
    "X11-forwarding",
];

proptest! {
    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
        parse(&bytes);
    }

    #[test]
    fn no_options_hide_a_key(
        names in prop::collection::vec(prop::sample::select(&OPTIONS[..]), 1..9),
        value in "[ -!#-\\[\\]-~]{0,30}",
        comment in "[ -~]{0,30}",
    ) {
        let said = |name: &str| match name.strip_suffix('=') {
            Some(_) => format!("{name}\"{value}\""),
            None => name.to_owned(),
        };
        let options: Vec<String> = names.into_iter().map(said).collect();
        let line = format!("{} {RSA} {comment}", options.join(","));
        let (found, key) = read(&line).unwrap();
        prop_assert_eq!(found, options);
        prop_assert_eq!(key.fingerprint.as_str(), OF_RSA);
        prop_assert_eq!(key.comment.as_str(), comment.trim());
    }
}
