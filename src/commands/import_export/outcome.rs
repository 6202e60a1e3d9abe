//! What is left to do and to say when a transfer has ended. It changes nothing about how it ended.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use super::group::clean_later;
use super::status::log;
use crate::commands::moves::Leavings;

/// How a transfer ended: the last line of its log.
pub(super) struct Outcome {
    pub(super) import: bool,
    /// The peer, and whether it is one of this program.
    pub(super) peer: Option<(IpAddr, bool)>,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) code: i32,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.import { "import" } else { "export" };
        let outcome = if self.code == 0 { "whole" } else { "failed" };
        let peer = self.peer.map(|(peer, _)| peer.to_string());
        let peer = peer.as_deref().unwrap_or("nobody");
        let trailer = matches!(self.peer, Some((_, true)));
        let Self {
            bytes,
            seconds,
            code,
            ..
        } = self;
        let rate = *bytes as f64 / 1_048_576.0 / seconds.max(0.001);
        write!(
            f,
            "{way} {outcome}: peer={peer} bytes={bytes} seconds={seconds:.1} \
             mib_per_second={rate:.1} trailer={trailer} exit_status={code}"
        )
    }
}

/// A throw-away key was used until now: it is destroyed when its move is over.
pub(super) fn clean_up_after(key: &Path) {
    let Some((leavings, name)) = Leavings::of_key(key) else {
        return;
    };
    let marked = leavings.mark(&name);
    if let Err(error) = marked.and_then(|()| clean_later(leavings.run())) {
        log(&format!("the key {name} stays: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line() {
        let outcome = Outcome {
            import: true,
            peer: Some(([192, 0, 2, 7].into(), true)),
            bytes: 104_857_600,
            seconds: 2.0,
            code: 0,
        };
        let line = "import whole: peer=192.0.2.7 bytes=104857600 seconds=2.0 mib_per_second=50.0 \
                    trailer=true exit_status=0";
        assert_eq!(outcome.to_string(), line);
    }
}
