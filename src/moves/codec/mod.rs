//! The compressions that this program does itself: zstd and lz4, in the form of the programs of these
//! names. Pure: bytes in, bytes out.
//!
//! The bytes may be a hostile peer's. What is decompressed needs memory that is bounded here, and
//! is whole only when its last frame is: a part of a frame, and anything that is no frame, is a
//! fault. No program is run, and no file is opened.

mod fault;
mod lz4;
mod lz4_head;
mod zstd;

pub use fault::{Codec, Fault};

impl Codec {
    /// Compresses with up to so many threads beside the caller's, if it can use them.
    pub fn packer(self, threads: u32) -> Result<Packer, Fault> {
        Ok(match self {
            Self::Zstd => Packer::Zstd(zstd::Packer::new(threads)?),
            Self::Lz4 => Packer::Lz4(lz4::Packer::new()),
        })
    }

    /// Decompresses.
    pub fn unpacker(self) -> Result<Unpacker, Fault> {
        Ok(match self {
            Self::Zstd => Unpacker::Zstd(zstd::Unpacker::new()?),
            Self::Lz4 => Unpacker::Lz4(Box::default()),
        })
    }
}

/// Takes bytes, and gives them on compressed.
pub enum Packer {
    /// By zstd.
    #[doc(hidden)]
    Zstd(zstd::Packer),
    /// By lz4.
    #[doc(hidden)]
    Lz4(lz4::Packer),
}

impl Packer {
    /// Takes the next bytes. `to` gets what is ready.
    pub fn push(
        &mut self,
        bytes: &[u8],
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        match self {
            Self::Zstd(zstd) => zstd.push(bytes, to),
            Self::Lz4(lz4) => lz4.push(bytes, to),
        }
    }

    /// There are no more: `to` gets all that is left, and the end of the frame.
    pub fn end(self, to: &mut impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), Fault> {
        match self {
            Self::Zstd(zstd) => zstd.end(to),
            Self::Lz4(lz4) => lz4.end(to),
        }
    }
}

/// Takes compressed bytes, and gives on what they were.
pub enum Unpacker {
    /// By zstd.
    #[doc(hidden)]
    Zstd(zstd::Unpacker),
    /// By lz4.
    #[doc(hidden)]
    Lz4(Box<lz4::Unpacker>),
}

impl Unpacker {
    /// Takes the next bytes. `to` gets what is ready.
    pub fn push(
        &mut self,
        bytes: &[u8],
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        match self {
            Self::Zstd(zstd) => zstd.push(bytes, to),
            Self::Lz4(lz4) => lz4.push(bytes, to),
        }
    }

    /// There are no more. An error if that is not the end of a frame.
    pub fn end(&self) -> Result<(), Fault> {
        let (codec, whole) = match self {
            Self::Zstd(zstd) => (Codec::Zstd, zstd.is_whole()),
            Self::Lz4(lz4) => (Codec::Lz4, lz4.is_whole()),
        };
        match whole {
            true => Ok(()),
            false => Err(Fault::Cut(codec)),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
