//! Tries a port as the user nobody: does the guard keep local users out? It changes nothing on the
//! node; whoever listens there is asked for nothing but his version.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::program::{ASKED, run};
use crate::proxy::upstream::call_version;

/// nobody and nogroup, on every Linux.
const NOBODY: u32 = 65_534;

/// What happened when an ordinary user tried to connect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Only root can try as somebody else.
    NotRoot,
    /// The user was let in.
    Accepted,
    /// The user was kept out.
    Refused,
    /// It could not be tried.
    Failed(String),
}

/// Runs this program again as nobody. The rule of the guard looks at the user who opens the socket.
pub(crate) fn connect(address: SocketAddr) -> Attempt {
    if !rustix::process::geteuid().is_root() {
        return Attempt::NotRoot;
    }
    // Not by its path: nobody may not be able to walk it.
    let mut probe = Command::new("/proc/self/exe");
    probe
        .args(["probe", &address.to_string()])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .env_clear();
    match run(&mut probe, b"", ASKED).map(|said| said.status.code()) {
        Ok(Some(0)) => Attempt::Accepted,
        Ok(Some(1)) => Attempt::Refused,
        Ok(_) => Attempt::Failed("the helper process broke down".into()),
        Err(error) => Attempt::Failed(error.to_string()),
    }
}

/// `noded-proxy probe ADDR:PORT`: exit status 0 when a connection is accepted, 1 when not.
pub fn probe(address: SocketAddr) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::from(2);
    };
    runtime.block_on(async {
        match timeout(Duration::from_secs(2), TcpStream::connect(address)).await {
            Ok(Ok(mut tcp)) => {
                // A connection that closes without a call is a traceback in noded's log.
                let call = call_version(&mut tcp, address);
                let _ = timeout(Duration::from_secs(5), call).await; // any answer will do
                ExitCode::SUCCESS
            }
            _ => ExitCode::FAILURE,
        }
    })
}
