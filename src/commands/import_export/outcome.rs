//! What is to be done and said about a transfer beside it. It changes nothing about how it ends.

use std::net::IpAddr;
use std::path::Path;

use super::group::later;
use super::status::log;
use crate::commands::moves::Leavings;
use crate::moves::account::Ended;
use crate::moves::order::{Order, Way};
use crate::moves::subject::Subject;

/// How a transfer ended: the last line of its log.
pub(super) struct Outcome {
    pub(super) import: bool,
    /// The peer, and whether it is one of this program.
    pub(super) peer: Option<(IpAddr, bool)>,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) code: i32,
    pub(super) ended: Ended,
}

impl Outcome {
    /// Of a transfer for which something was missing.
    pub(super) fn not_begun(order: &Order) -> Self {
        Self {
            import: matches!(order.way, Way::Import { .. }),
            peer: None,
            bytes: 0,
            seconds: 0.0,
            code: 1,
            ended: Ended::NotBegun,
        }
    }

    /// The line.
    pub(super) fn line(&self, of: &Subject) -> String {
        let way = if self.import { "import" } else { "export" };
        let outcome = if self.code == 0 { "whole" } else { "failed" };
        let peer = self.peer.map(|(peer, _)| peer.to_string());
        let peer = peer.as_deref().unwrap_or("nobody");
        let trailer = matches!(self.peer, Some((_, true)));
        let known = |name: &Option<String>| name.clone().unwrap_or_else(|| "unknown".into());
        let (instance, disk) = (known(&of.instance), known(&of.disk));
        let Self {
            bytes,
            seconds,
            code,
            ..
        } = self;
        let rate = *bytes as f64 / 1_048_576.0 / seconds.max(0.001);
        format!(
            "{way} {outcome}: instance={instance} disk={disk} peer={peer} bytes={bytes} \
             seconds={seconds:.1} mib_per_second={rate:.1} trailer={trailer} exit_status={code}"
        )
    }
}

/// A throw-away key is used now: it is destroyed when its move is over, also when this process is
/// killed before.
pub(super) fn clean_up_after(key: &Path) {
    let Some((leavings, name)) = Leavings::of_key(key) else {
        return;
    };
    let clean = || {
        leavings.mark(&name)?;
        let mut cleaner = later(&["moves", "clean", "--wait", "--run-dir"])?;
        cleaner.arg(leavings.run()).spawn().map(|_| ())
    };
    if let Err(error) = clean() {
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
            ended: Ended::Whole,
        };
        let of = Subject {
            instance: Some("web1.example.com".into()),
            disk: None,
        };
        let line = "import whole: instance=web1.example.com disk=unknown peer=192.0.2.7 \
                    bytes=104857600 seconds=2.0 mib_per_second=50.0 trailer=true exit_status=0";
        assert_eq!(outcome.line(&of), line);
    }
}
