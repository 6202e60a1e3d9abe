//! A line of text with descriptors over a local socket (unix(7), SCM_RIGHTS), and files in memory
//! for what is too long for a line. It never looks at what they say.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Most descriptors in a message.
const MOST: usize = 64;
/// Longest line.
const LONGEST: u64 = 1 << 20;
/// Largest file in memory: JSON of the largest candidate map, whatever is in it.
const LARGEST: u64 = 128 << 20;

/// Sends a line, and descriptors with its first byte.
pub(super) fn send(socket: &UnixStream, line: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many sockets"));
    }
    let line = format!("{line}\n");
    let first = [IoSlice::new(&line.as_bytes()[..1])];
    sendmsg(socket, &first, &mut control, SendFlags::NOSIGNAL)?;
    let mut socket = socket;
    socket.write_all(&line.as_bytes()[1..])
}

/// Reads a line and its descriptors, and not a byte more. `None` at the end of file.
pub(super) fn receive(socket: &UnixStream) -> io::Result<Option<(String, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut first = [0; 1];
    let got = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut first)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let mut line = first.to_vec();
    let mut rest = socket.take(LONGEST);
    // Byte by byte: what follows the line is somebody else's.
    while line.last() != Some(&b'\n') && rest.read(&mut first)? == 1 {
        line.extend(first);
    }
    let line = String::from_utf8(line).map_err(io::Error::other)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(Some((line.to_owned(), fds))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A file in memory that has this content: no disk is needed for it, and nobody waits for a reader.
pub(super) fn file(content: &[u8]) -> io::Result<OwnedFd> {
    let new = |flags| memfd_create("handover", flags | MemfdFlags::CLOEXEC);
    // Linux before 6.3 does not know the flag, later ones may insist on it.
    let fd = new(MemfdFlags::NOEXEC_SEAL).or_else(|_| new(MemfdFlags::empty()))?;
    let mut file = File::from(fd);
    file.write_all(content)?;
    Ok(file.into())
}

/// The content of such a file.
pub(super) fn content(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(fd.try_clone()?);
    file.rewind()?;
    let mut content = Vec::new();
    file.take(LARGEST).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_line_comes_with_its_descriptors_and_leaves_the_rest() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut kept, passed) = UnixStream::pair().unwrap();
        send(&one, "first", &[passed.as_fd()]).unwrap();
        send(&one, "second", &[]).unwrap();
        drop((one, passed));
        let (line, mut fds) = receive(&other).unwrap().unwrap();
        assert_eq!((line.as_str(), fds.len()), ("first", 1));
        UnixStream::from(fds.remove(0)).write_all(b"x").unwrap();
        kept.read_exact(&mut [0]).unwrap();
        assert_eq!(receive(&other).unwrap().unwrap().0, "second");
        assert!(receive(&other).unwrap().is_none());
    }
}
