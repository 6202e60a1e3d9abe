//! Which kind of noded answered, by what it says of itself in `Server`. Only shown: it must never
//! change how noded is called.

/// The kinds of noded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Server {
    /// Up to Ganeti 3.1: a process for each connection (`Server: Ganeti 3.0.2`).
    Processes,
    /// Ganeti's development branch, 3.2: a pool of threads, with Python's own server (`Server:
    /// BaseHTTP/0.6 Python/3.11.2`).
    Threads,
    /// It does not say it, or it is no noded.
    #[default]
    Unknown,
}

impl Server {
    /// What one more `Server` field says. That of Python's server wins, for it gives itself away.
    pub(super) fn and(self, field: &[u8]) -> Self {
        let text = String::from_utf8_lossy(field);
        match version(&text) {
            _ if self == Self::Threads || text.contains("Python/") => Self::Threads,
            Some(version) if version >= (3, 2) => Self::Threads,
            Some(_) => Self::Processes,
            None => self,
        }
    }
}

/// Major and minor number behind `Ganeti `.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("Ganeti ")?.split(['.', '~', '-']);
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_as_a_table() {
        use Server::{Processes, Threads, Unknown};
        let table: [(&[&str], Server); 9] = [
            (&[], Unknown),
            (&["Ganeti 2.16.0~rc2"], Processes),
            (&["Ganeti 3.0.2"], Processes),
            (&["Ganeti 3.1.0~rc1"], Processes),
            (&["Ganeti 3.2.0~alpha1"], Threads),
            (&["BaseHTTP/0.6 Python/3.11.2"], Threads),
            (&["BaseHTTP/0.6 Python/3.11.2", "Ganeti 3.1.0"], Threads),
            (&["nginx"], Unknown),
            (&["Ganeti"], Unknown),
        ];
        for (fields, expected) in table {
            let fields = fields.iter().map(|field| field.as_bytes());
            let found = fields.fold(Server::default(), Server::and);
            assert_eq!(found, expected);
        }
    }
}
