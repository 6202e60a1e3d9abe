//! What the running proxy of this node says, and what is seen beside it. It changes nothing.

use crate::commands::admin_client;
use crate::commands::check;
use crate::commands::hook;
use crate::commands::install::nodeds::alone;
use crate::config::Config;
use crate::daemon::report::{Degraded, Kind, Report};
use rules::Named;
use rules::authz::Mode;
use rules::verify::observed::Proxy;

/// Asks the proxy, and tries noded's port from outside of it.
pub(super) fn ask(config: &Config) -> Proxy {
    let asked = admin_client::get(&config.admin_to_ask(), &config.state_dir, "/status");
    let answer = asked.and_then(|answer| answer.read::<Report>());
    let seen = check::past_the_proxy(config);
    let told: Vec<Kind> = answer
        .iter()
        .flat_map(|report| report.health.kinds())
        .collect();
    let mut proxy = match &answer {
        Ok(report) => of_report(report),
        Err(error) => Proxy {
            down: Some(error.to_string()),
            unused: config.listen.iter().any(|at| alone(at.port()).is_ok()),
            ..Proxy::default()
        },
    };
    for found in hook::unsaid(&told, &seen) {
        let message = found.message.clone();
        match hook::kind(found.id) {
            Some(kind) => proxy.faults.push((kind.name().into(), message)),
            None => proxy.past.push(message),
        }
    }
    proxy
}

fn of_report(report: &Report) -> Proxy {
    let faults = report.health.faults.iter();
    let told = |fault: &Degraded| (fault.kind().name().to_owned(), fault.to_string());
    let shared = report.certificates_used_by_another_node.iter();
    let nodes = shared.map(|one| {
        let nodes = one.seen.nodes.iter().map(|node| node.to_string());
        (one.digest, nodes.collect())
    });
    Proxy {
        down: None,
        unused: false,
        ready: report.health.ready,
        audit: report.mode == Mode::Audit,
        faults: faults.map(told).collect(),
        shared: nodes.collect(),
        past: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use rules::verify::observed::{Lists, Observed};
    use rules::verify::{Allowed, Id, judge};

    /// What is found where the proxy has told this alone.
    fn found(kind: Kind) -> BTreeSet<Id> {
        let seen = Observed {
            lists: Lists {
                nodes: Some(Vec::new()),
                ..Lists::default()
            },
            proxy: Some(Proxy {
                ready: true,
                audit: kind == Kind::AuditMode,
                faults: vec![(kind.name().into(), "why".into())],
                ..Proxy::default()
            }),
            ..Observed::default()
        };
        let of_proxy = |id: &Id| id.name().starts_with("proxy_") || id.name().starts_with("noded_");
        let found = judge(&seen, &Allowed::default()).into_iter();
        found.map(|found| found.id).filter(of_proxy).collect()
    }

    /// The rules know the kinds by their names alone: one that is called otherwise would become
    /// `proxy_degraded` without a word.
    #[test]
    fn what_each_kind_of_trouble_of_the_proxy_is_as_a_table() {
        for kind in Kind::all() {
            let expected = match kind {
                Kind::CandidateMap => Id::ProxyMap,
                Kind::GuardMissing => Id::ProxyGuard,
                Kind::NodedDown => Id::NodedDown,
                Kind::NodedExposed | Kind::NodedImpersonated => Id::NodedOpen,
                Kind::AuditMode => Id::ProxyAudit,
                Kind::ServerPem
                | Kind::CandidateCertificates
                | Kind::Ssconf
                | Kind::SameDigest
                | Kind::Master
                | Kind::MasterFile
                | Kind::ClientCaList
                | Kind::State
                | Kind::Watches
                | Kind::BootstrapPhase
                | Kind::NoServerPem
                | Kind::ServerPemExpires
                | Kind::ServerPemExpired
                | Kind::ServerPemNotYetValid
                | Kind::CannotListen
                | Kind::NodedUnseen
                | Kind::PredecessorSlots
                | Kind::Draining => Id::ProxyDegraded,
            };
            assert_eq!(found(kind), [expected].into(), "{}", kind.name());
        }
    }
}
