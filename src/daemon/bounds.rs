//! How many connections fit into the limit on open files. It never raises that limit.

use tracing::warn;

use crate::config::Config;
use crate::daemon::admin::CONNECTIONS;
use crate::proxy::overload::Bounds;

/// Files that are open beside connections: admin clients; listeners, watches, runtime, log.
const OTHER_FILES: usize = 2 * CONNECTIONS + 64;

/// The bounds on connections for a process that may open `files` files: what was asked for, or
/// less.
pub(super) fn fitting(config: &Config, files: u64) -> Bounds {
    let asked = config.bounds();
    let bounds = lowered(asked, files, config.upstream.max_clients);
    if bounds != asked {
        warn!(
            connections = bounds.connections,
            configured = asked.connections,
            files,
            "limits.connections is lowered to what the limit on open files allows (LimitNOFILE=)"
        );
    }
    bounds
}

/// A connection that is accepted and cannot be served for lack of files helps nobody.
fn lowered(asked: Bounds, files: u64, upstream: usize) -> Bounds {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let left = files.saturating_sub(upstream + OTHER_FILES).max(files / 4);
    let connections = asked.connections.min(left).max(1);
    match connections < asked.connections {
        true => Bounds {
            connections,
            reserved: asked.reserved.min(connections / 4),
            ..asked
        },
        false => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        let asked = Config::default().bounds();
        for (files, connections, reserved) in [
            (u64::MAX, 4096, 64),
            (65_536, 4096, 64),
            (1024, 876, 64),
            (64, 16, 4),
            (1, 1, 0),
        ] {
            let bounds = lowered(asked, files, 20);
            let found = (bounds.connections, bounds.reserved);
            assert_eq!(found, (connections, reserved), "{files}");
        }
    }
}
