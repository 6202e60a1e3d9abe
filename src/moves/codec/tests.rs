//! What a hostile peer, or a cut connection, may make of compressed bytes; and that the programs of
//! the same names understand what is made here, and the other way round.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use proptest::prelude::*;

use super::*;

const ALL: [Codec; 2] = [Codec::Zstd, Codec::Lz4];

/// Compressed in pieces of this size.
fn packed(codec: Codec, bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut to = |part: &[u8]| {
        out.extend_from_slice(part);
        Ok(())
    };
    let mut packer = codec.packer(2).unwrap();
    for part in bytes.chunks(piece) {
        packer.push(part, &mut to).unwrap();
    }
    packer.end(&mut to).unwrap();
    out
}

/// Decompressed in pieces of this size.
fn unpacked(codec: Codec, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut unpacker = codec.unpacker()?;
    for part in bytes.chunks(piece) {
        unpacker.push(part, &mut |part| {
            out.extend_from_slice(part);
            Ok(())
        })?;
    }
    unpacker.end().map(|()| out)
}

/// Bytes of which some can be compressed, some not, and some are zero.
fn mixed(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let byte = |at: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        match (at / 50_000) % 3 {
            0 => state as u8,
            1 => b"a line of text\n"[at % 15] ^ state.is_multiple_of(3) as u8,
            _ => 0,
        }
    };
    (0..length).map(byte).collect()
}

/// What a program makes of these bytes, or nothing when it fails or is not there.
fn by_program(command: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut program = Command::new(command[0]);
    program.args(&command[1..]).stdin(Stdio::piped());
    program.stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = program.spawn() else {
        eprintln!("NOT TESTED: {} is not installed", command[0]);
        let required = std::env::var_os("NODED_PROXY_REQUIRE_LAB").is_some_and(|v| v == "1");
        assert!(!required, "{} is required", command[0]);
        return None;
    };
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let feeder = thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    let _ = feeder.join();
    output.status.success().then_some(output.stdout)
}

fn has(program: &str) -> bool {
    by_program(&[program, "--version"], b"").is_some()
}

#[test]
fn the_programs_decompress_what_is_compressed_here() {
    for codec in ALL {
        let name = codec.to_string();
        if !has(&name) {
            continue;
        }
        for length in [0, 1, 65_536, 1 << 20, 9_000_001] {
            let bytes = mixed(length);
            let made = packed(codec, &bytes, 300_000);
            let back = by_program(&[&name, "-d"], &made);
            assert!(back.as_ref() == Some(&bytes), "{codec} {length}");
        }
    }
}

#[test]
fn what_the_programs_compress_is_decompressed_here() {
    let forms: [(Codec, &[&[&str]]); 2] = [
        (
            Codec::Zstd,
            &[
                &["zstd"],
                &["zstd", "-T2"],
                &["zstd", "-19"],
                &["zstd", "--no-check"],
            ],
        ),
        (
            Codec::Lz4,
            &[
                &["lz4"],
                &["lz4", "-9"],
                &["lz4", "-BD", "-B4"],
                &["lz4", "-BD", "-B7"],
                &["lz4", "-BX", "-B5"],
                &["lz4", "--no-frame-crc", "-BD", "-BX"],
            ],
        ),
    ];
    for (codec, forms) in forms {
        for form in forms.iter().filter(|form| has(form[0])) {
            for length in [0, 1, 65_536, 9_000_001] {
                let bytes = mixed(length);
                let made = by_program(form, &bytes).unwrap();
                for piece in [1 << 20, 4_099] {
                    let back = unpacked(codec, &made, piece);
                    assert!(back.as_ref() == Ok(&bytes), "{form:?} {length} {piece}");
                }
            }
        }
    }
}

#[test]
fn a_part_of_a_frame_is_never_whole() {
    for codec in ALL {
        let bytes = mixed(300);
        let made = packed(codec, &bytes, 100);
        for cut in 0..made.len() {
            let back = unpacked(codec, &made[..cut], 100);
            assert_eq!(back, Err(Fault::Cut(codec)), "{cut} of {}", made.len());
        }
        // Behind a whole frame, too.
        let two = [&made[..], &made[..]].concat();
        for cut in made.len() + 1..two.len() {
            let back = unpacked(codec, &two[..cut], 100);
            assert_eq!(back, Err(Fault::Cut(codec)), "{cut}");
        }
        assert_eq!(unpacked(codec, &two, 100), Ok(bytes.repeat(2)));
    }
}

