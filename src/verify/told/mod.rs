//! A node without this program, as a script of ours has told of it over ssh (`read.sh`): its files,
//! without any secret. What it says is a stranger's: it is read strictly, within bounds, and nothing
//! of it is ever a path of this machine.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::node::reading::{Half, Reading};
use crate::node::tree::{About, Content};
use crate::tls::from_base64;

/// What is run on the node, as the input of `sh -s -- ROOT DATA SERVER_PEM MAP`.
pub const SCRIPT: &str = include_str!("read.sh");

/// What its output begins with. Before it, root's shell may say what it likes.
const BEGIN: &str = "noded-proxy-read 1";
/// What it ends with.
const END: &str = "end";
/// Files that are believed.
const MOST: usize = 20_000;
/// What nobody can say without openssl.
const KEYS: &str = "whether keys fit their certificates";
/// Bytes of a path.
const MOST_PATH: usize = 512;

/// A file of the node.
#[derive(Debug, Default)]
struct Entry {
    about: Option<About>,
    content: Option<Vec<u8>>,
    half: Option<Half>,
    refused: bool,
}

/// All that it told.
#[derive(Debug, Default)]
pub struct Told {
    files: BTreeMap<String, Entry>,
    unseen: Vec<&'static str>,
}

impl Told {
    /// From the script's output, or what is wrong with that.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not ASCII")?;
        let mut lines = text.lines().skip_while(|line| *line != BEGIN);
        if lines.next().is_none() {
            return Err("it does not begin as it should".into());
        }
        let mut told = Self::default();
        for line in lines.by_ref() {
            if line == END {
                return match lines.next() {
                    None => Ok(told.complete()),
                    Some(_) => Err("it goes on behind its end".into()),
                };
            }
            if told.line(line).is_none() {
                return Err(format!("a line of it has no meaning: {line}"));
            }
            if told.files.len() > MOST {
                return Err(format!("it has more than {MOST} files"));
            }
        }
        Err("it has no end".into())
    }

    /// What the script could not tell, in words.
    pub fn unseen(&self) -> &[&'static str] {
        &self.unseen
    }

    /// One fact.
    fn line(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        if kind == "u" {
            let unseen = match rest {
                "names" => "files with odd names",
                "more" => "directories beyond the first 2000 names",
                "openssl" => KEYS,
                "ssh-keygen" => "private SSH keys",
                _ => return None,
            };
            if !self.unseen.contains(&unseen) {
                self.unseen.push(unseen);
            }
            return Some(());
        }
        let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let entry = self.files.entry(plain(path)?.to_owned()).or_default();
        match kind {
            "e" => entry.about = Some(about(rest)?),
            "c" => entry.content = Some(from_base64(rest)?),
            "p" => entry.half = Some(Half::Public(from_base64(rest)?)),
            "k" if rest.is_empty() => entry.half = Some(Half::Unreadable),
            "x" if rest.is_empty() => entry.refused = true,
            _ => return None,
        }
        Some(())
    }

    /// Without openssl, certificates have no public half, and need none.
    fn complete(mut self) -> Self {
        if !self.unseen.contains(&KEYS) {
            return self;
        }
        let is_certificate = |content: &Vec<u8>| content.starts_with(b"-----BEGIN CERTIFICATE");
        for file in self.files.values_mut().filter(|file| file.half.is_none()) {
            if file.content.as_ref().is_some_and(is_certificate) {
                file.half = Some(Half::Unknown);
            }
        }
        self
    }

    fn entry(&self, path: &Path) -> Option<&Entry> {
        self.files.get(path.to_str()?)
    }
}

impl Reading for Told {
    fn read(&self, path: &Path, limit: usize) -> Content {
        match self.entry(path) {
            Some(entry) if entry.refused => {
                Content::Faulty("a link of another user, or no regular file".into())
            }
            Some(Entry {
                content: Some(content),
                ..
            }) if content.len() > limit => {
                Content::Faulty(format!("it has more than {limit} bytes"))
            }
            Some(Entry {
                content: Some(content),
                ..
            }) => Content::Good(Zeroizing::new(content.clone())),
            _ => Content::Absent,
        }
    }

    fn about(&self, path: &Path) -> Option<About> {
        self.entry(path)?.about
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inside = format!("{}/", directory.display());
        let below = self.files.range(inside.clone()..);
        let below = below.map_while(|(path, _)| path.strip_prefix(&inside));
        let mut names: Vec<String> = below
            .filter_map(|path| path.split('/').next())
            .map(str::to_owned)
            .collect();
        names.dedup();
        Ok(names)
    }

    fn half(&self, path: &Path) -> Option<&Half> {
        self.entry(path)?.half.as_ref()
    }
}

/// An absolute path without detours, of characters that need no care.
fn plain(path: &str) -> Option<&str> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._@+=:,/-".contains(c);
    let detour = |part: &str| matches!(part, "" | "." | "..");
    let inside = path.strip_prefix('/')?;
    let is_plain = path.len() <= MOST_PATH && path.chars().all(good);
    (is_plain && !inside.split('/').any(detour)).then_some(path)
}

fn about(text: &str) -> Option<About> {
    let words: Vec<&str> = text.split(' ').collect();
    let [mode, uid, gid, modified] = words[..] else {
        return None;
    };
    Some(About {
        mode: u32::from_str_radix(mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)?,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        modified: modified.parse().ok()?,
        is_directory: false,
    })
}

#[cfg(test)]
mod tests;
