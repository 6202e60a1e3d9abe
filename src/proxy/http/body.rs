//! A request body that is there as a whole, and how it is handed out. [`Bodies`](super::Bodies)
//! gathers it. It never changes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::spool::{PIECE, SpoolFile};
use super::{Lease, Refusal};

/// A request body, whole. All of it is ASCII.
#[derive(Debug)]
pub struct Body {
    length: u64,
    content: Content,
    #[allow(dead_code, reason = "held for its drop")]
    leases: Vec<Lease>,
}

#[derive(Debug)]
enum Content {
    Memory {
        /// The last piece that was taken.
        taken: Bytes,
        rest: VecDeque<Bytes>,
    },
    File {
        file: SpoolFile,
        taken: u64,
        buffer: Vec<u8>,
    },
}

impl Body {
    /// A body that is already complete.
    pub fn whole(data: Bytes) -> Self {
        Self::in_memory(data.len() as u64, VecDeque::from([data]), Vec::new())
    }

    pub(super) fn in_memory(length: u64, rest: VecDeque<Bytes>, leases: Vec<Lease>) -> Self {
        let taken = Bytes::new();
        Self {
            length,
            content: Content::Memory { taken, rest },
            leases,
        }
    }

    /// `buffer` is for what is read.
    pub(super) fn on_disk(
        length: u64,
        file: SpoolFile,
        mut buffer: Vec<u8>,
        leases: Vec<Lease>,
    ) -> Self {
        buffer.resize(buffer.capacity(), 0);
        Self {
            length,
            content: Content::File {
                file,
                taken: 0,
                buffer,
            },
            leases,
        }
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The whole body in one piece, if it has not more than `most` bytes. It stays here.
    pub async fn contents(&self, most: u64) -> Result<Option<Vec<u8>>, Refusal> {
        if self.length > most {
            return Ok(None);
        }
        let mut contents = Vec::new();
        match &self.content {
            Content::Memory { rest, .. } => {
                rest.iter()
                    .for_each(|piece| contents.extend_from_slice(piece));
            }
            Content::File { file, .. } => {
                let mut buffer = vec![0; PIECE];
                while (contents.len() as u64) < self.length {
                    let count;
                    (buffer, count) = file.read(contents.len() as u64, buffer).await?;
                    contents.extend_from_slice(&buffer[..count]);
                }
            }
        }
        Ok(Some(contents))
    }

    /// Takes the next piece; it is empty only at the end.
    pub async fn next(&mut self) -> Result<&[u8], Refusal> {
        match &mut self.content {
            Content::Memory { taken, rest } => {
                *taken = rest.pop_front().unwrap_or_default();
                Ok(taken)
            }
            Content::File { taken, .. } if *taken == self.length => Ok(&[]),
            Content::File {
                file,
                taken,
                buffer,
            } => {
                let count;
                (*buffer, count) = file.read(*taken, std::mem::take(buffer)).await?;
                *taken += count as u64;
                Ok(buffer.get(..count).unwrap_or_default())
            }
        }
    }
}
