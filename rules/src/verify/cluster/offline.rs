//! An offline node: Ganeti leaves it alone, so what it has is of the day on which it went. When it
//! answers all the same, that is one kind of finding, and not as bad as on a node that is in use.

use crate::Named;
use crate::verify::finding::Finding;
use crate::verify::ids::Id;

/// The findings as they are on an offline node.
pub(super) fn on_offline(found: Vec<Finding>) -> Vec<Finding> {
    found.into_iter().filter_map(one).collect()
}

fn one(found: Finding) -> Option<Finding> {
    match found.id {
        // What Ganeti would have brought it.
        Id::MapDiffers
        | Id::MapEntryUnknown
        | Id::MapEntryNoCandidate
        | Id::MapEntryOffline
        | Id::MapEntryMissing
        | Id::SsconfDiffers
        | Id::ConfigurationDiffers
        | Id::SshPubKeysDiffer
        | Id::SshPubKeysMissing
        | Id::SshOldKey
        | Id::SshNormalNode
        | Id::SshMissing => {
            let text = format!("{}: {}", found.id.name(), found.what);
            Some(Finding::new(Id::OfflineOutdated, &found.subject, text))
        }
        // Nobody wants to command it.
        Id::ProxyDown | Id::ProxyNotReady | Id::NodedDown => None,
        _ => Some(found),
    }
}
