//! Which folder may name which crate, and what the rules may not touch.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;

use super::arrows::folder;
use super::source::{Tree, product_items};

/// A crate, and the paths below which alone it is named.
const PLACES: [(&str, &[&str]); 13] = [
    ("openssl", &["src/tls/"]),
    ("tokio_openssl", &["src/tls/"]),
    ("prometheus", &["src/metrics/"]),
    ("notify", &["src/trust/watch/"]),
    ("ssh_key", &["src/node/ssh/"]),
    ("zstd", &["src/moves/codec/"]),
    ("lz4_flex", &["src/moves/codec/"]),
    ("twox_hash", &["src/moves/codec/"]),
    ("landlock", &["src/daemon/sandbox"]),
    ("sd_notify", &["src/daemon/systemd.rs"]),
    ("listenfd", &["src/daemon/systemd.rs"]),
    ("tracing_subscriber", &["src/daemon/logging/"]),
    (
        "hyper",
        &[
            "src/proxy/connection/",
            "src/proxy/rpc/",
            "src/proxy/http/",
            "src/proxy/upstream/",
            "src/daemon/admin",
            "src/commands/",
        ],
    ),
];

/// What the rules may depend on.
const OF_THE_RULES: [&str; 3] = ["serde", "sha1", "thiserror"];

/// What no rule may touch: files, sockets, processes, the clock, the environment.
const OUTSIDE: [&str; 10] = [
    "std::fs",
    "std::io",
    "std::os",
    "std::process",
    "std::env",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::net::T", // TcpStream, TcpListener; addresses are values
    "std::net::UdpSocket",
];

/// Every use of a crate outside its place; tests may name what they like.
pub(crate) fn misplaced(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree.0.iter().filter(|file| !file.is_test) {
        for named in &file.names {
            let places = PLACES.iter().find(|(name, _)| named[0] == *name);
            if let Some((name, places)) = places
                && !places.iter().any(|place| file.path.starts_with(place))
            {
                found.push(format!(
                    "{}: {} (only {places:?} may name {name})",
                    file.path,
                    named.join("::")
                ));
            }
        }
    }
    found
}

/// Every dependency of the rules beyond the three.
pub(crate) fn rules_manifest(text: &str) -> Vec<String> {
    let manifest: toml::Table = text.parse().unwrap();
    let mut found = Vec::new();
    for section in ["dependencies", "build-dependencies", "target"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else {
            continue;
        };
        let more = table
            .keys()
            .filter(|name| !OF_THE_RULES.contains(&name.as_str()));
        found.extend(more.map(|name| format!("rules/Cargo.toml: {section}.{name}")));
    }
    found
}

/// Everything outside that the rules name.
pub(crate) fn impure(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree
        .0
        .iter()
        .filter(|file| folder(file) == "rules" && !file.is_test)
    {
        for named in &file.names {
            let path = named.join("::");
            let outside = OUTSIDE.iter().any(|outside| path.starts_with(outside))
                || ["tokio", "hyper", "openssl", "tracing", "noded_proxy"]
                    .contains(&named[0].as_str());
            if outside {
                found.push(format!("{}: {path}", file.path));
            }
        }
    }
    found
}

/// Makes a series of any text. Only `src/metrics/` may, and there only with what is no literal.
const MAKERS: [&str; 3] = [
    "with_label_values",
    "get_metric_with_label_values",
    "get_metric_with",
];

/// The calls that make series, in code and in macros, each with its arguments.
fn series(stream: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1)) {
            (TokenTree::Ident(name), Some(TokenTree::Group(arguments)))
                if MAKERS.contains(&name.to_string().as_str()) =>
            {
                found.push(format!("{name}{arguments}"));
            }
            (TokenTree::Group(group), _) => series(group.stream(), found),
            _ => {}
        }
    }
}

/// Every label value that is a text at its use: a typo there would open a new series.
pub(crate) fn label_literals(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree.0.iter().filter(|file| !file.is_test) {
        let mut calls = Vec::new();
        for item in product_items(&file.items, false) {
            series(item.to_token_stream(), &mut calls);
        }
        let in_place = file.path.starts_with("src/metrics/");
        let wrong = calls
            .into_iter()
            .filter(|call| !in_place || call.contains('"'));
        found.extend(wrong.map(|call| format!("{}: {call}", file.path)));
    }
    found
}
