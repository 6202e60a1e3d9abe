//! `noded-proxy certs accept`: takes the candidates' certificates that the master hands over on
//! standard input, and keeps those that this node's own candidate map lists.
//!
//! Whatever comes in, only certificates are written, each under its digest; a key never is. Files of
//! other names in the directory are the administrator's, and are left alone.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::commands::certs_args::AcceptArgs;
use crate::commands::exit;
use crate::config::Config;
use crate::daemon::report::words::count;
use crate::node::files::{FileContent, read};
use crate::tls::{bundle, pem};
use rules::candidates::{CandidateMap, MAX_BYTES, MapFile, parse};
use rules::identity::Digest;

/// Most bytes that are taken.
const MOST: usize = 16 << 20;

/// What is to be done in the directory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    write: Vec<(String, Vec<u8>)>,
    remove: Vec<String>,
    /// Certificates that the map does not list.
    unlisted: usize,
    /// Digests of the map whose certificate is neither there nor offered.
    missing: usize,
}

/// Exit status 0 when each candidate's certificate is there then, 1 otherwise, 64 wrong
/// configuration.
pub fn main(args: &AcceptArgs) -> ExitCode {
    let config = match Config::load(&args.file, &[]) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    match accept(&config, io::stdin().lock()) {
        Ok((told, is_complete)) => {
            outln!("{told}");
            match is_complete {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(why) => {
            errln!("noded-proxy: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What was done, and whether each candidate's certificate is there.
fn accept(config: &Config, input: impl Read) -> Result<(String, bool), String> {
    let directory = directory(config)?;
    let map = listed(config)?;
    let mut offered = Vec::new();
    let taken = input.take(MOST as u64 + 1).read_to_end(&mut offered);
    taken.map_err(|error| format!("standard input: {error}"))?;
    if offered.len() > MOST {
        return Err(format!("standard input: more than {MOST} bytes"));
    }
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    let have = own_files(&directory).map_err(failed)?;
    let changes = changes(&offered, &map, &have);
    for (name, content) in &changes.write {
        write(&directory, name, content).map_err(failed)?;
    }
    for name in &changes.remove {
        fs::remove_file(directory.join(name)).map_err(failed)?;
    }
    let Changes {
        unlisted, missing, ..
    } = changes;
    let mut told = format!(
        "{}: {} new, {} removed",
        count(map.entries() - missing, "certificate"),
        changes.write.len(),
        changes.remove.len()
    );
    for (number, what) in [
        (unlisted, "not in this node's candidate map"),
        (missing, "of the map missing"),
    ] {
        if number > 0 {
            told += &format!(", {number} {what}");
        }
    }
    Ok((told, missing == 0 && unlisted == 0))
}

/// The directory of `candidate_certs`.
pub(super) fn directory(config: &Config) -> Result<PathBuf, String> {
    let unset = "candidate_certs is not set in the configuration: `noded-proxy install \
                 --candidate-certs DIR --apply` sets it";
    config.candidate_certs.clone().ok_or_else(|| unset.into())
}

/// The candidate map as it is on disk.
pub(super) fn listed(config: &Config) -> Result<CandidateMap, String> {
    let path = config.map_path();
    let map = match read(&path, MAX_BYTES) {
        FileContent::Content(text) => parse(&text),
        FileContent::Absent => MapFile::Absent,
        FileContent::TooLarge => MapFile::TooLarge,
        FileContent::Unreadable(why) => MapFile::Unreadable(why),
    };
    match map {
        MapFile::Listed(map) => Ok(map),
        other => Err(format!("{}: {other}", path.display())),
    }
}

/// Whether the directory has the certificate of each candidate, and of no other.
pub(super) fn is_complete(directory: &Path, map: &CandidateMap) -> bool {
    let nothing = |have| changes(b"", map, &have) == Changes::default();
    own_files(directory).is_ok_and(nothing)
}

/// The certificates of the map that are in the directory already.
pub(super) fn kept(directory: &Path, map: &CandidateMap) -> BTreeMap<Digest, Vec<u8>> {
    let have = own_files(directory).unwrap_or_default();
    have.values().flat_map(|text| verified(text, map)).collect()
}

/// The certificates in PEM text that the map lists.
pub(super) fn verified(text: &[u8], map: &CandidateMap) -> BTreeMap<Digest, Vec<u8>> {
    let all = bundle(text).into_iter();
    let good = all.filter_map(|one| one.certificate.ok());
    let listed = good.filter(|info| map.contains(&info.digest));
    listed
        .filter_map(|info| Some((info.digest, pem(&info.der).ok()?)))
        .collect()
}

fn changes(offered: &[u8], map: &CandidateMap, have: &BTreeMap<String, Vec<u8>>) -> Changes {
    let verified = verified(offered, map);
    let kept = |name: &String| {
        let mut good = map.iter().filter(|(_, digest)| *name == file_name(digest));
        let content = have.get(name).map(Vec::as_slice).unwrap_or_default();
        good.any(|(_, digest)| self::verified(content, map).keys().eq([&digest]))
    };
    let named = verified
        .iter()
        .map(|(digest, text)| (file_name(digest), text));
    let write = named.filter(|(name, text)| have.get(name) != Some(text));
    let there = |digest: &Digest| verified.contains_key(digest) || kept(&file_name(digest));
    let is_listed = |name: &String| map.iter().any(|(_, digest)| *name == file_name(&digest));
    Changes {
        write: write.map(|(name, text)| (name, text.clone())).collect(),
        remove: have.keys().filter(|n| !is_listed(n)).cloned().collect(),
        unlisted: bundle(offered).len().saturating_sub(verified.len()),
        missing: map.iter().filter(|(_, digest)| !there(digest)).count(),
    }
}

fn file_name(digest: &Digest) -> String {
    format!("{}.pem", digest.to_string().replace(':', ""))
}

/// Whether a file has a name as this command gives it.
fn is_own(name: &str) -> bool {
    let stem = name.strip_suffix(".pem").unwrap_or_default();
    stem.len() == 40 && stem.bytes().all(|b| b"0123456789ABCDEF".contains(&b))
}

fn own_files(directory: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let names = fs::read_dir(directory)?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let content = |name: &str| match read(&directory.join(name), MOST) {
        FileContent::Content(text) => text.to_vec(),
        _ => Vec::new(),
    };
    let own = names.filter(|name| is_own(name));
    Ok(own
        .map(|name| {
            let text = content(&name);
            (name, text)
        })
        .collect())
}

/// Whole or not at all; hidden until then, as the proxy wants it.
fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut new = tempfile::Builder::new()
        .prefix(".noded-proxy-")
        .tempfile_in(directory)?;
    new.write_all(content)?;
    new.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    new.as_file().sync_all()?;
    new.persist(directory.join(name))?;
    Ok(())
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
