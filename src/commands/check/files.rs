//! Reads the files, and puts what was found before the judges. It never writes one.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::arguments;
use super::certificates::{self, Pem, Role};
use super::finding::Finding;
use super::loopback;
use super::map::{self, Map};
use super::ssconf::Lists;
use crate::config::Config;
use crate::daemon::report::words::count;
use crate::node::directory::Directory;
use crate::node::files::{FileContent, read};
use crate::node::sockets::unprivileged_ports;
use crate::tls::{Credentials, CredentialsError, bundle};
use crate::trust::{MAX_PEM, Remembered, State, certificate_files};
use rules::candidates::{MAX_BYTES, MapFile, parse};

/// Largest PEM or ssconf file that is read, in bytes.
const MOST: usize = 1 << 20;

/// What the files say.
pub(super) struct Files {
    pub(super) server_credentials: Option<Credentials>,
    server: Pem,
    client_path: PathBuf,
    client: Pem,
    client_signed: bool,
    map: Map,
    role: Role,
    candidates: Option<Vec<String>>,
    lists: Lists,
    offline: Option<Finding>,
    state_file: PathBuf,
    remembered: Remembered,
    state_dir: Finding,
    candidate_certs: Option<Finding>,
    candidate_bundle: Option<Finding>,
    /// What Ganeti's data directories hold of an old cluster.
    leftover: Option<PathBuf>,
    defaults_path: PathBuf,
    defaults: Result<String, String>,
    unprivileged: u16,
}

impl Files {
    pub(super) fn read(config: &Config, defaults: &Path) -> Self {
        let profile = config.reload_settings().profile;
        let serves = |server: &Credentials| server.can_serve(profile);
        let (server, server_credentials) = pem(&config.server_pem, serves);
        let client_path = config.server_pem.with_file_name("client.pem");
        let (client, client_credentials) = pem(&client_path, |_| Ok(()));
        let client_signed = match (&client_credentials, &server_credentials) {
            (Some(client), Some(server)) => client.signed_by(server),
            _ => false,
        };
        let list = |key: &str| lines(&config.ssconf_dir.join(key));
        let candidates = list("ssconf_master_candidates");
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let nodes = list("ssconf_node_list");
        let map = candidate_map(&config.map_path());
        let mut state = State::new(&config.state_dir);
        Self {
            server_credentials,
            server,
            client_path,
            client,
            client_signed,
            role: certificates::role(&host, nodes.as_deref(), candidates.as_deref()),
            candidates,
            lists: Lists::read(&config.ssconf_dir),
            offline: Lists::offline(&host, list("ssconf_offline_nodes").as_deref()),
            remembered: state.load(),
            state_file: state.map_path(),
            state_dir: state_dir(&config.state_dir),
            candidate_certs: config
                .candidate_certs
                .as_deref()
                .map(|d| candidate_certs(d, &map)),
            candidate_bundle: config
                .candidate_bundle
                .as_deref()
                .map(|file| candidate_bundle(file, &map)),
            map,
            leftover: leftover(&config.ssconf_dir),
            defaults_path: defaults.to_owned(),
            defaults: text(defaults),
            unprivileged: unprivileged_ports().unwrap_or(1024),
        }
    }

    pub(super) fn judge(&self, config: &Config, now: i64) -> Vec<Finding> {
        let bootstrap = config.admission.bootstrap;
        let map_file = &self.map.file;
        let mut findings =
            certificates::server(&config.server_pem, &self.server, config.tls.legacy, now);
        let candidates = self.candidates.as_ref().map(Vec::len);
        if self.server == Pem::Absent {
            findings.extend(self.leftover.as_deref().map(certificates::leftover));
        } else {
            findings.extend(map::file(&config.map_path(), &self.map, candidates));
            findings.extend(self.lists.judge(config));
            findings.extend(self.offline.clone());
        }
        let remembered = &self.remembered;
        let (state, server) = (&self.state_file, &self.server);
        findings.extend(map::admission(
            state,
            map_file,
            server,
            remembered,
            bootstrap,
            config.admission.mode,
        ));
        findings.push(self.state_dir.clone());
        if let Some(server) = self.server.info() {
            let (path, client) = (&self.client_path, &self.client);
            let signed = self.client_signed;
            findings.extend(certificates::client(path, client, server, signed, now));
            findings.extend(map::own_entry(path, client, &self.map, &self.role));
        }
        findings.extend(self.candidate_certs.clone());
        findings.extend(self.candidate_bundle.clone());
        let defaults = self.defaults.as_deref().map_err(|why| &**why);
        findings.extend(arguments::check(
            &self.defaults_path,
            defaults,
            &config.upstream,
        ));
        findings.push(loopback::port(&config.upstream, self.unprivileged));
        findings
    }
}

/// A file that makes `gnt-cluster init` refuse (`lib/bootstrap.py`, `InitCluster`).
fn leftover(data_dir: &Path) -> Option<PathBuf> {
    let directories = ["", "queue", "queue/archive"].map(|name| data_dir.join(name));
    let entries = directories
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| !path.is_dir()).min()
}

