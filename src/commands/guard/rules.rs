//! The guard's rules as text: which port they guard, and the form that this machine's nft can load.
//! Pure: it never runs nft.

/// The table that the rules are in.
pub(super) const TABLE: [&str; 2] = ["inet", "noded_proxy_guard"];

/// The port that the rules guard: `define noded_port = N`.
pub(super) fn port(rules: &str) -> Option<u16> {
    let defined = rules.lines().find_map(|line| {
        let line = line.trim().strip_prefix("define noded_port")?;
        line.trim_start().strip_prefix('=')
    })?;
    let number = defined.split('#').next()?.trim();
    number.parse().ok().filter(|port| *port != 0)
}

/// Whether nobody but the process that loads the rules can take them away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The table belongs to that process and goes with it (nft 1.0, Linux 5.12).
    Owned,
    /// The table stays until somebody deletes it, or flushes all rules.
    Plain,
}

/// What is loaded: these rules in the place of what is left from an earlier run.
pub(super) fn text(rules: &str, form: Form) -> String {
    let [family, name] = TABLE;
    let opening = format!("table {family} {name} {{");
    let mut text = format!("table {family} {name}\ndelete table {family} {name}\n");
    for line in rules.lines().filter(|line| line.trim() != "flags owner") {
        text += line;
        text.push('\n');
        if form == Form::Owned && line.trim() == opening {
            text += "\tflags owner\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../systemd/noded-proxy-guard.nft");

    #[test]
    fn the_port_is_read_off_the_rules() {
        let table = [
            ("define noded_port = 298\n", Some(298)),
            (
                "#define noded_port = 1\n define noded_port=298 # mine",
                Some(298),
            ),
            ("define noded_port = 0", None),
            ("define noded_port = { 1, 2 }", None),
            ("table inet noded_proxy_guard {}", None),
        ];
        for (rules, expected) in table {
            assert_eq!(port(rules), expected, "{rules}");
        }
    }

    /// Debian 11's nft 0.9.8 does not know `flags owner`.
    #[test]
    fn the_shipped_rules_have_an_owner_only_where_one_is_asked_for() {
        let flag = "\tflags owner\n";
        assert!(!SHIPPED.contains(flag));
        assert!(!text(SHIPPED, Form::Plain).contains(flag));
        assert_eq!(text(SHIPPED, Form::Owned).matches(flag).count(), 1);
        // Those of earlier versions had it.
        let opening = "table inet noded_proxy_guard {\n";
        let earlier = SHIPPED.replace(opening, &format!("{opening}{flag}"));
        assert!(!text(&earlier, Form::Plain).contains(flag));
        assert_eq!(text(&earlier, Form::Owned), text(SHIPPED, Form::Owned));
    }
}
