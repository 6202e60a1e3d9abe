//! Each rule fails on a source that breaks it, and is content with one that does not.

use super::source::Tree;
use super::{arrows, circles, crates, docs, sizes};

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.add(path, text);
    }
    tree
}

#[test]
fn an_arrow_upwards_is_found_wherever_it_is_written() {
    let table = [
        ("src/proxy/rpc/mod.rs", "use crate::trust::Store;", true),
        (
            "src/proxy/rpc/mod.rs",
            "use crate::proxy::http::Body;",
            true,
        ),
        ("src/proxy/rpc/mod.rs", "use super::http::Body;", true),
        ("src/proxy/rpc/mod.rs", "use rules::authz::Permit;", true),
        ("src/proxy/rpc/mod.rs", "use crate::config::Config;", false),
        (
            "src/proxy/rpc/mod.rs",
            "use crate::{trust::Store, daemon::admin::Admin};",
            false,
        ),
        (
            "src/proxy/rpc/mod.rs",
            "fn f() { crate::daemon::systemd::stopping(); }",
            false,
        ),
        (
            "src/proxy/rpc/mod.rs",
            "fn f() { info!(\"{}\", crate::daemon::server::summary()); }",
            false,
        ),
        (
            "src/proxy/rpc/mod.rs",
            "use super::super::daemon::admin::Admin;",
            false,
        ),
        (
            "src/proxy/rpc/mod.rs",
            "mod inner { use crate::commands::cli::Cli; }",
            false,
        ),
        (
            "src/trust/mod.rs",
            "pub use crate::proxy::shared::Shared;",
            false,
        ),
        ("src/node/files.rs", "use crate::metrics::Maker;", false),
        ("src/main.rs", "use noded_proxy::commands::cli::Cli;", true),
        ("src/odd/mod.rs", "", false),
        (
            "src/proxy/rpc/mod.rs",
            "fn f() { use crate::{config::Config}; }",
            false,
        ),
        ("src/proxy/rpc/mod.rs", "use super::super as all;", false),
        (
            "src/proxy/rpc/mod.rs",
            "#[cfg(not(test))]\nuse crate::config::Config;",
            false,
        ),
        (
            "src/proxy/rpc/mod.rs",
            "#[cfg(test)]\nuse crate::proxy::http::Body;",
            true,
        ),
        (
            "src/proxy/rpc/mod.rs",
            "fn f<'a>(x: &'a A) -> impl B + use<'a> { crate::config::f() }",
            false,
        ),
    ];
    for (path, text, good) in table {
        let found = arrows::upward(&tree(&[(path, text)]));
        assert_eq!(found.is_empty(), good, "{path}: {text}: {found:?}");
    }
}

#[test]
fn a_room_of_the_road_that_calls_another_is_found() {
    let table = [
        (
            "src/proxy/connection/mod.rs",
            "use crate::proxy::overload::Place;",
            true,
        ),
        (
            "src/proxy/rpc/mod.rs",
            "use crate::proxy::upstream::Error;",
            true,
        ),
        (
            "src/proxy/upstream/wire/mod.rs",
            "use crate::proxy::http::Body;",
            true,
        ),
        (
            "src/proxy/upstream/warm.rs",
            "use super::slots::Slots;",
            true,
        ),
        (
            "src/proxy/listener/mod.rs",
            "use crate::proxy::shared::Shared;",
            true,
        ),
        (
            "src/proxy/listener/mod.rs",
            "use super::connection::begin;",
            false,
        ),
        (
            "src/proxy/http/reply.rs",
            "use crate::proxy::upstream::Error;",
            false,
        ),
        (
            "src/proxy/workers.rs",
            "fn f() { crate::proxy::rpc::answer(); }",
            false,
        ),
    ];
    for (path, text, good) in table {
        let found = arrows::sideways(&tree(&[(path, text)]));
        assert_eq!(found.is_empty(), good, "{path}: {text}: {found:?}");
    }
}

#[test]
fn a_circle_is_found_through_re_exports_and_over_several_files() {
    let two = tree(&[
        ("src/trust/mod.rs", "mod a;\nmod b;\npub use a::A;"),
        ("src/trust/a.rs", "use super::b::B;\npub struct A(B);"),
        ("src/trust/b.rs", "use crate::trust::A;\npub struct B(A);"),
    ]);
    let found = circles::circles(&two);
    assert_eq!(
        found,
        ["src/trust/a.rs -> src/trust/b.rs -> src/trust/a.rs"]
    );
    let parent = tree(&[
        (
            "src/tls/mod.rs",
            "mod child;\nuse child::f;\npub struct S;\nfn g() { f() }",
        ),
        ("src/tls/child.rs", "use super::S;\npub fn f(_: S) {}"),
    ]);
    assert_eq!(circles::circles(&parent).len(), 1);
    let passed_on = tree(&[
        (
            "src/tls/mod.rs",
            "mod child;\npub use child::f;\npub struct S;",
        ),
        ("src/tls/child.rs", "use super::S;\npub fn f(_: S) {}"),
    ]);
    assert!(circles::circles(&passed_on).is_empty());
}

