//! Whether noded is well: what contacts with it and looks at its port have said. Each change is one
//! log line. It never looks by itself, and it refuses nothing.

use std::mem::discriminant;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::metrics::{GuardState, Metrics, NodedState};
use rules::guard::{Missing, Said};
use rules::noded::{Answers, Seen};

/// How long a guard that was away between two looks counts as missing: long enough for whoever asks
/// once a minute.
const SHOW_AWAY: Duration = Duration::from_secs(60);

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What is seen on noded's port, or why nothing can be seen.
    pub noded: Result<Seen, String>,
    /// The guard of that port.
    pub guard: Guard,
}

/// The guard of noded's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// noded speaks TLS, and obeys nobody without a certificate.
    NotNeeded,
    /// `upstream.guard = "off"`: nobody looks.
    Off,
    /// It holds.
    Holds,
    /// It does not, or did not a moment ago.
    Missing(Missing),
}

impl Guard {
    /// Its state without the facts.
    pub fn state(&self) -> GuardState {
        match self {
            Self::NotNeeded => GuardState::NotNeeded,
            Self::Off => GuardState::Off,
            Self::Holds => GuardState::Holds,
            Self::Missing(_) => GuardState::Missing,
        }
    }

    /// Whether the same is so, and for the same reason, at another time.
    fn is_like(&self, other: &Self) -> bool {
        let reason = |guard: &Self| match guard {
            Self::Missing(why) => Some(discriminant(why)),
            _ => None,
        };
        (self.state(), reason(self)) == (other.state(), reason(other))
    }
}

#[derive(Debug)]
struct Down {
    why: String,
    /// The look at its port said so, and may take it back. What a contact said only the next
    /// contact takes back: a noded that hangs listens all the same.
    by_look: bool,
}

#[derive(Debug, Default)]
struct State {
    down: Option<Down>,
    looked: Option<Looked>,
    /// When the guard that is in force was loaded, by its own word.
    loaded: Option<Duration>,
    /// When it turned out that the guard was away for a moment.
    away: Option<Instant>,
}

/// What is known of noded and its guard.
#[derive(Debug)]
pub(super) struct Health {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Only root may listen on noded's port.
    roots_port: AtomicBool,
}

impl Health {
    pub(super) fn new(address: SocketAddr, metrics: Arc<Metrics>) -> Self {
        metrics.up.set(1);
        Self {
            address,
            metrics,
            state: Mutex::default(),
            roots_port: AtomicBool::new(false),
        }
    }

    /// Whether only root may listen on noded's port, by the last look.
    pub(super) fn is_roots_port(&self) -> bool {
        self.roots_port.load(Ordering::Relaxed)
    }

    /// Takes from a look whether only root may listen on noded's port.
    pub(super) fn note_roots_port(&self, so: bool) {
        self.roots_port.store(so, Ordering::Relaxed);
    }

    /// Why noded cannot be reached; `None` while it can.
    pub(super) fn down(&self) -> Option<String> {
        self.lock().down.as_ref().map(|down| down.why.clone())
    }

    /// What the last look has found; `None` before the first.
    pub(super) fn looked(&self) -> Option<Looked> {
        self.lock().looked.clone()
    }

    /// Whether the last look has found all as it should be.
    pub(super) fn is_well(&self) -> bool {
        self.lock().looked.as_ref().is_some_and(|looked| {
            let noded = looked.noded.as_ref();
            let well = noded.is_ok_and(|seen| {
                let there = matches!(seen.answers, Answers::Noded | Answers::Elsewhere);
                there && seen.exposed.is_none()
            });
            well && !matches!(looked.guard, Guard::Missing(_))
        })
    }

    /// Whether the last look has found an impostor.
    pub(super) fn is_impersonated(&self) -> bool {
        let state = self.lock();
        let looked = state.looked.as_ref();
        looked.is_some_and(|looked| NodedState::Impersonated.is_so(&looked.noded))
    }

    /// A contact with noded has ended: well, or `down` says why noded is not to be reached.
    pub(super) fn note_contact(&self, down: Option<String>) {
        let by_look = false;
        self.set_down(&mut self.lock(), down.map(|why| Down { why, by_look }));
    }

    /// Takes what a look has found. `guard` is what the guard said of itself, where it has to.
    pub(super) fn note_look(&self, noded: Result<Seen, String>, guard: Result<Said, Guard>) {
        let mut state = self.lock();
        let guard = self.count_guard(&mut state, guard);
        let why = noded.as_ref().ok().and_then(|seen| self.why_down(seen));
        match why {
            Some(why) => self.set_down(&mut state, Some(Down { why, by_look: true })),
            None if state.down.as_ref().is_some_and(|down| down.by_look) => {
                self.set_down(&mut state, None);
            }
            None => {}
        }
        self.tell(&mut state, Looked { noded, guard });
    }

