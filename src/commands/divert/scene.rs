//! From what is at the place to what is to be done there. Pure: what was seen comes in as a value, and
//! nothing is done.

use std::fmt;
use std::path::Path;

use super::place::{Place, program_in};

/// What is at the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum There {
    Nothing,
    /// The small file of this package.
    Ours(Vec<u8>),
    /// Ganeti's own, or somebody's.
    Other,
}

/// What is where Ganeti's own is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Kept {
    Nothing,
    /// The same as at the place: somebody was killed in the middle.
    Same,
    Other,
}

/// Where dpkg puts what a package has for the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Diversion {
    None,
    /// To where it is kept.
    Ours,
    /// By somebody else.
    Other(String),
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Scene {
    pub(in crate::commands) place: Place,
    pub(in crate::commands) there: There,
    pub(in crate::commands) kept: Kept,
    /// Whether a package of dpkg's has the place.
    pub(in crate::commands) owned: bool,
    pub(in crate::commands) diversion: Diversion,
    /// Whether the place is written down for `uninstall`.
    pub(in crate::commands) recorded: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Act {
    /// Write the place down for `uninstall`.
    Remember(Place),
    Forget(Place),
    /// Have dpkg put Ganeti's own where it is kept.
    Divert(Place),
    Undivert(Place),
    /// Keep Ganeti's own, and put the small file in its place.
    Put(Place, Vec<u8>),
    /// Ganeti's own comes back; with the small file that was there, if it was.
    PutBack(Place, Option<Vec<u8>>),
    /// The small file goes: there is no Ganeti.
    Remove(Place, Vec<u8>),
}

impl Act {
    /// What takes it back.
    pub(in crate::commands) fn inverse(&self) -> Option<Self> {
        Some(match self.clone() {
            Self::Remember(place) => Self::Forget(place),
            Self::Forget(place) => Self::Remember(place),
            Self::Divert(place) => Self::Undivert(place),
            Self::Undivert(place) => Self::Divert(place),
            Self::Put(place, text) => Self::PutBack(place, Some(text)),
            Self::PutBack(place, Some(text)) | Self::Remove(place, text) => Self::Put(place, text),
            Self::PutBack(_, None) => return None,
        })
    }

    /// Whether another program does the transfers from then on.
    pub(in crate::commands) fn changes_the_program(&self) -> bool {
        matches!(self, Self::Put(..) | Self::PutBack(..))
    }

    /// The commands that it runs.
    pub(in crate::commands) fn commands(&self) -> Vec<Vec<String>> {
        let divert = |place: &Place, verb: &str| {
            let (from, to) = (place.to_string(), place.kept().display().to_string());
            let words = ["dpkg-divert", "--package", "noded-proxy", "--no-rename"];
            let words = words.into_iter().chain(["--divert", &to, verb, &from]);
            vec![words.map(str::to_owned).collect()]
        };
        match self {
            Self::Divert(place) => divert(place, "--add"),
            Self::Undivert(place) => divert(place, "--remove"),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remember(place) => write!(f, "write down {place}, for `uninstall`"),
            Self::Forget(place) => write!(f, "drop what was written down of {place}"),
            Self::Put(place, _) => write!(
                f,
                "{place}: `noded-proxy import-export` does transfers, Ganeti's own is kept as {}",
                place.kept().display()
            ),
            Self::PutBack(place, _) => write!(f, "{place}: Ganeti's own again"),
            Self::Remove(place, _) => write!(f, "{place}: removed, as Ganeti is"),
            Self::Divert(_) | Self::Undivert(_) => f.write_str(&self.commands().concat().join(" ")),
        }
    }
}

impl Scene {
    /// What `install --moves` has to do. `text` is the small file.
    pub(in crate::commands) fn on(&self, text: &str) -> Result<Vec<Act>, String> {
        let place = &self.place;
        self.diverted_by_others()?;
        match (&self.there, self.kept) {
            (There::Nothing, Kept::Nothing) => {
                return Err(format!(
                    "{place} is missing: is Ganeti here? If it is elsewhere, say where with \
                     --import-export"
                ));
            }
            (There::Ours(_), Kept::Nothing) => return Err(self.lost()),
            (There::Other, Kept::Other) if self.diversion == Diversion::Ours => {
                return Err(self.somebody_s());
            }
            _ => {}
        }
        let place = || self.place.clone();
        let mut acts = Vec::new();
        if !self.recorded {
            acts.push(Act::Remember(place()));
        }
        if self.owned && self.diversion == Diversion::None {
            acts.push(Act::Divert(place()));
        }
        if self.there != There::Ours(text.into()) {
            acts.push(Act::Put(place(), text.into()));
        }
        Ok(acts)
    }

    /// What `uninstall` has to do.
    pub(in crate::commands) fn off(&self) -> Result<Vec<Act>, String> {
        let place = || self.place.clone();
        let mut acts = Vec::new();
        let is_diverted = self.diversion == Diversion::Ours;
        match (&self.there, self.kept) {
            (There::Ours(text), Kept::Nothing) if is_diverted && !self.owned => {
                acts.push(Act::Remove(place(), text.clone()));
            }
            (There::Ours(_), Kept::Nothing) => return Err(self.lost()),
            (There::Other, Kept::Other) if is_diverted => return Err(self.somebody_s()),
            (There::Ours(text), _) => acts.push(Act::PutBack(place(), Some(text.clone()))),
            (There::Other, Kept::Nothing) | (There::Nothing, Kept::Nothing) => {}
            // Without a word of ours it is not ours.
            (There::Other, Kept::Other) if !self.recorded => {}
            (There::Other | There::Nothing, _) => acts.push(Act::PutBack(place(), None)),
        }
        if is_diverted {
            acts.push(Act::Undivert(place()));
        }
        if self.recorded {
            acts.push(Act::Forget(place()));
        }
        Ok(acts)
    }

    /// What is not as `install --moves` leaves it; nothing if all is.
    pub(in crate::commands) fn fault(&self, program: &dyn Fn(&Path) -> bool) -> Option<String> {
        let place = &self.place;
        let again = "`noded-proxy install --moves --apply` puts it right";
        match (&self.there, self.kept) {
            (There::Ours(_), Kept::Nothing) => return Some(self.lost()),
            (There::Ours(text), _) => {
                let named = program_in(text).unwrap_or_default();
                if !program(&named) {
                    return Some(format!(
                        "{place}: {} is missing, Ganeti's own does transfers: {again}",
                        named.display()
                    ));
                }
            }
            (There::Other, Kept::Other) if self.diversion == Diversion::Ours => {
                return Some(self.somebody_s());
            }
            (There::Other, Kept::Other) => {
                return Some(format!(
                    "{place}: a newer Ganeti has taken its place back, and does transfers: {again}"
                ));
            }
            (There::Other, _) => {
                return Some(format!(
                    "{place}: Ganeti's own does transfers, `install` has not come to its end: \
                     {again}, `uninstall --moves --apply` takes it back"
                ));
            }
            (There::Nothing, _) => return Some(format!("{place} is missing: {again}")),
        }
        let undiverted = self.owned && self.diversion != Diversion::Ours;
        undiverted.then(|| format!("{place}: dpkg would replace it: {again}"))
    }

    fn diverted_by_others(&self) -> Result<(), String> {
        match &self.diversion {
            Diversion::Other(whose) => Err(format!(
                "{}: dpkg has it diverted already ({whose}): remove that diversion, then try again",
                self.place
            )),
            Diversion::None | Diversion::Ours => Ok(()),
        }
    }

    fn lost(&self) -> String {
        format!(
            "{}: Ganeti's own is gone from {}: install Ganeti's package again, which brings it",
            self.place,
            self.place.kept().display()
        )
    }

    fn somebody_s(&self) -> String {
        let kept = self.place.kept();
        format!(
            "{} is neither of this package nor Ganeti's own, which is {}: somebody has put it there. \
             Move it away, then try again",
            self.place,
            kept.display()
        )
    }
}

#[cfg(test)]
#[path = "scene_tests.rs"]
mod tests;
