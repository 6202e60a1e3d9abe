//! The pair that was made on this node and waits until all nodes know it, and what this node was told
//! of all pairs; both in root's own directory, where ssh does not look. It makes no pair.

use super::kept::Kept;
use super::pair::Given;
use crate::node::ssh::keys::{Held, held, public};
use rules::ssh_keys::pairs::{List, Pair};

/// The private half that waits. The public one is beside it.
pub const PRIVATE: &str = "staged";
const PUBLIC: &str = "staged.pub";
/// What was decided for all nodes.
pub const LIST: &str = "pairs";

/// The pair, and what tells others of it; nothing, if none waits or its halves differ.
pub fn read(kept: &Kept) -> Result<Option<(Given, Pair)>, String> {
    let (Some(private), Some(public)) = (kept.read(PRIVATE)?, kept.read(PUBLIC)?) else {
        return Ok(None);
    };
    let Held::Private(half) = held(&private) else {
        return Ok(None);
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let (Some(private), Some(public)) = (text(private), text(public)) else {
        return Ok(None);
    };
    let pair = pair(&public).filter(|pair| pair.key.to_string() == half.fingerprint);
    Ok(pair.map(|pair| (Given { private, public }, pair)))
}

/// Puts it there; the private half last, so that one without the other is none.
pub fn write(kept: &Kept, pair: &Given) -> Result<(), String> {
    kept.write(PUBLIC, pair.public.as_bytes())?;
    kept.write(PRIVATE, pair.private.as_bytes())
}

/// Takes it away.
pub fn remove(kept: &Kept) -> Result<(), String> {
    kept.remove(PRIVATE)?;
    kept.remove(PUBLIC)
}

/// A pair by its public file.
pub fn pair(text: &str) -> Option<Pair> {
    let mut words = text.trim().splitn(3, ' ');
    let (kind, blob) = (words.next()?, words.next()?);
    let key = public(kind, blob, "")?.fingerprint.parse().ok()?;
    let public = format!("{kind} {blob}");
    Some(Pair { key, public }).filter(Pair::is_plain)
}

/// Whether the key in a pair is the one that it says.
pub fn is_true(told: &Pair) -> bool {
    pair(&told.public).is_some_and(|pair| pair == *told)
}

/// What this node was told of all pairs; nothing, if it was told nothing that can be understood.
pub fn list(kept: &Kept) -> Result<Option<List>, String> {
    let text = kept.read(LIST)?;
    let list: Option<List> = text.and_then(|text| serde_json::from_slice(&text).ok());
    Ok(list.filter(|list| list.fault().is_none()))
}
