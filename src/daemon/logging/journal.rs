//! Events in the form that systemd's journal takes (the native protocol of systemd-journald), and
//! the socket that they go to. It only encodes and sends; the queue lies between the two.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::Context;

use super::queue::Queue;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Fields that people look for, by these names; see systemd.journal-fields(7) for the style.
const PLAIN: [&str; 6] = ["peer", "cn", "digest", "procedure", "reason", "status"];
/// Stands before the names of all others.
const PREFIX: &str = "NODED_PROXY_";

/// The journal's socket. One write is one entry.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Fails if nobody listens there.
    pub(super) fn open() -> io::Result<Self> {
        Self::at(SOCKET.into())
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.send_to(&[], &path)?; // the journal passes over an empty entry
        Ok(Self { socket, path })
    }
}

impl Write for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        // By its path each time: the journal may have been started anew.
        self.socket.send_to(entry, &self.path)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts each event into the queue, with its fields.
pub(super) struct ToJournal(pub(super) Queue);

impl<S: Subscriber> Layer<S> for ToJournal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.put(&entry(event));
    }
}

fn entry(event: &Event<'_>) -> Vec<u8> {
    let about = event.metadata();
    let mut entry = Entry(Vec::with_capacity(512));
    let priority = match *about.level() {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    };
    entry.field("PRIORITY", priority);
    entry.field("TARGET", about.target());
    entry.field("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
    if let Some((file, line)) = about.file().zip(about.line()) {
        entry.field("CODE_FILE", file);
        entry.field("CODE_LINE", &line.to_string());
    }
    entry.field("MESSAGE", &line(event));
    event.record(&mut entry);
    entry.0
}

/// The event in one line with its fields, for whoever reads no fields (`journalctl` alone).
fn line(event: &Event<'_>) -> String {
    let mut line = String::with_capacity(256);
    let fields = DefaultFields::new().format_fields(Writer::new(&mut line), event);
    let _ = fields; // a text takes everything
    line
}

/// Fields, each as its name, a line break, the length of its value, the value, a line break: so a
/// value may hold any byte.
struct Entry(Vec<u8>);

impl Entry {
    fn field(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }

    fn of_event(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => {} // is in the line
            name if PLAIN.contains(&name) => self.field(&name.to_ascii_uppercase(), value),
            name => self.field(&(PREFIX.to_owned() + &name.to_ascii_uppercase()), value),
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.of_event(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}"); // a text takes everything
        self.of_event(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;
    use tracing::{error, info, subscriber};
    use tracing_subscriber::prelude::*;

    /// The fields of an entry.
    fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut fields = BTreeMap::new();
        while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
            let (length, rest) = entry[end + 1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            fields.insert(text(&entry[..end]), text(&rest[..length]));
            assert_eq!(rest[length], b'\n');
            entry = &rest[length + 1..];
        }
        assert!(entry.is_empty());
        fields
    }

    fn journal() -> (tempfile::TempDir, UnixDatagram, Queue) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let queue = Queue::to(Box::new(Journal::at(path).unwrap()));
        assert_eq!(reader.recv(&mut [0]).unwrap(), 0);
        (dir, reader, queue)
    }

    #[test]
    fn an_event_is_one_entry_with_its_fields() {
        let (_dir, reader, queue) = journal();
        let log = tracing_subscriber::registry().with(ToJournal(queue));
        subscriber::with_default(log, || {
            let (cn, digest, procedure) = ("node1", "AA:BB", "version");
            info!(peer = %"192.0.2.1", cn, digest, procedure, reason = "policy", status = 200, "rpc");
            info!(why = "a\nb", "oh");
            error!("oops");
        });
        let mut buffer = [0; 4096];
        let mut next = || {
            let length = reader.recv(&mut buffer).unwrap();
            fields(&buffer[..length])
        };
        let found = next();
        let message = "rpc peer=192.0.2.1 cn=\"node1\" digest=\"AA:BB\" procedure=\"version\" \
                       reason=\"policy\" status=200";
        for (name, value) in [
            ("MESSAGE", message),
            ("PRIORITY", "5"),
            ("SYSLOG_IDENTIFIER", "noded-proxy"),
            ("CODE_FILE", file!()),
            ("PEER", "192.0.2.1"),
            ("CN", "node1"),
            ("DIGEST", "AA:BB"),
            ("PROCEDURE", "version"),
            ("REASON", "policy"),
            ("STATUS", "200"),
        ] {
            assert_eq!(
                found.get(name).map(String::as_str),
                Some(value),
                "{found:?}"
            );
        }
        let found = next();
        assert_eq!(found["MESSAGE"], r#"oh why="a\nb""#);
        assert_eq!(found["NODED_PROXY_WHY"], "a\nb");
        assert_eq!(next()["PRIORITY"], "3");
    }

    #[test]
    fn a_journal_that_stalls_holds_nobody_up() {
        let (_dir, reader, queue) = journal();
        queue.in_background().unwrap();
        let log = tracing_subscriber::registry().with(ToJournal(queue.clone()));
        // More than a socket holds; nothing reads it.
        subscriber::with_default(log, || (0..2000).for_each(|number| info!(number, "rpc")));
        let mut buffer = [0; 4096];
        for number in 0..2000 {
            let length = reader.recv(&mut buffer).unwrap();
            let found = fields(&buffer[..length]);
            assert_eq!(found["NODED_PROXY_NUMBER"], number.to_string());
        }
        queue.flush(Duration::from_secs(20));
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn without_a_journal_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::at(dir.path().join("none")).is_err());
    }
}
