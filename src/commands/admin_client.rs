//! Asks the admin listener of a running proxy: the one client of all commands.
//!
//! With the proxy stopped, any local user may listen on its port and tell root a tale. So nobody is
//! asked on this machine but root, the user of the proxy and the caller's own. An answer is read up
//! to a bound and within a time, for whatever holds the port may be no proxy at all. A proxy of
//! another version is named as such: what it does not say is an error, never a guess.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::AdminAddress;
use crate::daemon::report::VERSION;
use crate::node::sockets;
use rules::noded::{Stranger, Trusted};
use rules::shown::inert_line;

/// Largest answer that is read, in bytes; 4096 candidates take some 4 MiB.
const MOST: u64 = 16 << 20;
/// Time for the whole of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Headers of an answer; a proxy sends four.
const HEADERS: usize = 32;

/// What a running proxy answered.
#[derive(Debug)]
pub(crate) struct Answer {
    admin: AdminAddress,
    text: String,
}

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing answers there.
    #[error("{admin}: no answer from a running proxy: {why}")]
    NoAnswer {
        /// Where.
        admin: AdminAddress,
        /// Why not.
        why: io::Error,
    },
    /// Another user's process listens there.
    #[error(
        "{admin}: a process of uid {uid} listens there, which is neither root's nor the proxy's: \
         it is not asked: stop it, then start noded-proxy"
    )]
    Stranger {
        /// Where.
        admin: AdminAddress,
        /// The user.
        uid: u32,
    },
    /// What answers there is something else.
    #[error("{admin}: the answer is not that of a noded-proxy")]
    NotAProxy {
        /// Where.
        admin: AdminAddress,
    },
    /// A proxy answers, and does not say all that is needed, or says it in another way.
    #[error(
        "{admin}: the running noded-proxy is of version {theirs}, this program of version \
         {VERSION}, which does not understand its \
         answer ({why}): restart the proxy, or use its own program"
    )]
    OtherVersion {
        /// Where.
        admin: AdminAddress,
        /// Version of the running proxy.
        theirs: String,
        /// What is missing or unknown.
        why: serde_json::Error,
    },
}

/// By these every version of the program is known in its documents.
#[derive(Deserialize)]
struct Known {
    version: Option<String>,
    // Only a proxy's documents have one of these.
    tls_library: Option<serde::de::IgnoredAny>,
    client_ca_list: Option<serde::de::IgnoredAny>,
}

/// One GET on the admin listener of the proxy with this state directory: whose the directory is, as
/// that user the proxy runs.
pub(crate) fn get(
    admin: &AdminAddress,
    state_dir: &Path,
    path: &'static str,
) -> Result<Answer, Error> {
    let trusted = Trusted {
        also: fs::metadata(state_dir).ok().map(|found| found.uid()),
        ..sockets::trusted()
    };
    let answer = within_time(admin, trusted, path).map_err(|error| error.of(admin))?;
    let admin = admin.clone();
    match text(&answer) {
        Some(text) => Ok(Answer { admin, text }),
        None => Err(Error::NotAProxy { admin }),
    }
}

/// Why nothing came.
enum Nothing {
    Io(io::Error),
    Stranger(u32),
}

impl From<io::Error> for Nothing {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Nothing {
    fn of(self, admin: &AdminAddress) -> Error {
        let admin = admin.clone();
        match self {
            Self::Io(why) => Error::NoAnswer { admin, why },
            Self::Stranger(uid) => Error::Stranger { admin, uid },
        }
    }
}

fn within_time(
    admin: &AdminAddress,
    trusted: Trusted,
    path: &'static str,
) -> Result<Vec<u8>, Nothing> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = async { timeout(PATIENCE, ask(admin, trusted, path)).await };
    runtime.block_on(asked).unwrap_or_else(|_| {
        let why = format!("not all of it came within {} s", PATIENCE.as_secs());
        Err(io::Error::other(why).into())
    })
}

/// The whole of an answer, of nobody but a proxy's user.
async fn ask(
    admin: &AdminAddress,
    trusted: Trusted,
    path: &'static str,
) -> Result<Vec<u8>, Nothing> {
    match admin {
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            match sockets::may_send_to(*address, stream.local_addr()?, trusted)? {
                Ok(()) => Ok(exchange(stream, &address.to_string(), path).await?),
                Err(Stranger::Impostor(uid)) => Err(Nothing::Stranger(uid)),
                Err(Stranger::Gone) => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            }
        }
        AdminAddress::Socket(socket) => {
            let stream = UnixStream::connect(socket).await?;
            match stream.peer_cred()?.uid() {
                uid if trusted.has(uid) => Ok(exchange(stream, "localhost", path).await?),
                uid => Err(Nothing::Stranger(uid)),
            }
        }
    }
}