#[test]
fn all_of_a_great_piece_is_given_on_before_the_end() {
    // The end of the frame comes in one piece with more than is given on at once.
    let bytes = vec![7; 50 << 20];
    for codec in ALL {
        let made = packed(codec, &bytes, bytes.len());
        assert!(
            unpacked(codec, &made, made.len()) == Ok(bytes.clone()),
            "{codec}"
        );
    }
}

#[test]
fn what_is_behind_the_last_frame_is_a_fault() {
    for codec in ALL {
        let made = packed(codec, b"disk", 4);
        for behind in [&b"x"[..], b"\0", b"rest of it", &[0; 4096]] {
            let back = unpacked(codec, &[&made, behind].concat(), 7);
            assert!(back.is_err(), "{codec} {behind:?}: {back:?}");
        }
    }
}

#[test]
fn a_frame_to_be_skipped_is_skipped_as_the_programs_do_it() {
    let skipped = [
        &0x184D_2A53_u32.to_le_bytes()[..],
        &5_u32.to_le_bytes(),
        b"hello",
    ]
    .concat();
    let empty = [&0x184D_2A50_u32.to_le_bytes()[..], &[0; 4]].concat();
    for codec in ALL {
        let made = packed(codec, b"disk", 4);
        let all = [&skipped[..], &made, &empty, &made, &skipped].concat();
        for piece in [1, 3, 1000] {
            assert_eq!(
                unpacked(codec, &all, piece),
                Ok(b"diskdisk".to_vec()),
                "{codec} {piece}"
            );
        }
        let cut = unpacked(codec, &all[..all.len() - 1], 9);
        assert_eq!(cut, Err(Fault::Cut(codec)));
        let name = codec.to_string();
        if has(&name) {
            assert_eq!(
                by_program(&[&name, "-d"], &all).as_deref(),
                Some(&b"diskdisk"[..])
            );
        }
    }
}

/// The head of a zstd frame with a window of 2 to the power of this.
fn with_window(log: u8) -> Vec<u8> {
    [&0xFD2F_B528_u32.to_le_bytes()[..], &[0, (log - 10) << 3]].concat()
}

#[test]
fn a_window_beyond_the_bound_is_refused_before_its_memory_is_taken() {
    // A last block that is empty.
    let of = |log| [&with_window(log)[..], &[1, 0, 0]].concat();
    assert_eq!(unpacked(Codec::Zstd, &of(23), 5), Ok(vec![]));
    for log in [24, 27, 31, 41] {
        let fault = unpacked(Codec::Zstd, &of(log), 5).unwrap_err();
        assert_eq!(fault, Fault::Window, "{log}");
        assert!(
            fault.to_string().contains("more than 8 MiB (--long"),
            "{fault}"
        );
    }
    // One segment: the window is the content, which says to be 1 TiB.
    let head = [&0xFD2F_B528_u32.to_le_bytes()[..], &[0b1110_0000]].concat();
    let whole = [&head[..], &(1_u64 << 40).to_le_bytes(), &[1, 0, 0]].concat();
    assert_eq!(unpacked(Codec::Zstd, &whole, 99), Err(Fault::Window));
}

#[test]
fn zstd_long_is_refused() {
    if !has("zstd") {
        return;
    }
    let bytes = mixed(20_000_000);
    let long = by_program(&["zstd", "--long", "-1"], &bytes).unwrap();
    assert_eq!(unpacked(Codec::Zstd, &long, 1 << 20), Err(Fault::Window));
}

