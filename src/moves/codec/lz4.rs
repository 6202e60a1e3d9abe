//! LZ4 frames. The blocks are done by `lz4_flex`, without unsafe code. The frames are read here,
//! because that library's reader takes an end in the middle of some of them for the end; here a part
//! of a frame never counts as whole.

use std::hash::Hasher;
use std::io::Write;

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::fault::{Codec, Fault};
use super::lz4_head::{Head, Start, start};

/// A linked block looks back so far.
const WINDOW: usize = 64 * 1024;

/// The bit in the length of a block that says that it is not compressed.
const PLAIN: u32 = 1 << 31;

fn broken(what: impl ToString) -> Fault {
    Fault::Broken(Codec::Lz4, what.to_string())
}

/// Compresses into one frame.
pub struct Packer {
    encoder: FrameEncoder<Vec<u8>>,
}

impl Packer {
    /// Independent blocks and a checksum, as `lz4` has them.
    pub(super) fn new() -> Self {
        let form = FrameInfo::new()
            .block_size(BlockSize::Max1MB)
            .block_mode(BlockMode::Independent)
            .content_checksum(true);
        let encoder = FrameEncoder::with_frame_info(form, Vec::new());
        Self { encoder }
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        self.encoder.write_all(bytes).map_err(broken)?;
        let out = self.encoder.get_mut();
        if !out.is_empty() {
            to(out).map_err(Fault::Taker)?;
            out.clear();
        }
        Ok(())
    }

    pub(super) fn end(self, to: &mut impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), Fault> {
        let out = self.encoder.finish().map_err(broken)?;
        to(&out).map_err(Fault::Taker)
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// The first bytes of a frame.
    #[default]
    Start,
    /// The length of a block, or the end of the blocks.
    Length,
    /// A block of so many bytes, compressed or as it is, and its checksum.
    Block { length: usize, plain: bool },
    /// The checksum of the content.
    Sum,
    /// So many bytes that mean nothing.
    Skip(u32),
}

/// Decompresses frames, one after the other. Its memory is twice the longest block of the format,
/// which is 4 MiB.
#[derive(Default)]
pub struct Unpacker {
    place: Place,
    /// How this frame is made.
    head: Head,
    /// What has come of a part that is not complete.
    held: Vec<u8>,
    out: Vec<u8>,
    /// What a linked block looks back to.
    before: Vec<u8>,
    sum: XxHash32,
    length: u64,
    /// A frame has ended.
    ended: bool,
}

impl Unpacker {
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        while let Some((first, behind)) = bytes.split_first() {
            let wanted = match self.place {
                Place::Start => {
                    self.held.push(*first);
                    bytes = behind;
                    self.begin()?;
                    continue;
                }
                Place::Skip(left) => {
                    let part = bytes.len().min(left as usize);
                    bytes = &bytes[part..];
                    self.skip(left - part as u32);
                    continue;
                }
                Place::Length | Place::Sum => 4,
                Place::Block { length, .. } => length + self.sum_length(),
            };
            let missing = wanted - self.held.len();
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            if now.len() < missing {
                self.held.reserve_exact(missing);
                self.held.extend_from_slice(now);
            } else if self.held.is_empty() {
                self.part(now, to)?; // in one piece: it is not copied
            } else {
                self.held.extend_from_slice(now);
                let mut held = std::mem::take(&mut self.held);
                self.part(&held, to)?;
                held.clear();
                self.held = held;
            }
        }
        Ok(())
    }

    /// Between two frames, or behind the last.
    pub(super) fn is_whole(&self) -> bool {
        self.ended && self.place == Place::Start && self.held.is_empty()
    }

    fn sum_length(&self) -> usize {
        if self.head.block_sums { 4 } else { 0 }
    }

    /// One byte more of a frame's start has come.
    fn begin(&mut self) -> Result<(), Fault> {
        let Some(begun) = start(&self.held).map_err(broken)? else {
            return Ok(());
        };
        self.held.clear();
        match begun {
            Start::Skip(length) => self.skip(length),
            Start::Data(head) => {
                if self.out.len() < head.block {
                    self.out.resize(head.block, 0);
                }
                self.before.clear();
                (self.sum, self.length) = (XxHash32::with_seed(0), 0);
                (self.head, self.place) = (head, Place::Length);
            }
        }
        Ok(())
    }

    fn skip(&mut self, left: u32) {
        match left {
            0 => self.end(),
            left => self.place = Place::Skip(left),
        }
    }

    fn end(&mut self) {
        (self.place, self.ended) = (Place::Start, true);
    }

    /// A part behind the start is complete.
    fn part(
        &mut self,
        bytes: &[u8],
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let number = bytes
            .first_chunk()
            .map_or(0, |four| u32::from_le_bytes(*four));
        match self.place {
            Place::Start | Place::Skip(_) => {}
            Place::Length if number == 0 => return self.content(),
            Place::Length => {
                let (length, plain) = ((number & !PLAIN) as usize, number & PLAIN != 0);
                if length > self.head.block {
                    return Err(broken("a block that is too long"));
                }
                self.place = Place::Block { length, plain };
            }
            Place::Block { length, plain } => {
                let (block, sum) = bytes.split_at(length);
                if !sum.is_empty() && sum != XxHash32::oneshot(0, block).to_le_bytes() {
                    return Err(broken("the checksum of a block is another"));
                }
                self.place = Place::Length;
                return self.block(block, plain, to);
            }
            Place::Sum if number != self.sum.finish_32() => {
                return Err(broken("the checksum is another"));
            }
            Place::Sum => self.end(),
        }
        Ok(())
    }

    /// The last block has come.
    fn content(&mut self) -> Result<(), Fault> {
        if self.head.length.is_some_and(|said| said != self.length) {
            return Err(broken("the length is another"));
        }
        match self.head.sum {
            true => self.place = Place::Sum,
            false => self.end(),
        }
        Ok(())
    }

    fn block(
        &mut self,
        block: &[u8],
        plain: bool,
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let content = if plain {
            block
        } else {
            let out = &mut self.out[..self.head.block];
            let done = match self.head.linked {
                true => decompress_into_with_dict(block, out, &self.before),
                false => decompress_into(block, out),
            };
            &self.out[..done.map_err(broken)?]
        };
        if self.head.sum {
            self.sum.write(content);
        }
        self.length = self.length.saturating_add(content.len() as u64);
        if self.head.linked {
            let kept = self.before.len().min(WINDOW.saturating_sub(content.len()));
            self.before.drain(..self.before.len() - kept);
            let new = content.len().min(WINDOW);
            self.before
                .extend_from_slice(&content[content.len() - new..]);
        }
        to(content).map_err(Fault::Taker)
    }
}