    /// Counts each loss. A guard that holds says when it loaded its rules, so one that was away
    /// between two looks is noticed.
    fn count_guard(&self, state: &mut State, guard: Result<Said, Guard>) -> Guard {
        let before = state.loaded;
        state.loaded = guard.as_ref().ok().map(|said| said.loaded);
        let lost = before.is_some() && state.loaded != before;
        self.metrics.guard_losses.inc_by(u64::from(lost));
        if lost {
            state.away = Some(Instant::now());
        }
        match guard {
            Ok(_) => holds(state.away),
            Err(guard) => {
                state.away = None; // it is told now, and so is its coming back
                guard
            }
        }
    }

    fn why_down(&self, seen: &Seen) -> Option<String> {
        let at = self.address;
        match seen.answers {
            Answers::Noded | Answers::Elsewhere => None,
            Answers::Nobody => Some(format!("noded at {at}: nobody listens there")),
            Answers::Impostor(uid) => Some(format!(
                "noded at {at}: impersonated: a process of uid {uid} listens there"
            )),
        }
    }

    fn set_down(&self, state: &mut State, down: Option<Down>) {
        if state.down.is_some() != down.is_some() {
            self.metrics.up.set(i64::from(down.is_none()));
            match &down {
                Some(Down { why, .. }) => warn!(why, "noded is down"),
                None => info!(address = %self.address, "noded is up again"),
            }
        }
        state.down = down;
    }

    /// Counts and logs what has changed since the last look.
    fn tell(&self, state: &mut State, now: Looked) {
        for kind in [
            NodedState::Listens,
            NodedState::Down,
            NodedState::Exposed,
            NodedState::Impersonated,
            NodedState::Unknown,
        ] {
            let is_so = i64::from(kind.is_so(&now.noded));
            self.metrics.noded.of(kind).set(is_so);
        }
        self.metrics.guard.only(Some(now.guard.state()));
        let before = state.looked.replace(now.clone());
        let before = before.as_ref();
        if before.map(|looked| &looked.noded) != Some(&now.noded) {
            self.tell_noded(before.map(|looked| &looked.noded), &now.noded);
        }
        if before.is_none_or(|looked| !looked.guard.is_like(&now.guard)) {
            self.tell_guard(&now.guard);
        }
    }

    fn tell_noded(&self, before: Option<&Result<Seen, String>>, now: &Result<Seen, String>) {
        let address = self.address;
        let is = |kind: NodedState| kind.is_so(now);
        let was = |kind: NodedState| before.is_some_and(|before| kind.is_so(before));
        if let Err(why) = now {
            error!(%address, why, "cannot see who listens on noded's port");
        }
        if let Ok(Seen {
            answers: Answers::Impostor(uid),
            ..
        }) = now
        {
            error!(%address, uid, "noded is impersonated: a stranger listens on its port, and is \
                sent nothing");
        }
        if let Ok(Seen {
            exposed: Some(at), ..
        }) = now
        {
            error!(%at, "noded is exposed: other machines reach it without the proxy");
        }
        if is(NodedState::Listens) {
            info!(%address, "noded listens");
        }
        if was(NodedState::Exposed) && !is(NodedState::Exposed) {
            info!(%address, "noded is not exposed any more");
        }
    }

    fn tell_guard(&self, guard: &Guard) {
        let port = self.address.port();
        match guard {
            Guard::NotNeeded => {}
            Guard::Holds => info!(
                port,
                "the guard holds: noded's port is closed to local users"
            ),
            Guard::Off => warn!(
                port,
                "upstream.guard = off: nobody looks whether noded's port is closed to local users"
            ),
            Guard::Missing(why) => error!(
                port, %why,
                "the guard is missing: local users may command noded: \
                 systemctl reset-failed noded-proxy-guard; systemctl restart noded-proxy-guard"
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guard holds now. It turned out then that it was away for a moment.
fn holds(away: Option<Instant>) -> Guard {
    match away.map(|at| at.elapsed()) {
        Some(ago) if ago < SHOW_AWAY => Guard::Missing(Missing::Away(ago)),
        _ => Guard::Holds,
    }
}

impl NodedState {
    /// Whether this is so of what was seen.
    fn is_so(self, noded: &Result<Seen, String>) -> bool {
        let Ok(seen) = noded else {
            return self == Self::Unknown;
        };
        match self {
            Self::Listens => seen.answers == Answers::Noded,
            Self::Down => seen.answers == Answers::Nobody,
            Self::Exposed => seen.exposed.is_some(),
            Self::Impersonated => matches!(seen.answers, Answers::Impostor(_)),
            Self::Unknown => seen.answers == Answers::Elsewhere,
        }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