/// A file with a key and its certificate, of which `is_good` says more.
fn pem(
    path: &Path,
    is_good: impl Fn(&Credentials) -> Result<(), CredentialsError>,
) -> (Pem, Option<Credentials>) {
    let content = match read(path, MOST) {
        FileContent::Absent => return (Pem::Absent, None),
        FileContent::TooLarge => return (Pem::Faulty(format!("more than {MOST} bytes")), None),
        FileContent::Unreadable(why) => {
            return (Pem::Faulty(format!("cannot be read: {why}")), None);
        }
        FileContent::Content(content) => content,
    };
    let good = Credentials::from_pem(&content).and_then(|good| is_good(&good).map(|()| good));
    match good {
        Ok(good) => (
            Pem::Good(Box::new(good.info()), mode(path).unwrap_or(0)),
            Some(good),
        ),
        Err(error) => (Pem::Faulty(error.to_string()), None),
    }
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path)
        .ok()
        .map(|metadata| metadata.permissions().mode())
}

fn candidate_map(path: &Path) -> Map {
    match read(path, MAX_BYTES) {
        FileContent::Absent => Map::new(MapFile::Absent, b"", None),
        FileContent::TooLarge => Map::new(MapFile::TooLarge, b"", mode(path)),
        FileContent::Unreadable(why) => Map::new(MapFile::Unreadable(why), b"", mode(path)),
        FileContent::Content(text) => Map::new(parse(&text), &text, mode(path)),
    }
}

fn text(path: &Path) -> Result<String, String> {
    match read(path, MOST) {
        FileContent::Absent => Err("absent".into()),
        FileContent::TooLarge => Err(format!("more than {MOST} bytes")),
        FileContent::Unreadable(why) => Err(format!("cannot be read: {why}")),
        FileContent::Content(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
    }
}

/// The lines of an ssconf file, `None` when it cannot be read.
fn lines(path: &Path) -> Option<Vec<String>> {
    let text = text(path).ok()?;
    Some(
        text.lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

fn state_dir(path: &Path) -> Finding {
    let (id, name) = ("state_dir", format!("state_dir = {}", path.display()));
    let lost = "the last good candidate map would not outlive the process";
    let user = rustix::process::getuid().as_raw();
    let usual = path == Config::default().state_dir;
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && usual => Finding::warning(
            id,
            format!("{name}: absent: {lost}; the systemd unit makes it"),
        ),
        Err(error) => Finding::error(
            id,
            format!("{name}: {error}: {lost}: mkdir it for the proxy's user"),
        ),
        Ok(found) if !found.is_dir() => {
            Finding::error(id, format!("{name}: not a directory: {lost}"))
        }
        Ok(_) => match Directory::open(path).and_then(|directory| directory.try_write()) {
            Ok(()) => Finding::ok(id, format!("{name}: writable for uid {user}")),
            Err(error) => {
                let todo = match error.kind() {
                    ErrorKind::PermissionDenied => "run as the proxy's user, or chown it to him",
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room",
                    ErrorKind::ReadOnlyFilesystem => "mount it to be written",
                    _ => "repair its file system",
                };
                let text = format!("{name}: uid {user} cannot write there ({error})");
                Finding::error(id, format!("{text}: {lost}: {todo}"))
            }
        },
    }
}

fn candidate_certs(dir: &Path, map: &Map) -> Finding {
    let (id, name) = (
        "candidate_certs",
        format!("candidate_certs = {}", dir.display()),
    );
    // Those that the proxy reads: others are not of no use, but somebody else's.
    let paths = match certificate_files(dir) {
        Ok(paths) => paths,
        Err(error) => {
            let todo = "mkdir it, or remove the key; then systemctl reload noded-proxy: a running \
                        one's sandbox does not know a new directory";
            return Finding::error(id, format!("{name}: {error}: {todo}"));
        }
    };
    let mut tally = Tally::default();
    for path in paths {
        tally.add(&path, map);
    }
    tally.finding(id, &name)
}

fn candidate_bundle(file: &Path, map: &Map) -> Finding {
    let (id, name) = (
        "candidate_bundle",
        format!("candidate_bundle = {}", file.display()),
    );
    if let Err(error) = fs::metadata(file) {
        let todo = "create it, or remove the key; if its directory is new: systemctl reload \
                    noded-proxy";
        return Finding::error(id, format!("{name}: {error}: {todo}"));
    }
    let mut tally = Tally::default();
    tally.add(file, map);
    tally.finding(id, &name)
}

/// What PEM files with candidates' certificates hold.
#[derive(Default)]
struct Tally {
    listed: usize,
    unlisted: usize,
    faulty: Vec<String>,
}

impl Tally {
    fn add(&mut self, path: &Path, map: &Map) {
        let mut faulty = |why: String| self.faulty.push(format!("{}: {why}", path.display()));
        let all = match read(path, MAX_PEM) {
            FileContent::Content(content) => bundle(&content),
            FileContent::Unreadable(why) => return faulty(why),
            FileContent::Absent => return, // gone in between
            FileContent::TooLarge => return faulty(format!("more than {MAX_PEM} bytes")),
        };
        if all.is_empty() {
            faulty(CredentialsError::NoCertificate.to_string());
        }
        for one in all {
            match (one.certificate, &map.file) {
                (Ok(info), MapFile::Listed(map)) if map.contains(&info.digest) => self.listed += 1,
                (Ok(_), _) => self.unlisted += 1,
                (Err(why), _) => faulty(format!("line {}: {why}", one.line)),
            }
        }
    }

    fn finding(&self, id: &'static str, name: &str) -> Finding {
        let (listed, unlisted) = (self.listed, self.unlisted);
        let listed = count(listed, "certificate");
        let text = format!(
            "{name}: {listed} of the candidate map, {}",
            count(unlisted, "other")
        );
        match self.faulty.first() {
            None => Finding::ok(id, text),
            Some(first) => Finding::warning(
                id,
                format!("{text}, {} of no use ({first})", self.faulty.len()),
            ),
        }
    }
}
