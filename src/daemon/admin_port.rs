//! The admin listener's port: open, or taken by somebody else and tried again until it is free.
//!
//! It never ends the proxy: RPCs are served without it. What is answered there is the business of
//! [`admin`](super::admin).

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tracing::{error, info};

use crate::node::sockets::Holders;
use crate::proxy::listener::{BIND_AGAIN, bind, may_heal, why_not};

/// The port.
pub(super) struct AdminPort {
    address: SocketAddr,
    holders: Holders,
    open: io::Result<TcpListener>,
}

impl AdminPort {
    /// Opens it, unless it may be free later. `holders` as for the public listener.
    pub(super) fn open(address: SocketAddr, holders: Holders) -> io::Result<Self> {
        let open = match bind(address) {
            Err(error) if !may_heal(&error) => return Err(error),
            open => open,
        };
        Ok(Self {
            address,
            holders,
            open,
        })
    }

    /// The socket of the process before this one, for the same address.
    pub(super) fn continuing(
        address: SocketAddr,
        holders: Holders,
        socket: std::net::TcpListener,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let open = Ok(TcpListener::from_std(socket)?);
        Ok(Self {
            address,
            holders,
            open,
        })
    }

    /// Its address, if it is open.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.open.as_ref().ok()?.local_addr().ok()
    }

    /// One log line: it is open, or why not.
    pub(super) fn tell(&self) {
        match &self.open {
            Ok(_) => {
                let address = self.address().unwrap_or(self.address);
                info!(%address, "admin listener open");
            }
            Err(error) => {
                let why = why_not(error, self.address.port(), &self.holders);
                error!(address = %self.address, why, "cannot open the admin listener, trying again");
            }
        }
    }

    /// Waits until it is open.
    pub(super) async fn opened(mut self) -> TcpListener {
        loop {
            match self.open {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(BIND_AGAIN).await,
            }
            self.open = bind(self.address);
            if self.open.is_ok() {
                self.tell();
            }
        }
    }
}
