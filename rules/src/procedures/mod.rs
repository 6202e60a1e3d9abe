//! What is known of Ganeti's RPC procedures: one table of names, client timeout classes and
//! effects.
//!
//! The names are those of the node daemon's handlers in Ganeti 2.8 to 3.1.1
//! (`lib/server/noded.py`), the timeout classes those of the clients (`src/Ganeti/Types.hs` and
//! `lib/rpc_defs.py`, 3.0.2). The table gives metric labels from a closed list, sorts requests into
//! lanes and tells the policy what a procedure can do; it forbids nothing by itself: a procedure
//! that is not in it is forwarded as well.

mod harmless;
mod table;

use std::fmt;
use std::time::Duration;

use crate::arguments::Value;
use crate::names::Named;

pub use table::TABLE;

/// How long a client waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// 60 s.
    Urgent,
    /// 300 s.
    Fast,
    /// 900 s.
    Normal,
    /// 3,600 s.
    Slow,
    /// 14,400 s.
    FourHours,
    /// 86,400 s.
    OneDay,
    /// Chosen by an argument of the call (`test_delay`).
    Argument,
}

impl Timeout {
    /// The time after which the client gives up. A day if only the arguments of the call say it.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Urgent => 60,
            Self::Fast => 300,
            Self::Normal => 900,
            Self::Slow => 3_600,
            Self::FourHours => 14_400,
            Self::OneDay | Self::Argument => 86_400,
        })
    }
}

/// What a procedure does to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Reads only.
    ReadOnly,
    /// Changes state.
    Mutating,
    /// Can run programs, read or write files or reach hosts of the caller's choosing, overwrites
    /// files that Ganeti or root trusts, or destroys data, a node or a role.
    Dangerous,
}

/// One RPC procedure of the node daemon.
#[derive(Clone, Copy)]
pub struct Procedure {
    /// The path without its slash, and the metric label.
    pub name: &'static str,
    /// The client's patience.
    pub timeout: Timeout,
    /// The worst that it does, whatever its arguments.
    pub effect: Effect,
    /// Why it has this effect, in a few words.
    pub why: &'static str,
    harmless: Option<harmless::Proof>,
}

impl Procedure {
    /// What a call with these arguments does at the worst.
    pub fn effect_of(&self, arguments: &Value) -> Effect {
        match self.harmless {
            Some(proves) if proves(arguments) => Effect::ReadOnly,
            _ => self.effect,
        }
    }

    /// The mildest that a call can do.
    pub fn mildest_effect(&self) -> Effect {
        self.harmless.map_or(self.effect, |_| Effect::ReadOnly)
    }
}

impl fmt::Debug for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} ({})", self.name, self.effect, self.why)
    }
}

/// A procedure as metrics name it: one of the table, or any other one. What a client asks for never
/// becomes a label as it comes, or a client could make as many series as it likes.
#[derive(Debug, Clone, Copy)]
pub struct Label(Option<&'static Procedure>);

impl Named for Label {
    fn all() -> impl Iterator<Item = Self> {
        let known = TABLE.iter().map(|procedure| Self(Some(procedure)));
        known.chain([Self(None)])
    }

    fn name(&self) -> &'static str {
        self.0.map_or("other", |procedure| procedure.name)
    }
}

/// Looks a procedure up by name.
pub fn find(name: &str) -> Option<&'static Procedure> {
    TABLE
        .binary_search_by(|row| row.name.cmp(name))
        .ok()
        .map(|at| &TABLE[at])
}

/// The metric label of a procedure.
pub fn label(name: &str) -> Label {
    Label(find(name))
}

#[cfg(test)]
mod tests;
