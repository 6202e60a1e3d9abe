//! Candidate certificates from files: a directory of PEM files and a PEM bundle.
//!
//! A file may also hold a private key: it is never kept, only certificates are. A file that cannot
//! be read is a fault of its own, and the other files still count.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::Fault;
use super::known::{KnownCertificate, Source};
use crate::node::files::{self, FileContent, Stamp};
use crate::node::flaw::Flaw;
use crate::tls::{CredentialsError, bundle};

/// Largest file that is read, in bytes.
pub(crate) const MAX_PEM: usize = 16 << 20;

/// Most flaws of one file that are named.
const MOST_NAMED: usize = 8;

/// Most files of the directory that are read.
const MOST_FILES: usize = 4096;

/// Where the administrator put candidate certificates.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Directory of PEM files (`candidate_certs`).
    pub directory: Option<PathBuf>,
    /// PEM bundle (`candidate_bundle`).
    pub bundle: Option<PathBuf>,
}

/// The certificates in the files. They are read again only when a file has changed.
#[derive(Debug, Default)]
pub(super) struct Files {
    stamps: Option<Vec<(PathBuf, Option<Stamp>)>>,
    certificates: Vec<Arc<KnownCertificate>>,
    faults: Vec<Fault>,
}

impl Sources {
    /// The files there are now, with their stamps.
    pub(super) fn stamps(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        let directory = self.directory.as_deref().map(certificate_files);
        let directory = directory.and_then(Result::ok).unwrap_or_default();
        let paths = directory
            .into_iter()
            .chain(self.directory.clone())
            .chain(self.bundle.clone());
        paths
            .map(|path| {
                let stamp = Stamp::of(&path);
                (path, stamp)
            })
            .collect()
    }
}

impl Files {
    /// The certificates in the files; what is wrong with them is added to `faults`. While a file is
    /// being written (`is_held`), these are the same as before.
    pub(super) fn read(
        &mut self,
        sources: &Sources,
        is_held: bool,
        faults: &mut Vec<Fault>,
    ) -> &[Arc<KnownCertificate>] {
        let stamps = sources.stamps();
        let is_new = self.stamps.as_ref() != Some(&stamps) || !self.faults.is_empty();
        if is_new && !(is_held && self.stamps.is_some()) {
            self.certificates.clear();
            self.faults.clear();
            if let Some(directory) = &sources.directory {
                match certificate_files(directory) {
                    Ok(paths) => {
                        for path in paths {
                            self.add(&path, Source::Directory);
                        }
                    }
                    Err(error) => self.faults.push(unread(directory, &error)),
                }
            }
            if let Some(bundle) = &sources.bundle {
                self.add(bundle, Source::Bundle);
            }
            self.stamps = Some(stamps);
        }
        faults.extend(self.faults.iter().cloned());
        &self.certificates
    }

    fn add(&mut self, path: &Path, source: Source) {
        let flaws = match files::read(path, MAX_PEM) {
            FileContent::Content(pem) => self.add_all(path, &pem, source),
            FileContent::Absent => vec![Flaw::Absent],
            FileContent::TooLarge => vec![Flaw::TooLarge { limit: MAX_PEM }],
            FileContent::Unreadable(why) => vec![Flaw::Unreadable { why }],
        };
        let fault = |flaw| Fault::CandidateCertificates {
            path: path.to_owned(),
            flaw,
        };
        self.faults
            .extend(flaws.into_iter().take(MOST_NAMED).map(fault));
    }

    /// Adds the certificates of one file. One that is of no use voids itself alone.
    fn add_all(&mut self, path: &Path, pem: &[u8], source: Source) -> Vec<Flaw> {
        let since = fs::metadata(path).and_then(|data| data.modified()).ok();
        let all = bundle(pem);
        if all.is_empty() {
            return vec![Flaw::malformed(CredentialsError::NoCertificate)];
        }
        let mut flaws = Vec::new();
        for (at, bundled) in all.into_iter().enumerate() {
            match bundled.certificate {
                Ok(info) => self.certificates.push(Arc::new(KnownCertificate {
                    info,
                    source,
                    since,
                })),
                Err(why) => {
                    let why = format!("certificate {} is left out: {why}", at + 1);
                    flaws.push(Flaw::at_line(bundled.line, why));
                }
            }
        }
        flaws
    }
}

/// A directory that cannot be listed: it is none, or out of reach.
fn unread(directory: &Path, error: &io::Error) -> Fault {
    let path = directory.to_owned();
    match directory.is_dir() {
        false => Fault::CandidateDirectory { path },
        true => Fault::CandidateCertificates {
            path,
            flaw: Flaw::Unreadable {
                why: error.to_string(),
            },
        },
    }
}

/// The regular files of a directory, sorted by name. It leaves out hidden files and those that are
/// being written (`.new`, `.tmp`, `~`).
pub(crate) fn certificate_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && is_meant(path))
        .collect();
    paths.sort();
    paths.truncate(MOST_FILES);
    Ok(paths)
}

fn is_meant(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let unfinished = |name: &str| [".new", ".tmp", "~"].iter().any(|end| name.ends_with(end));
    name.is_some_and(|name| !name.starts_with('.') && !unfinished(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint::{CertificateBuilder, common_name, p256_key};

    #[test]
    fn a_bad_file_is_a_fault_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources {
            directory: Some(dir.path().to_owned()),
            bundle: Some(dir.path().join("none/bundle.pem")),
        };
        fs::write(dir.path().join("bad.pem"), "not a certificate").unwrap();
        fs::write(dir.path().join(".hidden"), "x").unwrap();
        fs::write(dir.path().join("half.pem.new"), "x").unwrap();
        let (mut files, mut faults) = (Files::default(), Vec::new());
        assert!(files.read(&sources, false, &mut faults).is_empty());
        assert_eq!(faults.len(), 2, "{faults:?}");
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(texts[0].contains("bad.pem") && texts[1].contains("bundle.pem"));
        fs::remove_file(dir.path().join("bad.pem")).unwrap();
        faults.clear();
        files.read(&sources, false, &mut faults);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn a_bad_certificate_voids_itself_and_a_file_that_is_being_written_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle.pem");
        let sources = Sources {
            directory: None,
            bundle: Some(path.clone()),
        };
        let name = common_name("node1").unwrap();
        let minted = CertificateBuilder::new(name, p256_key().unwrap()).mint();
        let good = minted.unwrap().certificate.to_pem().unwrap();
        let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let mut files = Files::default();
        let mut read = |held| {
            let mut faults = Vec::new();
            let found = files.read(&sources, held, &mut faults).len();
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            (found, faults.join("\n"))
        };
        fs::write(&path, [&good[..], bad, &good].concat()).unwrap();
        let (found, fault) = read(false);
        assert_eq!(found, 2);
        let line = good.split(|byte| *byte == b'\n').count();
        let expected = format!("line {line}: certificate 2 is left out");
        assert!(fault.contains(&expected), "{fault}");
        fs::write(&path, "").unwrap();
        assert_eq!(read(true).0, 2, "held");
        assert_eq!(read(false).0, 0);
    }
}