#[test]
fn damaged_lz4_frames_as_a_table() {
    let sum = |bytes: &[u8]| (twox_hash::XxHash32::oneshot(0, bytes) >> 8) as u8;
    let frame = |flags: u8, size: u8, more: &[u8], rest: &[u8]| {
        let head = [&[flags, size][..], more].concat();
        [
            &0x184D_2204_u32.to_le_bytes()[..],
            &head,
            &[sum(&head)],
            rest,
        ]
        .concat()
    };
    let end = [0; 4];
    let plain = |length: u32| (length | 1 << 31).to_le_bytes();
    let good = [&plain(2)[..], b"ab", &end].concat();
    assert_eq!(
        unpacked(Codec::Lz4, &frame(0x60, 0x40, &[], &good), 3),
        Ok(b"ab".to_vec())
    );
    let nine = 9_u64.to_le_bytes();
    let mut head = frame(0x60, 0x40, &[], &good);
    head[6] ^= 1;
    for (bytes, told) in [
        (
            frame(0x60, 0x40, &[], &plain(65_537)),
            "a block that is too long",
        ),
        (
            frame(0x60, 0x40, &[], &65_537_u32.to_le_bytes()),
            "a block that is too long",
        ),
        (frame(0x61, 0x40, &end, &end), "a frame with a dictionary"),
        (frame(0xa0, 0x40, &[], &end), "a frame of unknown form"),
        (frame(0x62, 0x40, &[], &end), "a frame of unknown form"),
        (frame(0x60, 0xc0, &[], &end), "a frame of unknown form"),
        (frame(0x60, 0x30, &[], &end), "a frame of unknown form"),
        (frame(0x68, 0x40, &nine, &good), "the length is another"),
        (
            frame(0x64, 0x40, &[], &[&good[..], b"sums"].concat()),
            "the checksum is another",
        ),
        (
            frame(0x70, 0x40, &[], &[&good[..6], b"sums"].concat()),
            "the checksum of a block is another",
        ),
        (frame(0x60, 0x40, &[], &[2, 0, 0, 0, 0xff, 0xff]), "lz4: "),
        (head, "a damaged head of a frame"),
        (
            0x184C_2102_u32.to_le_bytes().to_vec(),
            "a frame of the old form",
        ),
        (b"not at all".to_vec(), "no frame where one must begin"),
    ] {
        for piece in [1, 99] {
            let fault = unpacked(Codec::Lz4, &bytes, piece).unwrap_err().to_string();
            assert!(fault.contains(told), "{fault}: {told}");
        }
    }
}

/// Whoever looks behind its start would get what another frame had.
#[test]
fn a_linked_block_does_not_look_behind_the_start_of_its_frame() {
    let sum = |head: &[u8]| (twox_hash::XxHash32::oneshot(0, head) >> 8) as u8;
    let frame = |blocks: &[&[u8]]| {
        let head = [0x40, 0x40];
        let magic = 0x184D_2204_u32.to_le_bytes();
        [&magic[..], &head, &[sum(&head)], &blocks.concat(), &[0; 4]].concat()
    };
    let plain = [&(6_u32 | 1 << 31).to_le_bytes()[..], b"abcdef"].concat();
    // No literals, six bytes from six bytes before; and then five literals, as the form wants it.
    let back = [&9_u32.to_le_bytes()[..], &[0x02, 6, 0, 0x50], b"vwxyz"].concat();
    assert_eq!(
        unpacked(Codec::Lz4, &frame(&[&plain, &back]), 5),
        Ok(b"abcdefabcdefvwxyz".to_vec())
    );
    let two = [frame(&[&plain]), frame(&[&back])].concat();
    for piece in [1, 99] {
        let fault = unpacked(Codec::Lz4, &two, piece).unwrap_err();
        assert!(matches!(fault, Fault::Broken(Codec::Lz4, _)), "{fault}");
    }
}

#[test]
fn a_taker_that_fails_ends_it_with_its_own_words() {
    for codec in ALL {
        let bytes = mixed(3_000_000);
        let made = packed(codec, &bytes, bytes.len());
        let full = &mut |_: &[u8]| Err("disk full".to_owned());
        let taker = Err(Fault::Taker("disk full".into()));
        assert_eq!(codec.unpacker().unwrap().push(&made, full), taker);
        let mut packer = codec.packer(1).unwrap();
        let pushed = packer.push(&bytes, full).and_then(|()| packer.end(full));
        assert_eq!(pushed, taker);
    }
}

proptest! {
    #[test]
    fn bytes_come_back_whatever_the_pieces(
        bytes in proptest::collection::vec(0..4_u8, 0..20_000),
        (one, two) in (1..5_000_usize, 1..5_000_usize),
    ) {
        for codec in ALL {
            let made = packed(codec, &bytes, one);
            prop_assert_eq!(&unpacked(codec, &made, two).unwrap(), &bytes);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), flip: u8) {
        for codec in ALL {
            let _ = unpacked(codec, &bytes, 5);
            // A damaged frame is a fault, or what was compressed.
            let mut made = packed(codec, &bytes, 99);
            let at = at.index(made.len());
            made[at] ^= flip;
            if let Ok(back) = unpacked(codec, &made, 7) {
                prop_assert_eq!(back, bytes.clone());
            }
        }
    }
}
