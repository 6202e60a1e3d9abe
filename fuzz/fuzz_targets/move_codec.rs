//! Whatever a verified peer sends as zstd or lz4: it never panics, is never whole in the middle, and
//! does not depend on the pieces in which it comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noded_proxy::moves::codec::{Codec, Fault};

/// More than this is not taken: a few bytes may stand for gigabytes.
const ENOUGH: usize = 1 << 20;

fn unpacked(codec: Codec, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut unpacker = codec.unpacker()?;
    for part in bytes.chunks(piece) {
        unpacker.push(part, &mut |more| {
            out.extend_from_slice(more);
            match out.len() > ENOUGH {
                true => Err("enough".into()),
                false => Ok(()),
            }
        })?;
    }
    unpacker.end().map(|()| out)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    for codec in [Codec::Zstd, Codec::Lz4] {
        let at_once = unpacked(codec, bytes, bytes.len().max(1));
        let in_pieces = unpacked(codec, bytes, usize::from(*first).max(1));
        if let (Ok(at_once), Ok(in_pieces)) = (&at_once, &in_pieces) {
            assert!(at_once == in_pieces);
        }
        assert_eq!(at_once.is_ok(), in_pieces.is_ok());
    }
});
