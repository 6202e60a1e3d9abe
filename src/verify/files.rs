//! Modes and owners of the files that matter, with the names of users and groups. It judges nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::look::Look;
use super::places::Places;
use rules::verify::observed::{File, Owner, Purpose, Ssh};

/// Largest list of users or groups that is read.
const MOST: usize = 4 << 20;
/// Hooks and certificates of moves that are looked at.
const MOST_ENTRIES: usize = 1000;
/// What the proxy and its guard believe.
const OF_THE_PROXY: [&str; 3] = [
    "/etc/noded-proxy",
    "/etc/noded-proxy/noded-proxy.toml",
    "/etc/noded-proxy/noded-proxy-guard.nft",
];
/// Ganeti's own users and groups begin so.
const OF_GANETI: &str = "gnt-";

/// All files that are there.
pub(super) fn read(look: &Look<'_>, places: &Places, ssh: &Ssh) -> Vec<File> {
    let users = Names::of(
        look,
        "/etc/passwd",
        look.tree.recorder().map(|(uid, _)| uid),
    );
    let groups = Names::of(look, "/etc/group", look.tree.recorder().map(|(_, gid)| gid));
    let mut all = of_ganeti(look, places);
    all.extend(of_root(ssh));
    all.extend(OF_THE_PROXY.map(|path| (PathBuf::from(path), Purpose::Trusted)));
    all.extend(host_keys(look));
    all.extend(hooks(look));
    all.extend(moves(look));
    all.extend(transfers(look));
    let found = all.into_iter().filter_map(|(path, purpose)| {
        let about = look.tree.about(&path)?;
        Some(File {
            path: path.display().to_string(),
            purpose,
            mode: about.mode,
            owner: users.owner(about.uid),
            group: groups.owner(about.gid),
            modified: about.modified,
        })
    });
    found.collect()
}

fn of_ganeti(look: &Look<'_>, places: &Places) -> Vec<(PathBuf, Purpose)> {
    let data = &places.data;
    let pem = places.server_pem.parent().unwrap_or(data);
    let mut all = vec![
        (data.clone(), Purpose::Trusted),
        (places.map.clone(), Purpose::Trusted),
        (places.server_pem.clone(), Purpose::Secret),
        (pem.join("client.pem"), Purpose::Secret),
        (data.join("rapi/users"), Purpose::RapiUsers),
    ];
    let names = look.names(data).into_iter();
    all.extend(names.filter_map(|name| Some((data.join(&name), of_name(&name)?))));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup_by(|a, b| a.0 == b.0);
    all
}

/// What a file in Ganeti's data directory is there for.
fn of_name(name: &str) -> Option<Purpose> {
    let backup_of = |of: &str| {
        name.strip_prefix(of)
            .is_some_and(|n| n.starts_with(".backup-"))
    };
    match name {
        "server.pem" | "client.pem" | "hmac.key" | "cluster-domain-secret" | "spice.pem" => {
            Some(Purpose::Secret)
        }
        "tempres.data" => Some(Purpose::Secret), // of DRBD devices that are being made
        "locks.data" => Some(Purpose::Trusted),
        "rapi.pem" => Some(Purpose::RapiKey),
        "config.data" => Some(Purpose::Configuration),
        "known_hosts" | "ganeti_pub_keys" | "spice-ca.pem" | "rapi" => Some(Purpose::Trusted),
        _ if name.starts_with("ssconf_") => Some(Purpose::Trusted),
        _ if backup_of("config.data") => Some(Purpose::ConfigurationBackup),
        _ if backup_of("client.pem") => Some(Purpose::ClientBackup),
        _ if backup_of("server.pem") || backup_of("rapi.pem") => Some(Purpose::Secret),
        _ => None,
    }
}

fn of_root(ssh: &Ssh) -> Vec<(PathBuf, Purpose)> {
    let directory = PathBuf::from(&ssh.directory);
    let home = directory.parent().map(Path::to_owned).unwrap_or_default();
    let authorized = ssh.authorized.iter().map(|file| PathBuf::from(&file.path));
    let trusted = [home, directory].into_iter().chain(authorized);
    let private = ssh.key_files.iter().filter(|file| file.private);
    let private = private.map(|file| (PathBuf::from(&file.path), Purpose::RootKey));
    trusted
        .map(|path| (path, Purpose::Trusted))
        .chain(private)
        .collect()
}

/// The keys by which this host is known: Ganeti has the same RSA and ECDSA ones on all nodes.
fn host_keys(look: &Look<'_>) -> Vec<(PathBuf, Purpose)> {
    let top = Path::new("/etc/ssh");
    let names = look.names(top).into_iter();
    let keys = names.filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key"));
    let keys = keys.take(MOST_ENTRIES).map(|name| top.join(name));
    keys.map(|path| (path, Purpose::RootKey)).collect()
}

/// Ganeti's hooks, which noded runs as root.
fn hooks(look: &Look<'_>) -> Vec<(PathBuf, Purpose)> {
    let mut all = Vec::new();
    // That of Ganeti's packages, and that of an upstream Ganeti.
    for top in ["/etc/ganeti/hooks", "/usr/local/etc/ganeti/hooks"].map(PathBuf::from) {
        for name in look.names(&top).into_iter().take(MOST_ENTRIES) {
            let directory = top.join(name);
            let hooks = look.names(&directory).into_iter().take(MOST_ENTRIES);
            all.extend(hooks.map(|hook| directory.join(hook)));
            all.push(directory);
        }
        all.push(top);
    }
    all.into_iter()
        .map(|path| (path, Purpose::Trusted))
        .collect()
}

/// What moves between clusters leave behind.
fn moves(look: &Look<'_>) -> Vec<(PathBuf, Purpose)> {
    let top = Path::new("/run/ganeti/crypto");
    let names = look.names(top).into_iter();
    let left = names
        .filter(|name| name.starts_with("x509-"))
        .take(MOST_ENTRIES);
    let keys = left.map(|name| top.join(name).join("key"));
    keys.map(|path| (path, Purpose::MoveCertificate)).collect()
}

/// Where the disk transfers of this node have their status.
fn transfers(look: &Look<'_>) -> Vec<(PathBuf, Purpose)> {
    let top = Path::new("/run/ganeti/import-export");
    let names = look.names(top).into_iter().take(MOST_ENTRIES);
    let all = names.map(|name| top.join(name));
    all.map(|path| (path, Purpose::MoveTransfer)).collect()
}

/// Names of users or groups by number, and whose a recorded tree is.
struct Names {
    names: HashMap<u32, String>,
    recorder: Option<u32>,
}

impl Names {
    /// From a file such as `/etc/passwd`: `NAME:PASSWORD:NUMBER:...` on each line.
    fn of(look: &Look<'_>, path: &str, recorder: Option<u32>) -> Self {
        let content = look.bytes(Path::new(path), MOST);
        let text = content
            .good()
            .map(|text| String::from_utf8_lossy(text).into_owned());
        let text = text.unwrap_or_default();
        let names = text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
        });
        let names = names.collect();
        Self { names, recorder }
    }

    fn owner(&self, id: u32) -> Owner {
        let name = self.names.get(&id).cloned();
        let of_ganeti = name
            .as_ref()
            .is_some_and(|name| name.starts_with(OF_GANETI));
        Owner {
            id,
            trusted: id == 0 || of_ganeti || self.recorder == Some(id),
            name,
        }
    }
}
