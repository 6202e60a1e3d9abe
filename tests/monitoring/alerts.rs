//! Each alert rule has its unit test, its paragraph in the documentation, and metrics that exist.

use std::collections::{BTreeMap, BTreeSet};

use yaml_rust2::{Yaml, YamlLoader};

use crate::metrics::Known;
use crate::tools::{path, promtool, text};

const RULES: &str = "prometheus/alerts.yml";
const TESTS: &str = "prometheus/alerts_test.yml";

fn yaml(name: &str) -> Yaml {
    YamlLoader::load_from_str(&text(name)).unwrap().remove(0)
}

fn list<'a>(of: &'a Yaml, key: &str) -> &'a [Yaml] {
    of[key].as_vec().map_or(&[], Vec::as_slice)
}

/// All rules by their name.
fn rules() -> BTreeMap<String, Yaml> {
    let file = yaml(RULES);
    let rules = list(&file, "groups")
        .iter()
        .flat_map(|group| list(group, "rules"));
    let named = rules.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule.clone()));
    named.collect()
}

/// The paragraphs of the documentation, by the alert in their heading.
fn told() -> BTreeMap<String, String> {
    let docs = text("docs/alerts.md");
    let sections = docs.split("\n### ").skip(1).map(|section| {
        let (name, body) = section.split_once('\n').unwrap();
        let body = body.split("\n## ").next().unwrap_or_default();
        (name.to_owned(), body.trim().to_owned())
    });
    sections.collect()
}

#[test]
fn promtool_takes_the_rules() {
    if let Some((good, said)) = promtool(&["check", "rules"], &path(RULES)) {
        assert!(good, "{said}");
    }
}

#[test]
fn each_alert_fires_when_it_should_and_not_when_it_should_not() {
    if let Some((good, said)) = promtool(&["test", "rules"], &path(TESTS)) {
        assert!(good, "{said}");
    }
}

#[test]
fn each_alert_has_a_unit_test_that_fires_and_one_that_does_not() {
    let file = yaml(TESTS);
    let mut tried: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for test in list(&file, "tests")
        .iter()
        .flat_map(|group| list(group, "alert_rule_test"))
    {
        let fires = !list(test, "exp_alerts").is_empty();
        let name = test["alertname"].as_str().unwrap();
        tried.entry(name).or_default().insert(fires);
    }
    for name in rules().keys() {
        let both = tried.get(&**name).is_some_and(|tried| tried.len() == 2);
        assert!(both, "{name}: {:?}", tried.get(&**name));
    }
}

/// A unit test that nothing can fail says nothing: without the rules, each one fails.
#[test]
fn no_unit_test_passes_without_its_rule() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let without = text(RULES).replace("alert: ", "alert: Not");
    std::fs::write(file("alerts.yml"), without).unwrap();
    std::fs::write(file("alerts_test.yml"), text(TESTS)).unwrap();
    if let Some((good, said)) = promtool(&["test", "rules"], &file("alerts_test.yml")) {
        assert!(!good);
        for name in rules().keys() {
            let missed = format!("alertname: {name}, ");
            assert!(said.contains(&missed), "{name} is not missed:\n{said}");
        }
    }
}

#[test]
fn each_alert_has_its_paragraph_and_each_paragraph_its_alert() {
    let (rules, told) = (rules(), told());
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(rules.keys().collect()), names(told.keys().collect()));
    for (name, paragraph) in &told {
        let words = paragraph.split_whitespace().count();
        assert!(
            words >= 25,
            "{name}: what it means and what to do: {paragraph}"
        );
        let runbook = rules[name]["annotations"]["runbook"].as_str();
        let anchor = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(runbook, Some(&*anchor), "{name}");
    }
}

#[test]
fn the_alerts_use_metrics_that_exist() {
    let known = Known::read();
    for (name, rule) in rules() {
        let expression = rule["expr"].as_str().unwrap();
        assert_eq!(known.missing(expression), [""; 0], "{name}");
    }
}

/// What makes a node degraded has an alert: the general one, or one of its own.
#[test]
fn the_reasons_left_out_of_the_general_alert_have_their_own() {
    let rules = rules();
    let expression = rules["NodedProxyDegraded"]["expr"].as_str().unwrap();
    let (_, left_out) = expression.split_once("reason!~\"").unwrap();
    let left_out = left_out.split('"').next().unwrap_or_default();
    for reason in left_out.split('|') {
        let own = match reason {
            "audit_mode" => "NodedProxyNotEnforcing",
            "candidate_map" => "NodedProxyMapStale",
            "noded_down" => "NodedProxyNodedDown",
            "noded_impersonated" => "NodedProxyNodedImpersonated",
            "noded_exposed" => "NodedProxyNodedExposed",
            "guard_missing" => "NodedProxyGuardMissing",
            "server_pem_expires" => "NodedProxyCertificateExpiresIn7Days",
            "draining" => "NodedProxyNotReady",
            other => panic!("no alert tells of {other}"),
        };
        assert!(rules.contains_key(own), "{own}");
    }
}
