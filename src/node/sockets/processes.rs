//! The process behind a listening socket. It only reads `/proc`.

use std::fs;

use super::listener::Listener;

/// The process that listens on a port: `NAME (pid N)`. Only root sees those of other users.
pub(crate) fn holder(listeners: &[Listener], port: u16) -> Option<String> {
    let wanted: Vec<String> = listeners
        .iter()
        .filter(|listener| listener.address.port() == port)
        .map(|listener| format!("socket:[{}]", listener.inode))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| !wanted.is_empty() && holds(*pid, &wanted))
        .map(|pid| format!("{} (pid {pid})", name(pid)))
}

fn holds(pid: u32, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .filter_map(Result::ok)
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| {
            wanted
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
}

/// The name of a process. For Ganeti's daemons, which Python runs, it is the name of the script.
fn name(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ganeti = |word: &[u8]| {
        let word = String::from_utf8_lossy(word).into_owned();
        let base = word.rsplit('/').next().unwrap_or_default().to_owned();
        base.starts_with("ganeti-").then_some(base)
    };
    let script = line.split(|b| *b == 0).take(3).find_map(ganeti);
    script.unwrap_or_else(|| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim().to_owned()
    })
}
