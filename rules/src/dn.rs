//! A distinguished name as encoded bytes: the form in which GnuTLS clients compare it with the
//! client CA list.
//!
//! Pure. The same name written as PrintableString and as UTF8String is two values here, as it is
//! for those clients. Nothing here checks a name.

use std::fmt;
use std::sync::Arc;

use crate::shown::printable;

/// DER of a `Name` (X.501), the outer SEQUENCE included, byte for byte as it stands in the
/// certificate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// A name from its DER, which is not checked.
    pub fn from_der(der: impl Into<Arc<[u8]>>) -> Self {
        Self(der.into())
    }

    /// The encoded bytes.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// The string types of its attributes, in their order, each once. It is empty if no attribute
    /// can be read.
    pub fn string_types(&self) -> Vec<&'static str> {
        let mut types = Vec::new();
        for attribute in attributes(&self.0) {
            if !types.contains(&attribute.string_type) {
                types.push(attribute.string_type);
            }
        }
        types
    }

    /// Whether both have the same text, whatever their string types: to a person they are the same
    /// name.
    pub fn reads_like(&self, other: &Self) -> bool {
        let texts = |name: &Self| -> Vec<(&str, String)> {
            let attributes = attributes(&name.0).into_iter();
            attributes.map(|a| (a.label, a.text)).collect()
        };
        texts(self) == texts(other)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, attribute) in attributes(&self.0).iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let text = printable(&attribute.text); // it goes to logs and terminals
            write!(f, "{comma}{}={text}", attribute.label)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.string_types().join(", "))
    }
}

struct Attribute {
    label: &'static str,
    string_type: &'static str,
    text: String,
}

/// Reads `SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value }`, up to anything else.
fn attributes(der: &[u8]) -> Vec<Attribute> {
    let mut found = Vec::new();
    let Some((0x30, mut sets, _)) = read_tlv(der) else {
        return found;
    };
    while let Some((0x31, mut set, rest)) = read_tlv(sets) {
        sets = rest;
        while let Some((0x30, pair, rest)) = read_tlv(set) {
            set = rest;
            if let Some((0x06, kind, value)) = read_tlv(pair)
                && let Some((tag, bytes, _)) = read_tlv(value)
            {
                found.push(Attribute {
                    label: label(kind),
                    string_type: string_type(tag),
                    text: text(tag, bytes),
                });
            }
        }
    }
    found
}

/// Reads one DER element (tag, length, value): its tag, its content, and what follows it.
pub fn read_tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The attribute types that certificates of clusters have (RFC 5280, appendix A.1).
fn label(oid: &[u8]) -> &'static str {
    match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => "other",
    }
}

fn string_type(tag: u8) -> &'static str {
    match tag {
        0x0c => "UTF8String",
        0x13 => "PrintableString",
        0x14 => "T61String",
        0x16 => "IA5String",
        0x1c => "UniversalString",
        0x1e => "BMPString",
        _ => "other",
    }
}

/// The characters of a value.
fn text(tag: u8, bytes: &[u8]) -> String {
    match tag {
        0x14 => bytes.iter().map(|b| char::from(*b)).collect(), // by custom Latin-1
        0x1e => {
            let units = bytes.chunks(2).map(|two| {
                let high = u16::from(two[0]) << 8;
                high | two.get(1).map_or(0, |low| u16::from(*low))
            });
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cn(tag: u8, value: &[u8]) -> Name {
        let wrap = |tag: u8, content: Vec<u8>| {
            let mut der = vec![tag, content.len() as u8];
            der.extend(content);
            der
        };
        let mut pair = vec![0x06, 3, 0x55, 4, 3];
        pair.extend(wrap(tag, value.to_vec()));
        Name::from_der(wrap(0x30, wrap(0x31, wrap(0x30, pair))))
    }

    #[test]
    fn string_types_and_text_as_a_table() {
        let table: [(u8, &[u8], &str, &str); 7] = [
            (0x13, b"node1", "PrintableString", "CN=node1"),
            (0x0c, "n\u{f6}de".as_bytes(), "UTF8String", "CN=n\\u{f6}de"),
            (0x14, b"n\xf6de", "T61String", "CN=n\\u{f6}de"),
            (0x16, b"node1", "IA5String", "CN=node1"),
            (0x1e, b"\0n\0\xf6", "BMPString", "CN=n\\u{f6}"),
            (0x13, b"a\x1b[1m", "PrintableString", "CN=a\\u{1b}[1m"),
            (0x04, b"x", "other", "CN=x"),
        ];
        for (tag, value, string_type, text) in table {
            let name = cn(tag, value);
            assert_eq!(name.string_types(), [string_type]);
            assert_eq!(name.to_string(), text);
        }
        assert!(cn(0x13, b"a").reads_like(&cn(0x0c, b"a")));
        assert_ne!(cn(0x13, b"a"), cn(0x0c, b"a"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            let name = Name::from_der(der.clone());
            let _ = (name.to_string(), name.string_types());
            prop_assert_eq!(name.der(), &der[..]);
        }

        #[test]
        fn every_cut_of_a_name_is_read_without_panic(cut in 0usize..40) {
            let whole = cn(0x13, b"ganeti.example.com");
            let cut = &whole.der()[..cut.min(whole.der().len())];
            let _ = Name::from_der(cut).to_string();
        }
    }
}
