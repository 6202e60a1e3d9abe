//! Closed lists with names: each value of such a type has a name that programs read (a metric's
//! label, a word in `/status`, a value on the command line), and all names are known.
//!
//! [`named!`](crate::named) writes both halves from one list, so they cannot disagree. A name is an
//! interface: it must never carry what a peer sent, and a name once published must never change.

/// A type whose values have names, of which there are only so many.
pub trait Named: Sized + 'static {
    /// One value for each name. Where several values share a name, because they differ only in the
    /// facts that they carry, one of them stands for all.
    fn all() -> impl Iterator<Item = Self>;

    /// The value's name.
    fn name(&self) -> &'static str;

    /// The value with this name.
    fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|value| value.name() == name)
    }
}

/// Implements [`Named`] for an enum, from one list of its variants and their names.
///
/// The list becomes an exhaustive `match`, so an enum with a variant that is not in it does not
/// compile. A variant with fields needs sample values for them: no name depends on them.
/// `..Variant(Type)` takes over all names of another such type.
///
/// ```
/// enum Cause { Absent, Unreadable(String), TooLarge { bytes: u64 } }
/// rules::named!(Cause {
///     Absent = "absent",
///     Unreadable(String::new()) = "unreadable",
///     TooLarge { bytes: 0 } = "too_large",
/// });
///
/// enum Refusal { Cause(Cause), Late }
/// rules::named!(Refusal { ..Cause(Cause), Late = "late" });
///
/// use rules::Named;
/// let names: Vec<_> = Refusal::all().map(|refusal| refusal.name()).collect();
/// assert_eq!(names, ["absent", "unreadable", "too_large", "late"]);
/// ```
///
/// Where no variant has fields, the list defines the enum too:
///
/// ```
/// rules::named! {
///     /// Which way a body goes.
///     #[derive(Debug, Clone, Copy, PartialEq, Eq)]
///     pub enum Direction {
///         /// To the node.
///         Request = "request",
///         /// To the client.
///         Reply = "reply",
///     }
/// }
///
/// use rules::Named;
/// assert_eq!(Direction::from_name("reply"), Some(Direction::Reply));
/// ```
///
/// A variant that is missing in the list:
///
/// ```compile_fail,E0004
/// enum Cause { Absent, Empty }
/// rules::named!(Cause { Absent = "absent" });
/// ```
#[macro_export]
macro_rules! named {
    ($(#[$meta:meta])* $vis:vis enum $type:ident {
        $($(#[$of_variant:meta])* $variant:ident = $name:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis enum $type {
            $($(#[$of_variant])* $variant),+
        }

        $crate::named!($type { $($variant = $name),+ });
    };
    ($type:ident {
        $(..$of:ident($inner:ty),)*
        $($variant:ident $(($($values:tt)*))? $({$($fields:tt)*})? = $name:literal),+ $(,)?
    }) => {
        impl $crate::Named for $type {
            fn all() -> impl Iterator<Item = Self> {
                ::std::iter::empty()
                    $(.chain(<$inner as $crate::Named>::all().map(Self::$of)))*
                    .chain([$(Self::$variant $(($($values)*))? $({$($fields)*})?),+])
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$of(inner) => $crate::Named::name(inner),)*
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

/// Makes serde write a [`Named`] type as its names and read it back, so that what is shown has the
/// names of the labels. Facts that a name does not carry do not come back.
#[macro_export]
macro_rules! serde_by_name {
    ($type:ty) => {
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str($crate::Named::name(self))
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let name = <String as ::serde::Deserialize>::deserialize(from)?;
                let unknown = || format!("unknown {}: {name}", stringify!($type));
                <Self as $crate::Named>::from_name(&name)
                    .ok_or_else(|| ::serde::de::Error::custom(unknown()))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{Denied, Mode};
    use crate::candidates::MapState;
    use crate::policy::List;
    use crate::procedures::Label;
    use std::collections::BTreeSet;

    fn check<N: Named>() {
        let names: Vec<&str> = N::all().map(|value| value.name()).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len(), "a name twice in {names:?}");
        for name in names {
            assert_eq!(N::from_name(name).map(|value| value.name()), Some(name));
            let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
            assert!(name.bytes().all(fits), "{name}");
        }
        assert!(N::from_name("no such name").is_none());
    }

    #[test]
    fn serde_takes_the_names_and_no_others() {
        for state in MapState::all() {
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{}\"", state.name()));
            assert_eq!(serde_json::from_str::<MapState>(&json).unwrap(), state);
        }
        let told = serde_json::from_str::<MapState>("\"x\"").unwrap_err();
        assert_eq!(told.to_string(), "unknown MapState: x");
    }

    #[test]
    fn names_are_plain_words_and_each_is_there_once() {
        check::<Denied>();
        check::<Mode>();
        check::<MapState>();
        check::<List>();
        check::<Label>();
    }
}