/// One request and its answer. HTTP/1.0, so it is not chunked and the connection ends with it.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &'static str,
) -> io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST + 1).read_to_end(&mut answer).await?;
    match answer.len() as u64 > MOST {
        true => Err(io::Error::other(format!("it has more than {MOST} bytes"))),
        false => Ok(answer),
    }
}

/// The body of an answer that says 200.
fn text(answer: &[u8]) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(answer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) | Err(_) => return None,
    };
    let body = (head.code == Some(200)).then(|| answer[length..].to_vec())?;
    String::from_utf8(body).ok()
}

impl Answer {
    /// The document as it came.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The document as a value, with each text in it on one line and nothing that a terminal would
    /// obey. Fields that this program does not know are left out.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.parsed().map_err(|why| self.misunderstood(why))
    }

    fn parsed<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let mut value = serde_json::from_str(&self.text)?;
        defuse(&mut value);
        serde_json::from_value(value)
    }

    fn misunderstood(&self, why: serde_json::Error) -> Error {
        let admin = self.admin.clone();
        match self.parsed::<Known>() {
            Ok(known) if known.tls_library.is_some() || known.client_ca_list.is_some() => {
                let theirs = known.version.filter(|version| !version.is_empty());
                let theirs = theirs.unwrap_or_else(|| "unknown".into());
                Error::OtherVersion { admin, theirs, why }
            }
            _ => Error::NotAProxy { admin },
        }
    }
}

fn defuse(value: &mut Value) {
    match value {
        Value::String(text) => *text = inert_line(text),
        Value::Array(all) => all.iter_mut().for_each(defuse),
        Value::Object(all) => {
            *all = std::mem::take(all)
                .into_iter()
                .map(|(key, mut value)| {
                    defuse(&mut value);
                    (inert_line(&key), value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[derive(Debug, Deserialize)]
    struct Wanted {
        host: String,
    }

    fn read(text: &str) -> Result<Wanted, String> {
        let admin = "127.0.0.1:9811".parse().unwrap();
        let text = text.to_owned();
        let answer = Answer { admin, text };
        answer.read().map_err(|error| error.to_string())
    }

    /// Answers one request with these bytes.
    fn answering(bytes: Vec<u8>) -> AdminAddress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&bytes);
        });
        AdminAddress::Tcp(address)
    }

    #[test]
    fn a_newer_proxy_is_understood_and_an_older_one_is_named() {
        let newer = r#"{"version": "9", "tls_library": "x", "host": "n1", "more": [1]}"#;
        assert_eq!(read(newer).unwrap().host, "n1");
        let older = r#"{"version": "0.0.1", "tls_library": "x"}"#;
        let told = read(older).unwrap_err();
        for word in ["version 0.0.1", VERSION, "missing field `host`"] {
            assert!(told.contains(word), "{told}");
        }
        let unnamed = read(r#"{"client_ca_list": {}}"#).unwrap_err();
        assert!(unnamed.contains("version unknown"), "{unnamed}");
    }

    /// Whoever took the proxy over answers root's commands.
    #[test]
    fn nothing_in_an_answer_is_obeyed() {
        let evil = r#"{"version": "9\u001b[2J\n", "tls_library": "x", "host": "n1\u001b]0;x\u0007\nready: true"}"#;
        let host = read(evil).unwrap().host;
        assert_eq!(host, "n1\\u{1b}]0;x\\u{7}\\u{a}ready: true");
        let odd = evil.replace("host", "host\\u001b");
        let told = read(&odd).unwrap_err();
        assert!(told.contains("version 9\\u{1b}[2J\\u{a},"), "{told}");
    }

    #[test]
    fn what_is_no_proxy_is_told_apart() {
        for text in ["", "<html>", "{}", r#"{"version": "1"}"#, "[]"] {
            let told = read(text).unwrap_err();
            assert!(told.contains("not that of a noded-proxy"), "{text}: {told}");
        }
        let elsewhere =
            answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}".to_vec());
        assert!(matches!(
            get(&elsewhere, Path::new("/nonexistent"), "/status"),
            Err(Error::NotAProxy { .. })
        ));
    }

    #[test]
    fn an_answer_without_end_is_given_up() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(MOST as usize + (1 << 20), b' ');
        let nowhere = Path::new("/nonexistent");
        let told = get(&answering(endless), nowhere, "/status");
        let told = told.unwrap_err().to_string();
        assert!(told.contains("more than 16777216 bytes"), "{told}");
    }
}
