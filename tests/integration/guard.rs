//! The firewall rule that closes noded's loopback port to local users, with the real nft.

use std::process::Command;

/// What each of the script's four parts must say.
fn expected(part: &str) -> String {
    let guarded = matches!(part, "guarded" | "after a flush");
    let mut lines = format!("{part}:\n");
    for address in ["127.0.0.1", "::1"] {
        for who in ["root", "proxy", "nobody", "12345"] {
            let open = !guarded || matches!(who, "root" | "proxy");
            let state = if open { "open" } else { "closed" };
            lines += &format!("{who} {address}: {state}\n");
        }
    }
    let state = if guarded { "closed" } else { "open" };
    lines + &format!("neighbour 192.0.2.1: {state}\n")
}

#[test]
fn only_root_and_the_proxy_reach_noded_while_the_guard_is_loaded() {
    let possible = Command::new("unshare")
        .args(["--net", "nft", "list", "ruleset"])
        .output();
    if !possible
        .as_ref()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("SKIPPED: the guard needs root, a network namespace and nft: {possible:?}");
        return;
    }
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("timeout")
        .args(["120", "unshare", "--net"])
        .arg(format!("{root}/tests/integration/guard.sh"))
        .arg(format!("{root}/systemd/noded-proxy-guard.service"))
        .arg(format!("{root}/systemd/noded-proxy-guard.nft"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let parts = ["without", "guarded", "after a flush", "stopped"];
    assert_eq!(said, parts.map(expected).concat(), "{errors}");
    assert!(output.status.success(), "{errors}");
}

/// The unit loads the file where the install texts put it, and has no way to be skipped in silence:
/// a missing file fails its check before nft starts.
#[test]
fn a_missing_rules_file_fails_the_unit() {
    let root = env!("CARGO_MANIFEST_DIR");
    let unit =
        std::fs::read_to_string(format!("{root}/systemd/noded-proxy-guard.service")).unwrap();
    let skips = |line: &&str| line.starts_with("Condition") || line.starts_with("ExecStartPre=-");
    assert_eq!(unit.lines().find(skips), None);
    let rules = "/etc/noded-proxy/noded-proxy-guard.nft";
    let check = format!("ExecStartPre=/usr/sbin/nft --check -f {rules}");
    assert!(unit.lines().any(|line| line == check), "{unit}");
    for text in ["README.md", "tests/e2e/run"] {
        let text = std::fs::read_to_string(format!("{root}/{text}")).unwrap();
        assert!(text.contains(rules), "{text}");
    }
    let absent = Command::new("nft")
        .args(["--check", "-f", "/nonexistent/noded-proxy-guard.nft"])
        .output();
    match absent {
        Ok(output) => assert!(!output.status.success()),
        Err(why) => eprintln!("SKIPPED: nft itself: {why}"),
    }
}
