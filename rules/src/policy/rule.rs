//! One rule of a list: its text, and which calls it means. It never decides alone: the list does.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::targets;
use super::{Arguments, Call};
use crate::procedures::{self, Effect};

/// One rule of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `!`: what the other rules of the list say is not meant for these.
    pub(super) except: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Class(Effect),
    Procedure(Box<str>),
    /// Only calls that name one of these (an exception: nothing but these).
    Aimed(Box<str>, Vec<Box<str>>),
}

/// The keys of ssconf on which the roles hang; `master_node` is not one of them.
const ROLE_KEYS: [&str; 4] = [
    "cluster_tags",
    "master_candidates_certs",
    "master_ip",
    "node_primary_ips",
];

impl Rule {
    /// Whether the rule means this call. What cannot be told counts against the caller: a rule that
    /// forbids then means the call, an exception does not.
    pub(super) fn means(&self, call: &Call<'_>) -> bool {
        match &self.what {
            What::Procedure(name) => **name == *call.procedure,
            What::Class(class) => self.suits(effects(call), *class, call),
            What::Aimed(name, list) if **name == *call.procedure => self.aims_at(list, call),
            What::Aimed(..) => false,
        }
    }

    /// Whether a call that has one of these effects has the rule's.
    fn suits(&self, [worst, mildest]: [Effect; 2], class: Effect, call: &Call<'_>) -> bool {
        let for_sure = worst == class && mildest == class;
        let perhaps = worst == class || mildest == class;
        match call.arguments {
            Arguments::Best if self.except => perhaps,
            Arguments::Best => for_sure,
            Arguments::Unseen(_) if self.except => for_sure,
            Arguments::Unseen(_) => perhaps,
            Arguments::Seen(_) => for_sure,
        }
    }

    fn aims_at(&self, list: &[Box<str>], call: &Call<'_>) -> bool {
        let among = |target: &&str| list.iter().any(|named| **named == **target);
        match call.arguments {
            Arguments::Best => self.except,
            Arguments::Unseen(_) => !self.except,
            Arguments::Seen(arguments) => match targets::targets(call.procedure, arguments) {
                None => !self.except,
                Some(targets) if self.except => targets.iter().all(among),
                Some(targets) => targets.iter().any(among),
            },
        }
    }

    /// Whether this exception lets a candidate write what tells the master from others.
    pub(super) fn opens_the_role(&self) -> bool {
        let writes = "write_ssconf_files";
        self.except
            && match &self.what {
                What::Class(class) => *class == Effect::Dangerous,
                What::Procedure(name) => **name == *writes,
                What::Aimed(name, keys) => {
                    **name == *writes && keys.iter().any(|key| ROLE_KEYS.contains(&&**key))
                }
            }
    }

    /// The rule's name, if it is not a procedure of the known versions.
    pub(super) fn unknown_procedure(&self) -> Option<&str> {
        match &self.what {
            What::Procedure(name) if procedures::find(name).is_none() => Some(name),
            What::Procedure(_) | What::Aimed(..) | What::Class(_) => None,
        }
    }
}

/// The worst and the mildest that the call can do, as far as its arguments tell.
fn effects(call: &Call<'_>) -> [Effect; 2] {
    match (procedures::find(call.procedure), call.arguments) {
        (None, _) => [Effect::Dangerous; 2],
        (Some(row), Arguments::Seen(arguments)) => [row.effect_of(arguments); 2],
        (Some(row), Arguments::Best | Arguments::Unseen(_)) => [row.effect, row.mildest_effect()],
    }
}

const CLASSES: [(&str, Effect); 3] = [
    ("read_only", Effect::ReadOnly),
    ("mutating", Effect::Mutating),
    ("dangerous", Effect::Dangerous),
];

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (except, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let aimed = rest.strip_suffix(')').and_then(|rest| rest.split_once('('));
        let name = aimed.map_or(rest, |(name, _)| name);
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(format!(
                "{text:?}: expected a procedure, read_only, mutating or dangerous, with a leading \
                 \"!\" for an exception, or PROCEDURE(ARGUMENT, ...)"
            ));
        }
        let class = CLASSES.iter().find(|(class, _)| *class == name);
        let what = match (aimed, class) {
            (Some((name, list)), _) => {
                let list: Vec<Box<str>> = list.split(',').map(|word| word.trim().into()).collect();
                if !targets::are_known(name) || list.iter().any(|word| word.is_empty()) {
                    return Err(format!(
                        "{text:?}: {name} has no arguments that a rule can name, or one is empty"
                    ));
                }
                What::Aimed(name.into(), list)
            }
            (None, Some((_, effect))) => What::Class(*effect),
            (None, None) => What::Procedure(name.into()),
        };
        Ok(Self { except, what })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let except = if self.except { "!" } else { "" };
        match &self.what {
            What::Procedure(name) => write!(f, "\"{except}{name}\""),
            What::Aimed(name, list) => write!(f, "\"{except}{name}({})\"", list.join(", ")),
            What::Class(effect) => {
                let class = CLASSES.iter().find(|(_, class)| class == effect);
                write!(f, "\"{except}{}\"", class.map_or("", |(name, _)| name))
            }
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
