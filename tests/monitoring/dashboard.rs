//! The dashboard: its panels are whole, and each query has an answer from a real Prometheus that
//! scrapes running proxies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metrics::Known;
use crate::scene::{Exporter, Prometheus, Traffic, wait_until};
use crate::tools::{has, text};

const DASHBOARD: &str = "prometheus/dashboard.json";

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.filter(|panel| panel["type"] != "row").collect()
}

/// Title of the panel and expression of each query.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            queries.push((title.to_owned(), expression.to_owned()));
        }
    }
    queries
}

/// What Grafana puts in the place of its variables.
fn filled(expression: &str, node: &str) -> String {
    let filled = expression
        .replace("$__rate_interval", "15s")
        .replace("$cluster", ".*")
        .replace("$node", node);
    assert!(
        !filled.contains('$'),
        "a variable that nobody fills: {filled}"
    );
    filled
}

#[test]
fn the_panels_are_whole_and_lie_beside_each_other() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "an id twice: {panel}"
        );
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "it lies on another one: {panel}");
            }
        }
    }
    let panels = panels(&dashboard);
    assert!(panels.len() > 25, "{} panels", panels.len());
    for panel in panels {
        let described = panel["description"].as_str().unwrap_or_default();
        assert!(described.ends_with('.'), "{}", panel["title"]);
        assert_eq!(
            panel["datasource"]["uid"], "${datasource}",
            "{}",
            panel["title"]
        );
    }
}

#[test]
fn the_panels_use_metrics_that_exist() {
    let known = Known::read();
    for (title, expression) in queries(&dashboard()) {
        assert_eq!(known.missing(&expression), [""; 0], "{title}");
    }
}

/// Two proxies with traffic, admitted, refused and failed, and a disk transfer: no panel stays empty.
#[test]
fn each_query_has_an_answer_from_a_real_prometheus() {
    if !has("prometheus") {
        return;
    }
    let traffic = [Traffic::start(), Traffic::start()];
    let exporter = Exporter::of_one_transfer();
    let admins = traffic.each_ref().map(Traffic::admin);
    let prometheus = Prometheus::scraping(&admins, &exporter);
    let node = traffic[0].admin().to_string();
    let dashboard = dashboard();
    let mut empty = Vec::new();
    let all_have_data = || {
        traffic.iter().for_each(Traffic::call);
        empty = queries(&dashboard);
        empty.retain(|(_, expression)| !prometheus.has_data(&filled(expression, &node)));
        empty.is_empty()
    };
    let so = wait_until(all_have_data);
    assert!(so, "without data: {empty:#?}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["definition"].as_str().unwrap();
            let values = prometheus.label_values(&filled(query, &node));
            assert!(!values.is_empty(), "{query}");
        }
    }
    let picture = prometheus.drawn(&node);
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap().replace('&', "&amp;");
        assert!(picture.contains(&format!(">{title}</text>")), "{title}");
    }
    assert!(picture.ends_with("</svg>\n") && picture.contains("<path d=\"M"));
    assert!(!prometheus.has_data("noded_proxy_mode{mode=\"none\"}"));
    assert!(
        !prometheus.has_data("vector(0) / 0"),
        "no number is no data"
    );
}
