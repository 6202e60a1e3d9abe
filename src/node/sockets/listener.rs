//! A listening socket, as both ways of looking show it. It only holds values.

use std::net::SocketAddr;

use rules::noded::Listening;

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// The user who made it.
    pub(crate) uid: u32,
    pub(super) inode: u64,
}

impl Listener {
    /// A socket of root's.
    #[cfg(test)]
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::of(address, 0)
    }

    #[cfg(test)]
    pub(crate) fn of(address: SocketAddr, uid: u32) -> Self {
        let inode = 0;
        Self {
            address,
            uid,
            inode,
        }
    }

    /// As the rules take it.
    pub(crate) fn listening(&self) -> Listening {
        let Self { address, uid, .. } = *self;
        Listening { address, uid }
    }
}
