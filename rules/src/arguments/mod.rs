//! The arguments of a call: a body read strictly, or not at all.
//!
//! noded reads a body with Python's JSON reader, which takes more than JSON: of a key that is there
//! twice the last one counts, `NaN` is a number. A rule that looks at arguments must see what noded
//! will see. So whatever could be read in two ways is refused: a key that is there twice, and (by
//! the parser that feeds this type) `NaN`, a lone surrogate, text after the end. Depth and number
//! of values are bounded, for the sender is not trusted. This file must never guess, and never keep
//! half of a body.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting. Ganeti's own calls stay under 15.
pub const MAX_DEPTH: u8 = 32;

/// Most values in one body, keys not counted: so a body of 1 MiB takes 15 MB at the most.
/// `node_verify` on a large cluster has some thousands.
pub const MAX_VALUES: u32 = 50_000;

/// One value of the arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number. Its value is not kept: Python has integers without bounds, and no rule looks at
    /// one.
    Number,
    /// A text.
    Text(Box<str>),
    /// A list.
    List(Vec<Value>),
    /// A map; no key is there twice.
    Map(BTreeMap<Box<str>, Value>),
}

impl Value {
    /// The list, if this is one.
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// The list, if this is one of exactly `N` values.
    pub fn tuple<const N: usize>(&self) -> Option<&[Value; N]> {
        self.list()?.try_into().ok()
    }

    /// The text, if this is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if this is one.
    pub fn map(&self) -> Option<&BTreeMap<Box<str>, Value>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }
}

/// The arguments of one call, by whatever reader of JSON feeds it.
impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let left = Cell::new(MAX_VALUES);
        let depth = MAX_DEPTH;
        Reader { left: &left, depth }.deserialize(from)
    }
}

/// Reads one value; what all of them may use is shared.
#[derive(Clone, Copy)]
struct Reader<'a> {
    left: &'a Cell<u32>,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        let too_many = || D::Error::custom(format_args!("more than {MAX_VALUES} values"));
        self.left.set(left.ok_or_else(too_many)?);
        from.deserialize_any(self)
    }
}

impl Reader<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let too_deep = || E::custom(format_args!("nested deeper than {MAX_DEPTH}"));
        Ok(Self {
            depth: depth.ok_or_else(too_deep)?,
            ..self
        })
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = from.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = BTreeMap::new();
        while let Some(key) = from.next_key::<Box<str>>()? {
            let value = from.next_value_seed(inner)?;
            match map.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                // noded would take the last one; whoever sends two wants one of them overlooked.
                Entry::Occupied(_) => return Err(A::Error::custom("a key is there twice")),
            };
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests;
