//! Is `server.pem` that of the cluster? The candidates' certificates tell, for it signs them. It says
//! nothing of those that sign themselves (before Ganeti 2.12.5).

use super::finding::Finding;
use crate::config::Config;
use crate::trust::snapshot_from_files;

const ISSUER: &str = "server_pem_issuer";

/// A finding on the certificates that are known, if there are any.
pub(super) fn check(config: &Config) -> Option<Finding> {
    let (paths, settings) = (config.paths(), config.reload_settings());
    let snapshot = snapshot_from_files(paths, settings, config.access());
    let tls = snapshot.tls.as_ref()?;
    let known = snapshot.known.iter().map(|known| &known.info);
    let signed = known.filter(|info| info.issuer != info.subject);
    let (ours, others): (Vec<_>, Vec<_>) = signed.partition(|info| tls.issuer.issued(&info.der));
    judge(ours.len(), others.len())
}

/// How many are signed by the present `server.pem`, and how many by something else. Pure.
fn judge(ours: usize, others: usize) -> Option<Finding> {
    let all = ours + others;
    let text = format!("server.pem has signed {ours} of {all} known certificates of candidates");
    match (ours, others) {
        (0, 0) => None,
        (0, _) => Some(Finding::warning(
            ISSUER,
            format!(
                "{text}: this node has another server.pem than the cluster, or the cluster's was \
                 renewed and the nodes' certificates were not. Callers give up in the first case \
                 (curl: error 60): gnt-cluster copyfile -n NODE FILE on the master brings the \
                 cluster's. In the second: gnt-cluster renew-crypto --new-node-certificates"
            ),
        )),
        _ => Some(Finding::ok(ISSUER, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_server_pem_that_signed_nobody_is_odd() {
        for (ours, others, expected) in [
            (0, 0, None),
            (1, 0, Some(Verdict::Ok)),
            (1, 4, Some(Verdict::Ok)), // not all are renewed at once
            (0, 1, Some(Verdict::Warning)),
        ] {
            let found = judge(ours, others).map(|finding| finding.verdict);
            assert_eq!(found, expected, "{ours} {others}");
        }
    }
}
