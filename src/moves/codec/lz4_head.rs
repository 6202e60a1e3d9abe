//! The heads of LZ4 frames: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>. Pure: it
//! looks at bytes, and keeps none.

use twox_hash::XxHash32;

/// How a frame is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Longest block.
    pub(super) block: usize,
    /// Blocks use what was before them.
    pub(super) linked: bool,
    /// Each block has a checksum.
    pub(super) block_sums: bool,
    /// The content has one.
    pub(super) sum: bool,
    /// The length of the content.
    pub(super) length: Option<u64>,
}

/// What a frame begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// A frame of data.
    Data(Head),
    /// So many bytes to be skipped.
    Skip(u32),
}

const DATA: u32 = 0x184D_2204;
const OLD: u32 = 0x184C_2102;
const SKIP: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;

/// The first bytes of a frame; nothing while bytes are missing.
pub(super) fn start(bytes: &[u8]) -> Result<Option<Start>, &'static str> {
    let Some(kind) = bytes.first_chunk() else {
        return Ok(None);
    };
    match u32::from_le_bytes(*kind) {
        DATA => data(&bytes[4..]),
        OLD => Err("a frame of the old form"),
        kind if SKIP.contains(&kind) => {
            let length = bytes[4..]
                .first_chunk()
                .map(|four| u32::from_le_bytes(*four));
            Ok(length.map(Start::Skip))
        }
        _ => Err("no frame where one must begin"),
    }
}

fn data(bytes: &[u8]) -> Result<Option<Start>, &'static str> {
    let [flags, size, ..] = *bytes else {
        return Ok(None);
    };
    let has = |flag: u8| flags & flag != 0;
    if flags & 0b1100_0010 != 0b0100_0000 || size & 0b1000_1111 != 0 {
        return Err("a frame of unknown form");
    }
    if has(1) {
        return Err("a frame with a dictionary");
    }
    let block = match size >> 4 {
        power @ 4..=7 => 1 << (8 + 2 * power),
        _ => return Err("a frame of unknown form"),
    };
    let end = if has(8) { 10 } else { 2 };
    let Some(sum) = bytes.get(end) else {
        return Ok(None);
    };
    if *sum != (XxHash32::oneshot(0, &bytes[..end]) >> 8) as u8 {
        return Err("a damaged head of a frame");
    }
    let length = bytes[2..end]
        .first_chunk()
        .map(|eight| u64::from_le_bytes(*eight));
    Ok(Some(Start::Data(Head {
        block,
        linked: !has(32),
        block_sums: has(16),
        sum: has(4),
        length,
    })))
}
