//! Who holds a port, in words: for the texts that say who has taken it. It only looks.

use super::listener::Listener;

/// Who listens on a port, as far as this process can see; `None` if nobody does.
pub(crate) fn taken_by(listeners: &[Listener], port: u16) -> Option<String> {
    let uid = listeners.iter().find(|l| l.address.port() == port)?.uid;
    let named = super::processes::holder(listeners, port);
    Some(named.unwrap_or_else(|| format!("a process of user id {uid} (root sees which)")))
}

/// Who held these ports at one moment, for the time when the sandbox hides other processes.
#[derive(Debug, Clone, Default)]
pub struct Holders(Vec<(Listener, String)>);

impl Holders {
    /// Those of now.
    pub fn of(ports: &[u16]) -> Self {
        let all = super::listeners().unwrap_or_default();
        let known = ports.iter().filter_map(|port| {
            let listener = all.iter().find(|l| l.address.port() == *port)?;
            Some((*listener, super::processes::holder(&all, *port)?))
        });
        Self(known.collect())
    }

    /// Who holds this port now.
    pub(crate) fn now(&self, port: u16) -> String {
        let all = super::listeners().unwrap_or_default();
        // The same socket as then has the same holder.
        let known = self
            .0
            .iter()
            .find(|(listener, _)| listener.address.port() == port && all.contains(listener));
        let known = known.map(|(_, holder)| holder.clone());
        let known = known.or_else(|| taken_by(&all, port));
        known.unwrap_or_else(|| "another process".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_holder_of_a_port_is_told_while_it_holds_it() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let holder = taken_by(&super::super::listeners().unwrap(), port).unwrap();
        let me = format!("(pid {})", std::process::id());
        assert!(holder.ends_with(&me), "{holder}");
        let then = Holders::of(&[port]);
        assert_eq!(then.now(port), holder);
        // Another socket than then, or none any more: nobody listens on port 1 here.
        let gone = Listener::of("127.0.0.1:1".parse().unwrap(), 0);
        let then = Holders(vec![(gone, "somebody".into())]);
        assert_eq!(then.now(1), "another process");
    }

    #[test]
    fn whose_process_cannot_be_seen_is_told_by_its_user() {
        let listener = Listener::of("[::]:1811".parse().unwrap(), 33);
        let found = taken_by(&[listener], 1811);
        let told = "a process of user id 33 (root sees which)";
        assert_eq!(found.as_deref(), Some(told));
        assert_eq!(taken_by(&[listener], 1812), None);
    }
}