#[test]
fn a_crate_out_of_place_is_found() {
    for (path, text, good) in [
        ("src/tls/profile.rs", "use openssl::ssl::Ssl;", true),
        ("src/proxy/rpc/mod.rs", "use openssl::ssl::Ssl;", false),
        (
            "src/proxy/rpc/mod.rs",
            "fn f() { use openssl::{ssl::Ssl, rsa::Rsa}; }",
            false,
        ),
        ("src/proxy/rpc/mod.rs", "extern crate openssl as o;", false),
        (
            "src/commands/demo/mod.rs",
            "type S = tokio_openssl::SslStream<u8>;",
            false,
        ),
        ("src/trust/reload.rs", "use prometheus::IntGauge;", false),
        ("src/proxy/listener/mod.rs", "use hyper::Request;", false),
        ("src/proxy/http/mod.rs", "use hyper::Request;", true),
    ] {
        let found = crates::misplaced(&tree(&[(path, text)]));
        assert_eq!(found.is_empty(), good, "{path}: {text}");
    }
}

#[test]
fn a_rule_that_looks_outside_is_found() {
    for (text, good) in [
        ("use std::net::IpAddr;", true),
        ("use std::fs;", false),
        ("use tokio::time;", false),
        ("fn f() { std::time::SystemTime::now(); }", false),
        ("use std::net::TcpStream;", false),
        ("use std::process::Command;", false),
        ("#[cfg(test)] mod tests { use std::fs; }", true),
    ] {
        let found = crates::impure(&tree(&[("rules/src/authz/mod.rs", text)]));
        assert_eq!(found.is_empty(), good, "{text}");
    }
    assert!(crates::rules_manifest("[dependencies]\nserde = \"1\"\nsha1 = \"1\"").is_empty());
    assert_eq!(
        crates::rules_manifest("[dependencies]\ntokio = \"1\"").len(),
        1
    );
    assert_eq!(
        crates::rules_manifest("[target.x.dependencies]\nlibc = \"1\"").len(),
        1
    );
}

#[test]
fn a_label_value_written_at_the_use_is_found() {
    let call =
        |argument| format!("fn f(m: M) {{ m.rejected.with_label_values(&[{argument}]).inc(); }}");
    let (literal, name) = (call("\"ping\""), call("reason.name()"));
    let hidden = "fn f(m: M) { assert!(V::get_metric_with_label_values(&m.v, &[PING]).is_ok()); }";
    for (path, text, good) in [
        ("src/proxy/rpc/mod.rs", &*literal, false),
        ("src/proxy/rpc/mod.rs", &*name, false),
        ("src/proxy/rpc/mod.rs", hidden, false),
        ("src/metrics/family.rs", &*literal, false),
        ("src/metrics/family.rs", &*name, true),
    ] {
        let found = crates::label_literals(&tree(&[(path, text)]));
        assert_eq!(found.is_empty(), good, "{path}: {text}");
    }
}

#[test]
fn a_file_without_a_bound_in_its_doc_is_found() {
    for (text, good) in [
        ("//! Reads files. Writes nothing.\n", true),
        ("//! Reads files.\n", false),
        ("fn f() {}\n", false),
    ] {
        let found = docs::without_bound(&tree(&[("src/node/files.rs", text)]));
        assert_eq!(found.is_empty(), good, "{text}");
    }
}

#[test]
fn what_is_too_large_is_found() {
    let long = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(59));
    assert_eq!(
        sizes::measure(&tree(&[("src/node/a.rs", &long)]))
            .too_large()
            .len(),
        2
    );
    let file = "// a line\n".repeat(401);
    assert_eq!(
        sizes::measure(&tree(&[("src/node/a.rs", &file)]))
            .too_large()
            .len(),
        3
    );
    let short = sizes::measure(&tree(&[("src/node/a.rs", "fn f() {\n    g();\n}\n")]));
    assert!(short.too_large().is_empty());
    assert!(
        short
            .to_string()
            .contains("1 functions, lines median/p90/p99/max 3/3/3/3")
    );
}
