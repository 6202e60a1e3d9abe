//! Zstandard by libzstd. A window that is greater than the bound is refused before its memory is
//! taken, and a part of a frame never counts as whole.

use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::fault::{Codec, Fault, WINDOW_LOG};

/// The level of `zstd` without arguments. Its window is 2 MiB.
const LEVEL: i32 = 3;

/// Bytes that are given on at once.
const AT_ONCE: usize = 1 << 20;

/// What libzstd says about a window that is too great.
const TOO_GREAT: &str = "too much memory";

fn broken(error: &std::io::Error) -> Fault {
    match error.to_string() {
        text if text.contains(TOO_GREAT) => Fault::Window,
        text => Fault::Broken(Codec::Zstd, text),
    }
}

/// Compresses into one frame.
pub struct Packer {
    encoder: Encoder<'static>,
    out: Vec<u8>,
}

impl Packer {
    /// With so many threads beside the caller's.
    pub(super) fn new(threads: u32) -> Result<Self, Fault> {
        let mut encoder = Encoder::new(LEVEL).map_err(|error| broken(&error))?;
        for parameter in [
            CParameter::NbWorkers(threads),
            CParameter::ChecksumFlag(true),
        ] {
            let set = encoder.set_parameter(parameter);
            set.map_err(|error| broken(&error))?;
        }
        let out = vec![0; AT_ONCE];
        Ok(Self { encoder, out })
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            let mut output = OutBuffer::around(&mut self.out);
            let done = self.encoder.run(&mut input, &mut output);
            done.map_err(|error| broken(&error))?;
            give(output.as_slice(), to)?;
        }
        Ok(())
    }

    pub(super) fn end(
        mut self,
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        loop {
            let mut output = OutBuffer::around(&mut self.out);
            let left = self.encoder.finish(&mut output, true);
            let left = left.map_err(|error| broken(&error))?;
            give(output.as_slice(), to)?;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

fn give(bytes: &[u8], to: &mut impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), Fault> {
    match bytes.is_empty() {
        true => Ok(()),
        false => to(bytes).map_err(Fault::Taker),
    }
}

/// Decompresses frames, one after the other.
pub struct Unpacker {
    decoder: Decoder<'static>,
    out: Vec<u8>,
    /// The last frame has ended, and nothing of the next has come.
    whole: bool,
}

impl Unpacker {
    pub(super) fn new() -> Result<Self, Fault> {
        let mut decoder = Decoder::new().map_err(|error| broken(&error))?;
        let bound = decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG));
        bound.map_err(|error| broken(&error))?;
        Ok(Self {
            decoder,
            out: vec![0; AT_ONCE],
            whole: false,
        })
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        to: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let mut input = InBuffer::around(bytes);
        if bytes.is_empty() {
            return Ok(()); // asked without bytes behind a frame, it would begin the next one
        }
        loop {
            let mut output = OutBuffer::around(&mut self.out);
            let left = self.decoder.run(&mut input, &mut output);
            let left = left.map_err(|error| broken(&error))?;
            let is_full = output.pos() == output.capacity();
            give(output.as_slice(), to)?;
            self.whole = left == 0;
            if input.pos() == bytes.len() && (self.whole || !is_full) {
                return Ok(());
            }
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }
}
