//! Arguments with which a dangerous procedure only reads.
//!
//! Each proof lists what is good, never what is bad: an argument that is not understood proves
//! nothing. What these calls tell of the node (its memory, its volumes) is for any candidate to
//! know.

use std::collections::BTreeMap;

use crate::arguments::Value;

/// Whether these arguments make the call one that only reads.
pub(super) type Proof = fn(&Value) -> bool;

/// `[storage_units, hv_specs]`: volume groups and no paths, and no program for the hypervisor.
pub(super) fn node_info(arguments: &Value) -> bool {
    let Some([units, hypervisors]) = arguments.tuple() else {
        return false;
    };
    each(units, |unit| match unit.tuple() {
        Some([kind, name, _]) => is_lvm(kind) && is_volume_name(name),
        None => false,
    }) && each(hypervisors, |spec| match spec.tuple() {
        Some([_, parameters]) => names_no_program(parameters),
        None => false,
    })
}

/// What `node_verify` can be asked without naming a file, a host or a program.
const ASKED: [&str; 8] = [
    "client-cert",
    "drbd-helper",
    "drbd-list",
    "drbd-version",
    "lvlist",
    "time",
    "version",
    "vglist",
];

/// `[what, cluster_name, hvparams]`.
pub(super) fn node_verify(arguments: &Value) -> bool {
    let Some([what, _, hypervisors]) = arguments.tuple() else {
        return false;
    };
    let (Some(what), Some(hypervisors)) = (what.map(), hypervisors.map()) else {
        return false;
    };
    what.keys().all(|key| ASKED.contains(&&**key)) && hypervisors.values().all(names_no_program)
}

/// `[names]`, which become words of a command line.
pub(super) fn lv_list(arguments: &Value) -> bool {
    matches!(arguments.tuple(), Some([names]) if each(names, is_volume_name))
}

/// `[kind, its arguments, name, fields]`, of which the name becomes a word of a command line.
pub(super) fn storage_list(arguments: &Value) -> bool {
    let Some([kind, more, name, fields]) = arguments.tuple() else {
        return false;
    };
    is_lvm(kind)
        && matches!(more.list(), Some([]))
        && (*name == Value::Null || is_volume_name(name))
        && each(fields, |field| field.text().is_some())
}

/// Of `null` or a list: whether all are good.
fn each(values: &Value, good: impl FnMut(&Value) -> bool) -> bool {
    *values == Value::Null || values.list().is_some_and(|list| list.iter().all(good))
}

fn is_lvm(kind: &Value) -> bool {
    matches!(kind.text(), Some("lvm-vg" | "lvm-pv"))
}

/// Hypervisor parameters that choose nothing but one of Xen's two tools.
fn names_no_program(parameters: &Value) -> bool {
    let chooses_xen =
        |key: &str, value: &Value| key == "xen_cmd" && matches!(value.text(), Some("xl" | "xm"));
    let good = |map: &BTreeMap<Box<str>, Value>| map.iter().all(|(key, v)| chooses_xen(key, v));
    *parameters == Value::Null || parameters.map().is_some_and(good)
}

/// A name as LVM has it; with a dash in front it would be an option.
fn is_volume_name(value: &Value) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"+_.-/".contains(&c);
    let name = value.text().unwrap_or("");
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use crate::procedures::{Effect, find};

    #[test]
    fn arguments_that_prove_a_call_harmless_and_others() {
        let table = [
            ("node_info", r#"[[], [["fake", {}]]]"#, true),
            ("node_info", "[null, null]", true),
            ("node_info", r#"[[["lvm-vg", "xenvg", [false]]], []]"#, true),
            (
                "node_info",
                r#"[[], [["xen-pvm", {"xen_cmd": "xl"}]]]"#,
                true,
            ),
            (
                "node_info",
                r#"[[], [["xen-pvm", {"xen_cmd": "/x"}]]]"#,
                false,
            ),
            ("node_info", r#"[[], [["kvm", {"kvm_path": "/x"}]]]"#, false),
            ("node_info", r#"[[], [["kvm", {"new_path": "/x"}]]]"#, false),
            ("node_info", r#"[[["file", "/etc/shadow", []]], []]"#, false),
            ("node_info", r#"[[["lvm-vg", "--config", []]], []]"#, false),
            ("node_info", r#"[{}, []]"#, false),
            ("node_info", r#"[[], [], 1]"#, false),
            ("node_info", r#"{"a": 1}"#, false),
            ("node_verify", r#"[{"version": null}, "c", {}]"#, true),
            (
                "node_verify",
                r#"[{"filelist": ["/etc/shadow"]}, "c", {}]"#,
                false,
            ),
            (
                "node_verify",
                r#"[{"hvinfo": "kvm"}, "c", {"kvm": {}}]"#,
                false,
            ),
            (
                "node_verify",
                r#"[{"time": 1}, "c", {"kvm": {"kvm_path": "/x"}}]"#,
                false,
            ),
            (
                "node_verify_light",
                r#"[{"node-net-test": 1}, "c", {}]"#,
                false,
            ),
            ("lv_list", "[[]]", true),
            ("lv_list", "[null]", true),
            ("lv_list", r#"[["xenvg", "a/b-c"]]"#, true),
            ("lv_list", r#"[["--config=log{file=\"/x\"}"]]"#, false),
            ("lv_list", r#"["xenvg"]"#, false),
            ("lv_list", "[[1]]", false),
            ("storage_list", r#"["lvm-vg", [], null, ["name"]]"#, true),
            (
                "storage_list",
                r#"["lvm-pv", [], "/dev/sda1", ["name"]]"#,
                true,
            ),
            ("storage_list", r#"["lvm-pv", [], "-h", ["name"]]"#, false),
            (
                "storage_list",
                r#"["file", [["/root"]], null, ["used"]]"#,
                false,
            ),
            // The arguments of others prove nothing.
            ("blockdev_find", "[]", false),
            ("hypervisor_validate_params", r#"["fake", {}]"#, false),
        ];
        for (name, arguments, harmless) in table {
            let procedure = find(name).unwrap();
            let arguments = serde_json::from_str(arguments).unwrap();
            let effect = procedure.effect_of(&arguments);
            assert_eq!(effect == Effect::ReadOnly, harmless, "{name} {arguments:?}");
        }
    }
}
