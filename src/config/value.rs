//! Values as people write them: `"10s"`, `"64MiB"`. It knows no key and no bounds.

use std::time::Duration;

use bytesize::ByteSize;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A duration such as `"10s"`, `"1h 30m"`, `"1day"`.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    const EXPECTED: &str = "expected a duration such as \"10s\" or \"1h 30m\"";
    let text = String::deserialize(from).map_err(|e| Error::custom(format!("{e}; {EXPECTED}")))?;
    humantime::parse_duration(&text)
        .map_err(|e| Error::custom(format!("{text:?}: {e}; {EXPECTED}")))
}

/// A size such as `"64MiB"`, `"16KiB"`, or a number of bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    const EXPECTED: &str = "expected a size such as \"64MiB\" or a number of bytes";
    let size =
        ByteSize::deserialize(from).map_err(|e| Error::custom(format!("{e}; {EXPECTED}")))?;
    Ok(size.as_u64())
}

/// The same for a key that may be absent.
pub(super) fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(from).map(Some)
}
