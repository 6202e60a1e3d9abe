//! Every relative link and every anchor leads somewhere. The network is never asked.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::texts::{ROOT, Text, all, others};

/// Targets of the links in a text, and the anchors of its headings.
fn links_and_anchors(text: &str) -> (Vec<String>, HashSet<String>) {
    let (mut links, mut anchors) = (Vec::new(), HashSet::new());
    let mut heading: Option<String> = None;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(piece) | Event::Code(piece) => {
                if let Some(title) = &mut heading {
                    title.push_str(&piece);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let before = seen.entry(slug.clone()).or_default();
                anchors.insert(match *before {
                    0 => slug,
                    n => format!("{slug}-{n}"),
                });
                *before += 1;
            }
            _ => {}
        }
    }
    (links, anchors)
}

/// A heading's anchor as the forges make it.
fn slug(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// `a/../b` is `b`.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir if normal.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(normal)
}

/// What is wrong with the links of a text.
fn faults(text: &Text) -> Vec<String> {
    let (links, own) = links_and_anchors(&text.content);
    let folder = Path::new(&text.name)
        .parent()
        .unwrap_or_else(|| Path::new(""));
    let lost = |link: &String| {
        if link.contains("://") || link.starts_with("mailto:") {
            return false;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        if file.is_empty() {
            return !own.contains(anchor);
        }
        let Some(path) = normal(&folder.join(file)) else {
            return true;
        };
        let found = Path::new(ROOT).join(&path);
        if !found.exists() {
            return true;
        }
        let read = || std::fs::read_to_string(&found).unwrap_or_default();
        !anchor.is_empty() && !links_and_anchors(&read()).1.contains(anchor)
    };
    let lost = links.into_iter().filter(lost);
    lost.map(|link| format!("{}: {link}", text.name)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let lost: Vec<String> = all().iter().chain(&others()).flat_map(faults).collect();
    assert!(
        lost.is_empty(),
        "these links lead nowhere:\n{}",
        lost.join("\n")
    );
}

#[test]
fn a_lost_link_is_noticed() {
    let text = "# One `two`, three\n\n[a](no.md) [b](../README.md#no) [c](#no) [d](../../x)\n\
                [e](../README.md) [f](#one-two-three) [g](https://example.com/#x)\n";
    let found = faults(&Text::of("docs/broken.md", text));
    let expected = ["no.md", "../README.md#no", "#no", "../../x"];
    assert_eq!(
        found,
        expected.map(|link| format!("docs/broken.md: {link}"))
    );
}

#[test]
fn headings_of_the_same_name_are_told_apart() {
    let anchors = links_and_anchors("# A b\n\n## A b\n\n## `c-d`: e (f)\n").1;
    assert_eq!(
        anchors,
        ["a-b", "a-b-1", "c-d-e-f"].map(String::from).into()
    );
}
