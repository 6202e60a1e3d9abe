//! Which compressions there are, and what can be wrong with compressed bytes. Nothing is read here.

use std::fmt;

/// The greatest zstd window that is taken: 8 MiB, what every decoder of the format should take (RFC
/// 8878), and what `zstd` makes up to level 19 without further arguments.
pub(super) const WINDOW_LOG: u32 = 23;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Zstandard, as `zstd` does it without arguments.
    Zstd,
    /// LZ4 frames, as `lz4` does it.
    Lz4,
}

/// Why bytes are not what a compressor made, or cannot be made here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No frame, or a damaged one.
    #[error("{0}: {1}")]
    Broken(Codec, String),
    /// It needs a greater window than is given to it.
    #[error("zstd: made with a window of more than {} MiB (--long, --ultra), which is not taken", 1 << (WINDOW_LOG - 20))]
    Window,
    /// The bytes end in the middle of a frame, or there are none.
    #[error("{0}: the compressed data end in the middle")]
    Cut(Codec),
    /// The place where the bytes go takes no more.
    #[error("{0}")]
    Taker(String),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        })
    }
}
