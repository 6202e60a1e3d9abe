//! Attacks of a candidate that is not the master on the real node daemon: each works without a
//! policy, which shows that it is real, and none of them under the shipped one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::lab::{Answer, Noded};
use crate::support::proxy::{Builder, Proxy, replace};

/// What each attack leaves behind when it runs, as noded sees the path.
const PROOF: &str = "/var/lib/ganeti/proof";
/// A program as an attacker would bring it, and a version of KVM's for noded to read.
const PROGRAM: &str =
    "#!/bin/sh\\nid -u >/var/lib/ganeti/proof\\necho QEMU emulator version 7.2.0\\n";

/// One call: procedure and body.
type Call = (&'static str, String);

/// The proxy in front of noded, with the certificate of a candidate that is not the master.
fn candidate(noded: &Noded, policy: &str) -> Proxy {
    let with = |builder: Builder| builder.config(policy);
    let proxy = with(noded.proxy()).start();
    let file = |key: &str| proxy.dir().join(format!("ganeti/ssconf_{key}"));
    let addresses = b"node1.lab.example 127.0.0.1\n";
    replace(&file("node_primary_ips"), addresses, 0o644); // as Ganeti does
    replace(&file("master_node"), b"node7.lab.example\n", 0o644);
    proxy.sighup();
    proxy.wait_for("the master is known", |p| {
        p.status()["admission"]["master"] == "node7.lab.example"
    });
    proxy
}

/// Where a program of the attacker's already lies.
fn put_program(noded: &Noded, path: &str) {
    let path = noded.file(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, PROGRAM.replace("\\n", "\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn upload(path: &str, mode: u32) -> String {
    format!("[\"{path}\", [0, \"{PROGRAM}\"], {mode}, \"root\", \"root\", 1.0, 1.0]")
}

fn kvm(path: &str) -> String {
    format!("{{\"kvm_path\": \"{path}\"}}")
}

fn disk(volume: &str) -> String {
    format!(
        "{{\"dev_type\": \"gluster\", \"logical_id\": [\"gluster\", \"x\"], \"size\": 1, \
          \"params\": {{\"access\": \"kernelspace\", \"host\": \"127.0.0.1\", \"port\": 24007, \
          \"volume\": \"{volume}\"}}, \"name\": \"d\", \"uuid\": \"u\", \"iv_name\": \"disk/0\", \
          \"mode\": \"rw\", \"nodes\": [], \"children\": [], \"dynamic_params\": {{}}}}"
    )
}

/// The attacks that run a program, or write a file, with arguments alone.
fn attacks() -> Vec<(&'static str, Vec<Call>)> {
    let shell = format!("x; id -u >{PROOF}; true");
    let uploaded = "/var/lib/ganeti/rapi/users";
    vec![
        (
            "kvm_path in node_info",
            vec![(
                "node_info",
                format!("[[], [[\"kvm\", {}]]]", kvm("/srv/ganeti/evil")),
            )],
        ),
        (
            "kvm_path in node_verify",
            vec![(
                "node_verify",
                format!(
                    "[{{\"hvinfo\": \"kvm\"}}, \"c\", {{\"kvm\": {}}}]",
                    kvm("/srv/ganeti/evil")
                ),
            )],
        ),
        (
            "an uploaded program, run by kvm_path",
            vec![
                ("upload_file", format!("[{}]", upload(uploaded, 0o755))),
                ("node_info", format!("[[], [[\"kvm\", {}]]]", kvm(uploaded))),
            ],
        ),
        (
            "a disk whose volume is a command",
            vec![("blockdev_find", format!("[{}]", disk(&shell)))],
        ),
        (
            "the same to look at its mirror",
            vec![(
                "blockdev_getmirrorstatus_multi",
                format!("[[{}]]", disk(&shell)),
            )],
        ),
        (
            "LVM's options",
            vec![(
                "lv_list",
                format!("[[\"--config=log{{file=\\\"{PROOF}\\\" level=7}}\"]]"),
            )],
        ),
    ]
}

fn run(noded: &Noded, proxy: &Proxy, calls: &[Call]) -> Vec<Answer> {
    let each = calls.iter();
    each.map(|(procedure, body)| noded.through(proxy, &[], procedure, body))
        .collect()
}

/// noded with what it needs for each attack.
fn noded() -> Option<Noded> {
    let noded = Noded::start(&["--no-ssl", "--map", "client"])?;
    put_program(&noded, "/srv/ganeti/evil");
    let ssconf = noded.file("/var/lib/ganeti/ssconf_gluster_storage_dir");
    fs::write(ssconf, "/var/run/ganeti/gluster\n").unwrap();
    fs::create_dir_all(noded.file("/var/lib/ganeti/rapi")).unwrap();
    Some(noded)
}

fn take(proof: &Path) -> bool {
    fs::remove_file(proof).is_ok()
}

#[test]
fn a_candidate_runs_no_program_under_the_shipped_policy() {
    let Some(noded) = noded() else { return };
    let strict = include_str!("../../config/policy-strict.toml");
    let (open, closed) = (candidate(&noded, ""), candidate(&noded, strict));
    let proof = noded.file(PROOF);
    for (case, calls) in attacks() {
        let answers = run(&noded, &open, &calls);
        assert!(take(&proof), "{case}: not an attack at all: {answers:?}");
        let answers = run(&noded, &closed, &calls);
        assert!(!take(&proof), "{case}: {answers:?}");
        for answer in answers {
            assert_eq!(answer.status, 403, "{case}: {answer:?}");
            let why = answer.fail_msg.unwrap();
            assert!(
                why.contains("noded-proxy on ") && why.contains(" forbids "),
                "{why}"
            );
        }
    }
}

/// All of KVM's parameters, for its validation wants them all; none but `kvm_path` has a value.
fn kvm_parameters() -> String {
    let script = "import json, sys; sys.path.insert(0, '/usr/share/ganeti/default'); \
                  from ganeti import constants as c; \
                  print(json.dumps(dict(dict.fromkeys(c.HVC_DEFAULTS['kvm'], ''), \
                  kvm_path='/srv/ganeti/evil')))";
    let mut python = Command::new("/usr/bin/python3");
    let output = python.args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn hypervisor_parameters_are_not_validated_for_a_candidate() {
    let Some(noded) = noded() else { return };
    let strict = include_str!("../../config/policy-strict.toml");
    let (open, closed) = (candidate(&noded, ""), candidate(&noded, strict));
    let body = format!("[\"kvm\", {}]", kvm_parameters().trim());
    let answer = noded.through(&open, &[], "hypervisor_validate_params", &body);
    assert!(take(&noded.file(PROOF)), "{answer:?}");
    let answer = noded.through(&closed, &[], "hypervisor_validate_params", &body);
    assert!(
        !take(&noded.file(PROOF)) && answer.status == 403,
        "{answer:?}"
    );
}

/// The instance's name becomes an address of socat's, which knows one that runs a program.
#[test]
fn an_instance_s_name_runs_no_program_under_the_shipped_policy() {
    let Some(noded) = noded() else { return };
    let strict = include_str!("../../config/policy-strict.toml");
    let (open, closed) = (candidate(&noded, ""), candidate(&noded, strict));
    put_program(&noded, "/srv/ganeti/evil.monitor");
    let folder = noded.file("/run/ganeti/kvm-hypervisor/ctrl");
    fs::create_dir_all(&folder).unwrap();
    let _monitor = std::os::unix::net::UnixListener::bind(folder.join("i.monitor")).unwrap();
    let body = "[{\"name\": \"i.monitor!!EXEC:/srv/ganeti/evil\", \"hypervisor\": \"kvm\", \
                 \"hvparams\": {}, \"disks\": [], \"nics\": []}]";
    let answer = noded.through(&open, &[], "hotplug_supported", body);
    assert!(take(&noded.file(PROOF)), "{answer:?}");
    let answer = noded.through(&closed, &[], "hotplug_supported", body);
    assert!(
        !take(&noded.file(PROOF)) && answer.status == 403,
        "{answer:?}"
    );
}

#[test]
fn no_file_is_fingerprinted_for_a_candidate() {
    let Some(noded) = noded() else { return };
    let strict = include_str!("../../config/policy-strict.toml");
    let open = candidate(&noded, "");
    let shadow = "[{\"filelist\": [\"/etc/shadow\"]}, \"c\", {}]";
    let answer = noded.through(&open, &[], "node_verify", shadow);
    assert!(
        answer.good && answer.body.contains("/etc/shadow"),
        "{answer:?}"
    );
    let closed = candidate(&noded, strict);
    for (procedure, body) in [
        (
            "node_verify",
            "[{\"filelist\": [\"/etc/shadow\"]}, \"c\", {}]",
        ),
        (
            "node_verify_light",
            "[{\"filelist\": [\"/etc/shadow\"]}, \"c\", {}]",
        ),
        ("get_file_info", "[\"/etc/shadow\"]"),
        ("export_info", "[\"/srv\"]"),
    ] {
        let answer = noded.through(&closed, &[], procedure, body);
        assert_eq!(answer.status, 403, "{answer:?}");
    }
}

/// The proxy reads the very files that noded writes.
#[test]
fn a_candidate_does_not_make_itself_master() {
    let Some(noded) = noded() else { return };
    let strict = include_str!("../../config/policy-strict.toml");
    let me = "[{\"master_node\": \"node1.lab.example\"}]";
    let file = noded.file("/var/lib/ganeti/ssconf_master_node");
    // Whoever ends up as master in the file: the attacker's own write (a policy with a hole), or
    // nothing of it.
    let hole = strict.replace("\"dangerous\"]", "\"dangerous\", \"!write_ssconf_files\"]");
    for policy in [strict, &hole] {
        fs::remove_file(&file).unwrap();
        fs::write(&file, "node7.lab.example\n").unwrap();
        let proxy = candidate(&noded, policy);
        let answer = noded.through(&proxy, &[], "write_ssconf_files", me);
        assert_eq!(answer.good, policy == hole, "{answer:?}");
        let written = fs::read_to_string(&file).unwrap();
        assert_eq!(
            written == "node1.lab.example\n",
            policy == hole,
            "{written}"
        );
        // What noded has written is what the proxy of such a node reads.
        fs::write(proxy.dir().join("ganeti/ssconf_master_node"), written).unwrap();
        proxy.sighup();
        let answer = noded.through(&proxy, &[], "hooks_runner", "[\"lab-big\", \"post\", {}]");
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(proxy.status()["admission"]["master"], "node7.lab.example");
    }
}

/// The table of procedures beside the handlers of the installed daemon.
#[test]
fn no_handler_of_the_installed_noded_is_missing_in_the_table() {
    let source = "/usr/share/ganeti/3.0/ganeti/server/noded.py";
    let Ok(source) = fs::read_to_string(source) else {
        assert!(
            crate::support::lab::script("noded").is_none(),
            "{source} is gone"
        );
        return;
    };
    let handlers: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("def perspective_"))
        .filter_map(|rest| rest.split('(').next())
        .collect();
    assert!(handlers.len() > 100, "{handlers:?}");
    for name in handlers {
        assert!(rules::procedures::find(name).is_some(), "{name}");
    }
}
