//! What a call is aimed at: the arguments that a rule can name.
//!
//! Each function takes the arguments apart as noded's handler does. Where they do not have that
//! form there are no targets, and the policy takes the worst for granted.

use crate::arguments::Value;

type Targets<'a> = Vec<&'a str>;

/// What can be named of a procedure's arguments.
type Look = for<'a> fn(&'a Value) -> Option<Targets<'a>>;

/// The procedures whose arguments a rule can name, and what that is.
const LOOKS: [(&str, Look); 13] = [
    ("all_instances_info", hypervisors_in_second),
    ("get_file_info", first),
    ("hypervisor_validate_params", keys_of_second),
    ("instance_list", hypervisors_in_second),
    ("instance_reboot", instance),
    ("instance_start", instance),
    ("node_info", node_info),
    ("node_verify", node_verify),
    ("node_verify_light", node_verify),
    ("run_oob", first),
    ("upload_file", uploaded),
    ("upload_file_single", first),
    ("write_ssconf_files", keys_of_first),
];

/// The paths, keys or parameters that a call names, if its arguments have the procedure's form.
pub(super) fn targets<'a>(procedure: &str, arguments: &'a Value) -> Option<Targets<'a>> {
    let (_, look) = LOOKS.iter().find(|(name, _)| *name == procedure)?;
    look(arguments)
}

/// Whether a rule can name arguments of this procedure.
pub(super) fn are_known(procedure: &str) -> bool {
    LOOKS.iter().any(|(name, _)| *name == procedure)
}

/// `[target, ..]`
fn first(arguments: &Value) -> Option<Targets<'_>> {
    Some(vec![arguments.list()?.first()?.text()?])
}

/// `[[path, ..]]`
fn uploaded(arguments: &Value) -> Option<Targets<'_>> {
    first(arguments.list()?.first()?)
}

/// `[{key: ..}]`
fn keys_of_first(arguments: &Value) -> Option<Targets<'_>> {
    let [map] = arguments.tuple()?;
    keys(map)
}

/// `[hypervisor, {parameter: ..}]`
fn keys_of_second(arguments: &Value) -> Option<Targets<'_>> {
    let [_, map] = arguments.tuple()?;
    keys(map)
}

/// `[.., {hypervisor: {parameter: ..}}]`
fn hypervisors_in_second(arguments: &Value) -> Option<Targets<'_>> {
    let [_, hypervisors] = arguments.tuple()?;
    all(hypervisors.map()?.values())
}

/// `[{"hvparams": {parameter: ..}}, ..]`
fn instance(arguments: &Value) -> Option<Targets<'_>> {
    keys(arguments.list()?.first()?.map()?.get("hvparams")?)
}

/// `[units, [[hypervisor, {parameter: ..}], ..]]`
fn node_info(arguments: &Value) -> Option<Targets<'_>> {
    let [_, specs] = arguments.tuple()?;
    if *specs == Value::Null {
        return Some(Vec::new());
    }
    let pairs: Option<Vec<&[Value; 2]>> = specs.list()?.iter().map(Value::tuple).collect();
    all(pairs?.into_iter().map(|[_, parameters]| parameters))
}

/// `[{"hvparms": [[source, hypervisor, {parameter: ..}], ..]}, cluster, {hypervisor: {..}}]`
fn node_verify(arguments: &Value) -> Option<Targets<'_>> {
    let [what, _, hypervisors] = arguments.tuple()?;
    let mut found = all(hypervisors.map()?.values())?;
    if let Some(more) = what.map()?.get("hvparms") {
        let triples: Option<Vec<&[Value; 3]>> = more.list()?.iter().map(Value::tuple).collect();
        found.extend(all(triples?
            .into_iter()
            .map(|[_, _, parameters]| parameters))?);
    }
    Some(found)
}

fn keys(map: &Value) -> Option<Targets<'_>> {
    match map {
        Value::Null => Some(Vec::new()),
        map => Some(map.map()?.keys().map(|key| &**key).collect()),
    }
}

fn all<'a>(maps: impl Iterator<Item = &'a Value>) -> Option<Targets<'a>> {
    let lists: Option<Vec<Targets<'a>>> = maps.map(keys).collect();
    Some(lists?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_a_table() {
        let upload = r#"["/etc/hosts", [0, "x"], 420, "root", "root", 1, 1]"#;
        let uploads = format!("[{upload}]");
        let instance = r#"[{"hvparams": {"kvm_path": "/x"}, "name": "i"}, false, []]"#;
        let table: [(&str, &str, Option<&[&str]>); 18] = [
            ("upload_file_single", upload, Some(&["/etc/hosts"])),
            ("upload_file", &uploads, Some(&["/etc/hosts"])),
            ("upload_file", upload, None),
            ("upload_file_single", &uploads, None),
            (
                "write_ssconf_files",
                r#"[{"a": "x", "b": 1}]"#,
                Some(&["a", "b"]),
            ),
            ("write_ssconf_files", r#"[{}, {}]"#, None),
            ("write_ssconf_files", r#"[[]]"#, None),
            (
                "node_info",
                r#"[[], [["kvm", {"kvm_path": 1}], ["fake", null]]]"#,
                Some(&["kvm_path"]),
            ),
            ("node_info", r#"[[], [["kvm"]]]"#, None),
            ("node_info", "[[], null]", Some(&[])),
            (
                "node_verify",
                r#"[{"hvparms": [["c", "kvm", {"b": 1}]]}, "c", {"kvm": {"a": 1}}]"#,
                Some(&["a", "b"]),
            ),
            ("node_verify", r#"[{"hvparms": 1}, "c", {}]"#, None),
            (
                "hypervisor_validate_params",
                r#"["kvm", {"kvm_path": 1}]"#,
                Some(&["kvm_path"]),
            ),
            ("instance_start", instance, Some(&["kvm_path"])),
            ("instance_start", "[{}]", None),
            (
                "instance_list",
                r#"[["x"], {"x": {"xen_cmd": "xl"}}]"#,
                Some(&["xen_cmd"]),
            ),
            ("run_oob", r#"["/bin/sh", "x", "n", 1]"#, Some(&["/bin/sh"])),
            ("version", "[]", None),
        ];
        for (procedure, arguments, expected) in table {
            let value = serde_json::from_str(arguments).unwrap();
            let found = targets(procedure, &value);
            assert_eq!(found.as_deref(), expected, "{procedure} {arguments}");
        }
        assert!(are_known("run_oob") && !are_known("version"));
        let sorted = LOOKS.windows(2).all(|two| two[0].0 < two[1].0);
        assert!(
            sorted
                && LOOKS
                    .iter()
                    .all(|(name, _)| crate::procedures::find(name).is_some())
        );
    }
}
