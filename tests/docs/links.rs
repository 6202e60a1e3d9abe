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

/// What is wrong with the links of a text of the repository.
fn faults(text: &Text) -> Vec<String> {
    faults_in(text, &|path| {
        let found = Path::new(ROOT).join(path);
        found.exists().then_some(found)
    })
}

/// The same where `there` says which file a path is.
fn faults_in(text: &Text, there: &dyn Fn(&Path) -> Option<PathBuf>) -> Vec<String> {
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
        let path = match file.strip_prefix('/') {
            Some(absolute) => Some(PathBuf::from(absolute)),
            None => normal(&folder.join(file)),
        };
        let Some(found) = path.and_then(|path| there(&path)) else {
            return true;
        };
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

/// What the package installs, as its list in `Cargo.toml` has it: where, and which file of the
/// repository, or of `texts`, it is.
fn installed(texts: &Path) -> HashMap<PathBuf, PathBuf> {
    const DOC: &str = "usr/share/doc/noded-proxy";
    let manifest = std::fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let assets = &manifest["package"]["metadata"]["deb"]["assets"];
    let mut all = HashMap::new();
    // Of cargo-deb's own making.
    for name in ["copyright", "changelog.Debian.gz"] {
        all.insert(
            Path::new(DOC).join(name),
            Path::new(ROOT).join("CHANGELOG.md"),
        );
    }
    for asset in assets.as_array().unwrap() {
        let [from, to] = [0, 1].map(|at| asset[at].as_str().unwrap());
        let (base, from) = match from.strip_prefix("target/package/doc/") {
            Some(own) => (texts, own),
            None if from.starts_with("target/") => continue, // no text
            None => (Path::new(ROOT), from),
        };
        let (folder, name) = from.rsplit_once('/').unwrap_or(("", from));
        let folder = folder.trim_end_matches("/**");
        for file in files_in(&base.join(folder)) {
            let inside = file.strip_prefix(base.join(folder)).unwrap().to_owned();
            let is_it = match name.split_once('*') {
                Some((begin, end)) => {
                    let text = inside.to_str().unwrap();
                    let deep = from.contains("**") || !text.contains('/');
                    deep && text.starts_with(begin) && text.ends_with(end)
                }
                None => inside == Path::new(name),
            };
            if is_it {
                let place = match to.ends_with('/') {
                    true => Path::new(to).join(inside),
                    false => to.into(),
                };
                all.insert(place, file);
            }
        }
    }
    let folders = all.keys().flat_map(|path| path.ancestors().skip(1));
    let folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
    all.extend(folders.into_iter().map(|folder| (folder, "/".into())));
    all
}

/// All files below a folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("target") || path.ends_with(".git") => {}
            true => all.extend(files_in(&path)),
            false => all.push(path),
        }
    }
    all
}

/// In the package, and in the archive, whose files are below `files/`.
#[test]
fn every_link_of_what_is_installed_leads_to_what_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let written = std::process::Command::new(Path::new(ROOT).join("package/docs"))
        .arg(dir.path())
        .status();
    assert!(written.unwrap().success());
    let all = installed(dir.path());
    let texts = all
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "md"));
    let mut lost = Vec::new();
    let mut walked = 0;
    for (path, file) in texts {
        let text = Text::of(
            path.to_str().unwrap(),
            &std::fs::read_to_string(file).unwrap(),
        );
        lost.extend(faults_in(&text, &|path| all.get(path).cloned()));
        walked += 1;
    }
    assert!(walked > 10, "{walked}");
    let archive = std::fs::read_to_string(dir.path().join("README.archive")).unwrap();
    let in_archive = |path: &Path| all.get(path.strip_prefix("files").ok()?).cloned();
    lost.extend(faults_in(&Text::of("README", &archive), &in_archive));
    assert!(lost.is_empty(), "not in the package:\n{}", lost.join("\n"));
}
