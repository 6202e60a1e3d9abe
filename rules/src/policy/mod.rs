//! The RPC policy: which procedures an admitted candidate may call. Pure, and by default all.
//!
//! Rules name a procedure, a class of them, or with a leading `!` an exception from the other rules of the same
//! list. What cannot be told is closed: a procedure that is not in the table counts as dangerous, and a peer whose
//! role cannot be told is no master.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::authz::Permit;
use crate::procedures::{self, Effect};

/// Section `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Procedures that nobody may call.
    pub deny: Vec<Rule>,
    /// Procedures that only the master may call.
    pub allow_from_master_only: Vec<Rule>,
    /// Forward what the rules forbid, and only count and log it.
    pub audit: bool,
}

/// One rule of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `!`: what the other rules of the list say is not meant for these.
    except: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Class(Effect),
    Procedure(Box<str>),
}

/// Who asks, as far as the policy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    /// The certificate's common name is the master's.
    Master,
    /// The certificate names another node.
    OtherCandidate,
    /// It cannot be told, and why.
    Unknown(&'a str),
}

/// What forbids a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list} = {rule} forbids {procedure}{who}")]
pub struct Forbidden {
    /// The list's key.
    pub list: List,
    rule: String,
    procedure: String,
    who: String,
}

/// The lists of rules, by which forbidden calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `deny`.
    Deny,
    /// `allow_from_master_only`.
    MasterOnly,
}

impl List {
    /// The key's name, as in the label of `noded_proxy_policy_forbidden_total`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::MasterOnly => "allow_from_master_only",
        }
    }

    /// Every name that [`List::name`] can return.
    pub const NAMES: [&'static str; 2] = ["deny", "allow_from_master_only"];
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy.{}", self.name())
    }
}

impl<'a> Role<'a> {
    /// The role of an admitted peer: the common name of its certificate beside the name of the master. Ganeti's
    /// map says which certificates are candidates', but not whose; only certificates signed by `server.pem`
    /// (Ganeti 2.12.5 and later) carry the node's name.
    pub fn of(permit: &Permit, peer: &PeerNames<'_>, master: Option<&str>) -> Self {
        let Some(master) = master else {
            return Self::Unknown("ssconf_master_node does not name the master");
        };
        match peer.common_name {
            _ if permit.key() == "server.pem" => {
                Self::Unknown("every node has server.pem, so it says nothing of the caller's role")
            }
            None => Self::Unknown("its certificate has no common name"),
            Some(name) if Some(name) == peer.cluster => Self::Unknown(
                "its self-signed certificate names no node; \
                 gnt-cluster renew-crypto --new-node-certificates makes one that does",
            ),
            Some(name) if name == master => Self::Master,
            Some(_) => Self::OtherCandidate,
        }
    }
}

/// The names that tell a role.
#[derive(Debug, Clone, Copy)]
pub struct PeerNames<'a> {
    /// Common name of the peer's certificate.
    pub common_name: Option<&'a str>,
    /// Common name of `server.pem`, which self-signed certificates have as well.
    pub cluster: Option<&'a str>,
}

impl Policy {
    /// Whether there is a rule at all.
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow_from_master_only.is_empty()
    }

    /// Says what forbids this call. `audit` changes nothing here; it is for who asks.
    pub fn check(&self, procedure: &str, role: Role<'_>) -> Result<(), Forbidden> {
        let forbidden = |list, rule: &Rule, who: String| Forbidden {
            list,
            rule: rule.to_string(),
            procedure: procedure.to_owned(),
            who,
        };
        if let Some(rule) = matching(&self.deny, procedure) {
            return Err(forbidden(List::Deny, rule, String::new()));
        }
        let who = match role {
            Role::Master => return Ok(()),
            Role::OtherCandidate => " to candidates other than the master".into(),
            Role::Unknown(why) => format!(": the caller may be the master, but {why}"),
        };
        match matching(&self.allow_from_master_only, procedure) {
            Some(rule) => Err(forbidden(List::MasterOnly, rule, who)),
            None => Ok(()),
        }
    }

    /// Names in the rules that are no procedure of the versions that we know: a slip, or a newer Ganeti.
    pub fn unknown_procedures(&self) -> impl Iterator<Item = &str> {
        let rules = self.deny.iter().chain(&self.allow_from_master_only);
        rules.filter_map(|rule| match &rule.what {
            What::Procedure(name) if procedures::find(name).is_none() => Some(&**name),
            What::Procedure(_) | What::Class(_) => None,
        })
    }
}

/// The first rule of the list that means this procedure, unless one excepts it.
fn matching<'a>(list: &'a [Rule], procedure: &str) -> Option<&'a Rule> {
    let means = |rule: &&Rule| match &rule.what {
        What::Procedure(name) => **name == *procedure,
        What::Class(class) => {
            procedures::find(procedure).map_or(Effect::Dangerous, |row| row.effect) == *class
        }
    };
    let excepted = list.iter().filter(|rule| rule.except).any(|r| means(&r));
    let mut rules = list.iter().filter(|rule| !rule.except);
    rules.find(means).filter(|_| !excepted)
}

const CLASSES: [(&str, Effect); 3] = [
    ("read_only", Effect::ReadOnly),
    ("mutating", Effect::Mutating),
    ("dangerous", Effect::Dangerous),
];

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (except, name) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(format!(
                "{text:?}: expected a procedure, read_only, mutating or dangerous, \
                 with a leading \"!\" for an exception"
            ));
        }
        let class = CLASSES.iter().find(|(class, _)| *class == name);
        let what = match class {
            Some((_, effect)) => What::Class(*effect),
            None => What::Procedure(name.into()),
        };
        Ok(Self { except, what })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.what {
            What::Procedure(name) => name,
            What::Class(effect) => CLASSES
                .iter()
                .find(|(_, class)| class == effect)
                .map_or("", |(name, _)| name),
        };
        write!(f, "\"{}{name}\"", if self.except { "!" } else { "" })
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
