//! The RPC policy: which procedures an admitted candidate may call. Pure, and by default all.
//!
//! A rule names a procedure, a class of procedures, or a procedure with some of its arguments. With
//! a leading `!` it is an exception from the other rules of its list. The unknown is never trusted:
//! a procedure that is not in the table counts as dangerous, a peer of unknown role does not count
//! as the master, and arguments that cannot be read count as the worst ones.

mod rule;
mod targets;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::arguments::Value;
use crate::master::Role;
use crate::named;
use crate::names::Named;
use crate::serde_by_name;

pub use rule::Rule;

/// Section `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Procedures that nobody may call.
    pub deny: Vec<Rule>,
    /// Procedures that only the master may call.
    pub allow_from_master_only: Vec<Rule>,
    /// Forward forbidden calls all the same, and only count and log them.
    pub audit: bool,
}

/// What is known of a call's arguments.
#[derive(Debug, Clone, Copy)]
pub enum Arguments<'a> {
    /// All of them.
    Seen(&'a Value),
    /// They cannot be told, and why; they count as the worst ones.
    Unseen(&'a str),
    /// The ones that the rules like best: what nothing can help is refused before the body is
    /// there.
    Best,
}

/// A call, as far as the rules care.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    procedure: &'a str,
    arguments: Arguments<'a>,
}

/// What can be said of a call when its head is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstLook {
    /// It may pass, whatever its arguments.
    Pass,
    /// Its arguments decide.
    AskAgain,
}

/// What forbids a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list} = {rule} forbids {procedure}{who}{arguments}")]
pub struct Forbidden {
    /// The list's key.
    pub list: List,
    rule: String,
    procedure: String,
    who: String,
    arguments: String,
}

// The key's name, as in the label of `noded_proxy_policy_forbidden_total`.
named! {
    /// The lists of rules, by which forbidden calls are counted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum List {
        /// `deny`.
        Deny = "deny",
        /// `allow_from_master_only`.
        MasterOnly = "allow_from_master_only",
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy.{}", self.name())
    }
}

// The label of `noded_proxy_policy`.
named! {
    /// Whether the policy is in force.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum State {
        /// There is no rule.
        None = "none",
        /// Forbidden calls are counted, and forwarded.
        Audit = "audit",
        /// Forbidden calls are refused.
        Enforce = "enforce",
    }
}
serde_by_name!(State);

impl Policy {
    /// Whether it is in force.
    pub fn state(&self) -> State {
        match self.audit {
            _ if self.is_empty() => State::None,
            true => State::Audit,
            false => State::Enforce,
        }
    }

    /// Whether there is a rule at all.
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow_from_master_only.is_empty()
    }

    /// Says what forbids this call before its arguments are there, or whether they must be looked
    /// at. `audit` changes nothing here; it is for who asks.
    pub fn first_look(&self, procedure: &str, role: Role) -> Result<FirstLook, Forbidden> {
        if self.check(procedure, role, Arguments::Unseen("")).is_ok() {
            return Ok(FirstLook::Pass);
        }
        self.check(procedure, role, Arguments::Best)?;
        Ok(FirstLook::AskAgain)
    }

    /// Says what forbids this call with these arguments.
    pub fn check(
        &self,
        procedure: &str,
        role: Role,
        arguments: Arguments<'_>,
    ) -> Result<(), Forbidden> {
        let call = Call {
            procedure,
            arguments,
        };
        let forbidden = |list, rule: &Rule, who: String| Forbidden {
            list,
            rule: rule.to_string(),
            procedure: procedure.to_owned(),
            who,
            arguments: match arguments {
                Arguments::Unseen(why) => format!("; its arguments could not be judged: {why}"),
                Arguments::Seen(_) => " with these arguments".into(),
                Arguments::Best => String::new(),
            },
        };
        if let Some(rule) = matching(&self.deny, &call) {
            return Err(forbidden(List::Deny, rule, String::new()));
        }
        let who = match role {
            Role::Master | Role::Successor => return Ok(()),
            Role::OtherCandidate => " to candidates other than the master".into(),
            Role::Unknown(why) => format!(": the caller may be the master, but {why}"),
        };
        match matching(&self.allow_from_master_only, &call) {
            Some(rule) => Err(forbidden(List::MasterOnly, rule, who)),
            None => Ok(()),
        }
    }

    /// Exceptions that let a candidate make itself master, so that the rest of the list is worth
    /// nothing.
    pub fn holes(&self) -> impl Iterator<Item = &Rule> {
        let rules = self.allow_from_master_only.iter();
        rules.filter(|rule| rule.opens_the_role())
    }

    /// Names in the rules that are not procedures of the known versions: typing errors, or
    /// procedures of a newer Ganeti.
    pub fn unknown_procedures(&self) -> impl Iterator<Item = &str> {
        let rules = self.deny.iter().chain(&self.allow_from_master_only);
        rules.filter_map(Rule::unknown_procedure)
    }
}

/// The first rule of the list that means this call, unless an exception names it.
fn matching<'a>(list: &'a [Rule], call: &Call<'_>) -> Option<&'a Rule> {
    let means = |rule: &&Rule| rule.means(call);
    let excepted = list.iter().filter(|rule| rule.except).any(|r| means(&r));
    let mut rules = list.iter().filter(|rule| !rule.except);
    rules.find(means).filter(|_| !excepted)
}

#[cfg(test)]
mod tests;
