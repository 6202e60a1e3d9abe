//! Nodes that the cluster has taken offline: most are dead, and one that is not is looked at.

use serde_json::Value;

use super::cluster::{Scene, found};
use super::tree::cluster;
use super::{CANDIDATE, MASTER, NORMAL};

/// What is found once the master has taken n3 offline.
fn with_n3_offline(scene: &Scene) -> Value {
    for node in &scene.nodes[..2] {
        node.data("ssconf_offline_nodes", "n3.example.com\n", 0o444);
        let text = node.text("var/lib/ganeti/config.data");
        let mut document: Value = serde_json::from_str(&text).unwrap();
        document["nodes"]["uuid-n3"]["offline"] = true.into();
        node.data("config.data", &document.to_string(), 0o640);
    }
    let (_, document) = scene.document(&[]);
    document
}

#[test]
fn an_offline_node_that_answers_is_looked_at_and_its_old_map_is_found() {
    let (scene, keys) = (Scene::new(), cluster());
    let normal = &scene.nodes[NORMAL];
    // It went before n2 had a new certificate and key, and is switched on again.
    normal.map(&[MASTER]);
    let document = with_n3_offline(&scene);
    assert_eq!(found(&document), ["n3 offline_outdated"], "{document:#}");
    let node = &document["nodes"][2];
    let what = node["findings"][0]["what"].as_str().unwrap();
    assert!(what.starts_with("map_differs: uuid-n2="), "{what}");
    let expected = ("noded-proxy".into(), true.into(), "warning".into());
    let severity = &node["findings"][0]["severity"];
    assert_eq!(
        (&node["looked_at"], &node["offline"], severity),
        (&expected.0, &expected.1, &expected.2)
    );
    assert_eq!(document["nodes"][1]["offline"], false);
    let text = String::from_utf8(scene.verify(&[]).stdout).unwrap();
    let row = "n3.example.com 0      1        by its noded-proxy (offline)\n";
    assert!(text.contains(row), "{text}");
    // By its files, too; and theft is as bad there.
    scene.does(NORMAL, "instead", "exit 127");
    normal.data("client.pem", &keys.clients[CANDIDATE].pem, 0o440);
    let (_, document) = scene.document(&[]);
    let mut found = found(&document);
    found.retain(|found| found != "n3 file_owner"); // whoever runs the test may not be root
    let expected = [
        "client_name",
        "client_stolen",
        "node_without_proxy",
        "offline_outdated",
    ];
    assert_eq!(found, expected.map(|id| format!("n3 {id}")), "{document:#}");
}

#[test]
fn an_offline_node_that_does_not_answer_is_no_finding_and_is_named() {
    let scene = Scene::new();
    // The way to it has less time than that to another node.
    let timed_out = "[[ \" $* \" == *\" -oConnectTimeout=3 \"* ]] || exit 0; exit 255";
    for does in ["exec sleep 1000", timed_out] {
        scene.does(NORMAL, "down", does);
        let document = with_n3_offline(&scene);
        assert_eq!(found(&document), [""; 0], "{does}: {document:#}");
        let node = &document["nodes"][2];
        assert_eq!(node["looked_at"], "offline");
        assert_eq!(
            node["could_not_look_at"][0],
            "an offline node that does not answer"
        );
    }
    let output = scene.verify(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for line in [
        "n3.example.com 0      0        no: offline\n",
        "not looked at: an offline node that does not answer, on n3.example.com\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn an_offline_node_that_answers_once_and_then_hangs_up_is_not_one_that_does_not_answer() {
    let scene = Scene::new();
    let script = "[[ ${@: -1} == noded-proxy* ]] && exit 127; exit 255";
    scene.does(NORMAL, "down", script);
    let document = with_n3_offline(&scene);
    let expected = ["n3 node_unreachable", "n3 node_without_proxy"];
    assert_eq!(found(&document), expected, "{document:#}");
}
