//! The numbers of this node's transfers, as the textfile collector reads them. Nothing is written here.

use crate::metrics::Maker;
use crate::moves::account::{Account, Ended, Role};
use rules::Named;

/// The content of the file.
pub(super) fn text(account: &Account) -> String {
    let mut maker = Maker::default();
    let running = maker.gauges::<Role>(
        "moves_running",
        "Disk transfers of this node that run now, or wait for their peer.",
        "role",
    );
    let bytes = maker.counters::<Role>(
        "moves_bytes_total",
        "Bytes of disks that transfers of this node have passed, before compression.",
        "role",
    );
    let transfers = maker.pairs::<Role, Ended>(
        "moves_transfers_total",
        "Disk transfers of this node that have ended, by how.",
        ["role", "result"],
    );
    let last = maker.gauges::<Ended>(
        "moves_last_end_timestamp_seconds",
        "When a disk transfer of this node ended so last, in seconds since 1970; 0 if none did.",
        "result",
    );
    for role in Role::all() {
        let now = i64::try_from(account.running(role)).unwrap_or(i64::MAX);
        running.of(role).set(now);
        bytes.of(role).inc_by(account.bytes(role));
        for ended in Ended::all() {
            transfers.of(role, ended).inc_by(account.ended(role, ended));
        }
    }
    for ended in Ended::all() {
        last.of(ended).set(account.last(ended));
    }
    maker.finish_for_a_file().render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moves::account::Process;

    #[test]
    fn the_documentation_has_each_metric() {
        let text = text(&Account::default());
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let found: Vec<_> = types.filter_map(|line| line.split(' ').next()).collect();
        let docs = include_str!("../../../docs/moves.md").lines();
        let rows = docs.filter_map(|row| row.strip_prefix("| `noded_proxy_")?.split_once('`'));
        let mut told: Vec<_> = rows
            .map(|(name, _)| format!("noded_proxy_{name}"))
            .collect();
        told.sort();
        assert_eq!(found, told);
    }

    #[test]
    fn every_result_has_a_series_and_the_process_has_none() {
        let process = Process { pid: 1, began: 1 };
        let mut account = Account::default();
        account.runs(process, process, Role::Import, 1 << 40);
        account.runs(Process { pid: 2, began: 1 }, process, Role::Export, 3);
        account.ends(process, Role::Import, Ended::Whole, 1_795_000_000);
        let text = text(&account);
        for line in [
            "noded_proxy_moves_running{role=\"import\"} 0",
            "noded_proxy_moves_running{role=\"export\"} 1",
            "noded_proxy_moves_bytes_total{role=\"import\"} 1099511627776",
            "noded_proxy_moves_bytes_total{role=\"export\"} 3",
            "noded_proxy_moves_transfers_total{result=\"whole\",role=\"import\"} 1",
            "noded_proxy_moves_transfers_total{result=\"killed\",role=\"export\"} 0",
            "noded_proxy_moves_last_end_timestamp_seconds{result=\"whole\"} 1795000000",
            "noded_proxy_moves_last_end_timestamp_seconds{result=\"channel\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(!text.contains("process_"), "{text}");
    }
}
