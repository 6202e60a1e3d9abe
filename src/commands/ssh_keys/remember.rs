//! What the master remembers from one run to the next: what it went by, and whether a node was left.
//! Losing it costs a run too many, and nothing else.

use serde::{Deserialize, Serialize};

use super::here::Here;
use crate::config::Config;
use crate::node::files::{FileContent, read};
use crate::ssh_keys::kept::Kept;
use rules::identity::Digest;

const FILE: &str = "last";
/// What says which nodes there are, what they are, and which keys they have.
const INPUTS: [&str; 5] = [
    "ssconf_node_list",
    "ssconf_master_candidates",
    "ssconf_offline_nodes",
    "ssconf_master_node",
    "ganeti_pub_keys",
];
const MOST: usize = 4 << 20;

/// One run.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    inputs: String,
    /// Nodes that are not done though they should be.
    left: Vec<String>,
}

impl Run {
    /// One that went by what the files say now, and left these nodes.
    pub(super) fn now(here: &Here, config: &Config, left: Vec<String>) -> Self {
        let mut all = Vec::new();
        for name in INPUTS {
            all.extend_from_slice(name.as_bytes());
            if let FileContent::Content(text) =
                read(&here.path(&config.ssconf_dir.join(name)), MOST)
            {
                all.extend_from_slice(&text);
            }
        }
        let inputs = Digest::of_der(&all).to_string();
        Self { inputs, left }
    }

    /// Nothing is done while a run is at work: one that is killed is no reason to do nothing.
    pub(super) fn begin(kept: &Kept) -> Result<(), String> {
        kept.remove(FILE)
    }

    /// Whether the last run went by the same, and left nothing.
    pub(super) fn is_done(&self, kept: &Kept) -> bool {
        let last = kept.read(FILE).ok().flatten();
        let last = last.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        last.as_ref() == Some(self)
    }

    pub(super) fn save(&self, kept: &Kept) -> Result<(), String> {
        let text = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        kept.write(FILE, &text)
    }
}
