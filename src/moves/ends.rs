//! What an end of a transfer knows before anybody is connected: its identity, the peer's exact
//! certificate, Ganeti's word, the compression. It reads no file, and admits nobody without asking
//! [`Pin`].

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::carry::Peer;
use super::frame::{Message, PROTOCOL};
use super::line::Line;
use super::order::{Compress, Magic};
use super::pin::{Pin, Refused};
use super::talk::{Road, Setup};
use crate::tls::{
    Credentials, End, PinCheck, Pinned, Shown, accepts_p256, certificates, is_enough, offers,
};

/// A stranger's handshake may take so long.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The name in `server.pem` (`X509_CERT_CN` in Ganeti's `_constants.py`). The exporter of 2.16 to 3.0
/// looks for it in every certificate, that of 3.1 for the node's.
const CLUSTER: &str = "ganeti.example.com";

/// One end.
pub(super) struct Ends {
    pinned: Pinned,
    end: End,
    pin: Arc<Pin>,
    magic: Option<Magic>,
    tool: String,
    /// This end shows another certificate than it expects: one node alone has the peer's key.
    pub(super) knows_one_peer: bool,
    /// How the stream is compressed.
    pub(super) compress: Compress,
}

impl Ends {
    /// From what the process was given.
    pub(super) fn new(setup: &Setup, end: End) -> Result<Self, String> {
        let own = format!("{}\n{}", setup.key, setup.cert);
        let own = Credentials::from_pem(own.as_bytes()).map_err(|e| format!("own key: {e}"))?;
        let given = certificates(setup.ca.as_bytes());
        let given = given.map_err(|error| format!("the peer's certificate: {error}"))?;
        let first = given
            .into_iter()
            .next()
            .ok_or("the peer's certificate: none")?;
        let pin = Arc::new(Pin {
            der: first.der.to_vec(),
            not_before: first.not_before,
            not_after: first.not_after,
        });
        let mut pinned = Pinned::new(&own, end, PROTOCOL).map_err(|error| error.to_string())?;
        if let Road::Import { names, .. } = &setup.road {
            let names: BTreeSet<_> = names.iter().cloned().chain([CLUSTER.into()]).collect();
            pinned = pinned.with_names(&own, &names).map_err(|e| e.to_string())?;
        }
        let magic = setup.magic.as_deref().map(Magic::parse);
        let compress = Compress::parse(&setup.compress);
        Ok(Self {
            pinned,
            end,
            knows_one_peer: *own.info().der != *pin.der,
            pin,
            magic: magic
                .map(|magic| magic.ok_or("the magic value"))
                .transpose()?,
            tool: setup.compress.clone(),
            compress: compress.ok_or("the name of the compression tool")?,
        })
    }

    /// Shakes hands, and decides on the certificate that the peer has proved to own. Who is refused
    /// in the middle is refused with the reason, and not in the library's words.
    pub(super) fn handshake(&self, mut line: Line) -> Result<Peer, String> {
        let shown = self.shown(&mut line).map_err(|error| error.to_string())?;
        let refused = Arc::new(OnceLock::new());
        let (pin, found) = (Arc::clone(&self.pin), Arc::clone(&refused));
        let check: PinCheck = Box::new(move |shown| match pin.judge(shown, now()) {
            Ok(()) => true,
            Err(why) => {
                let _ = found.set(why); // the first one
                false
            }
        });
        let done = self.pinned.handshake(line, shown, check);
        self.proved(done.map_err(|error| refused.get().map_or(error, Refused::to_string))?)
    }

    /// Ganeti's exporter compares names, this program the whole certificate.
    fn shown(&self, line: &mut Line) -> io::Result<Shown> {
        if self.end == End::Calls {
            return Ok(Shown::Own);
        }
        let first = line.first(is_enough)?;
        Ok(match offers(first, PROTOCOL) {
            true => Shown::Own,
            false => Shown::Named {
                p256: accepts_p256(first),
            },
        })
    }

    /// Decides on the certificate that the peer has proved to own.
    fn proved(&self, mut peer: Peer) -> Result<Peer, String> {
        let shown = peer.peer().unwrap_or_default();
        let verdict: Result<(), Refused> = self.pin.judge(&shown, now());
        verdict.map_err(|refused| refused.to_string())?;
        peer.line().unbounded().map_err(|error| error.to_string())?;
        Ok(peer)
    }

    /// What comes before the data in the original's stream.
    pub(super) fn start(&self, ours: bool) -> Vec<u8> {
        match &self.magic {
            Some(magic) if !ours => magic.start().into_bytes(),
            _ => Vec::new(),
        }
    }

    /// The exporter's first word.
    pub(super) fn hello(&self) -> Message {
        Message::Hello {
            magic: self.magic.as_ref().map(|magic| magic.word().to_owned()),
            compress: self.tool.clone(),
        }
    }

    /// What the importer thinks of it.
    pub(super) fn judge(&self, said: &Message) -> Result<(), String> {
        let Message::Hello { magic, compress } = said else {
            return Err("the first word is no hello".into());
        };
        if magic.as_deref() != self.magic.as_ref().map(Magic::word) {
            return Err("Magic value mismatch".into());
        }
        match *compress == self.tool {
            true => Ok(()),
            false => Err("the other end compresses in another way".into()),
        }
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint::{CertificateBuilder, common_name, p256_key};
    use std::net::{TcpListener, TcpStream};

    fn credentials() -> Credentials {
        let name = common_name("node").unwrap();
        let minted = CertificateBuilder::new(name, p256_key().unwrap()).mint();
        Credentials::from_pem(&minted.unwrap().pem().unwrap()).unwrap()
    }

    fn ends(own: &Credentials, peer: &Credentials, end: End) -> Ends {
        let info = peer.info();
        let pin = Pin {
            der: info.der.to_vec(),
            not_before: info.not_before,
            not_after: info.not_after,
        };
        Ends {
            pinned: Pinned::new(own, end, PROTOCOL).unwrap(),
            end,
            pin: Arc::new(pin),
            magic: None,
            tool: "none".into(),
            knows_one_peer: true,
            compress: Compress::None,
        }
    }

    /// The handshake lets everybody pass: what counts is the second verdict alone.
    #[test]
    fn the_certificate_is_judged_again_when_the_peer_has_proved_to_own_it() {
        let (own, right, wrong) = (credentials(), credentials(), credentials());
        for (shown, refused) in [(&right, None), (&wrong, Some(Refused::Other.to_string()))] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (near, _) = listener.accept().unwrap();
            let line = |tcp| Line::new(tcp, HANDSHAKE).unwrap();
            let caller = ends(shown, &own, End::Calls);
            let calls = std::thread::spawn(move || caller.handshake(line(far)).is_ok());
            let listens = ends(&own, &right, End::Listens);
            let peer = listens
                .pinned
                .handshake(line(near), Shown::Own, Box::new(|_| true));
            let judged = listens.proved(peer.unwrap());
            assert_eq!(judged.as_ref().err(), refused.as_ref());
            drop(judged);
            let _ = calls.join();
        }
    }
}
