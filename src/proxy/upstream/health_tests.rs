use super::*;
use crate::metrics::Maker;

const LISTENS: Seen = Seen {
    answers: Answers::Noded,
    exposed: None,
};

fn health() -> Health {
    let metrics = Arc::new(Metrics::new(&mut Maker::default()));
    Health::new("127.0.0.1:298".parse().unwrap(), metrics)
}

fn said(loaded: u64) -> Result<Said, Guard> {
    Ok(Said {
        port: 298,
        loaded: Duration::from_secs(loaded),
        renewed: Duration::from_secs(100),
        owned: true,
    })
}

fn seen(answers: Answers) -> Result<Seen, String> {
    Ok(Seen { answers, ..LISTENS })
}

#[test]
fn what_a_look_has_found_a_look_takes_back() {
    let health = health();
    health.note_look(seen(Answers::Nobody), Err(Guard::NotNeeded));
    assert!(health.down().unwrap().contains("nobody listens"));
    assert!(!health.is_well());
    assert_eq!(health.metrics.up.get(), 0);
    health.note_look(seen(Answers::Noded), Err(Guard::NotNeeded));
    assert_eq!((health.down(), health.metrics.up.get()), (None, 1));
    assert!(health.is_well());
}

#[test]
fn what_a_contact_has_found_only_a_contact_takes_back() {
    let health = health();
    health.note_contact(Some("hangs".into()));
    health.note_look(seen(Answers::Noded), Err(Guard::NotNeeded));
    assert_eq!(health.down().as_deref(), Some("hangs"));
    health.note_contact(None);
    assert_eq!(health.down(), None);
}

#[test]
fn the_metrics_say_what_is_so() {
    let health = health();
    let exposed = Seen {
        answers: Answers::Impostor(33),
        exposed: Some("0.0.0.0:298".parse().unwrap()),
    };
    health.note_look(Ok(exposed), Err(Guard::Off));
    let noded = |state: NodedState| health.metrics.noded.of(state).get();
    assert_eq!(noded(NodedState::Impersonated), 1);
    assert_eq!(noded(NodedState::Exposed), 1);
    assert_eq!(noded(NodedState::Listens), 0);
    assert_eq!(health.metrics.guard.of(GuardState::Off).get(), 1);
    health.note_look(Err("no /proc".into()), Err(Guard::Off));
    assert_eq!(noded(NodedState::Unknown), 1);
    assert_eq!(noded(NodedState::Exposed), 0);
}

#[test]
fn a_guard_that_was_away_between_two_looks_is_seen() {
    let health = health();
    let losses = || health.metrics.guard_losses.get();
    let guard = || health.looked().unwrap().guard;
    for _ in 0..2 {
        health.note_look(Ok(LISTENS), said(1));
        assert_eq!((guard(), losses()), (Guard::Holds, 0));
    }
    health.note_look(Ok(LISTENS), said(2));
    assert!(matches!(guard(), Guard::Missing(Missing::Away(_))));
    health.note_look(Ok(LISTENS), said(2));
    assert_eq!(guard().state(), GuardState::Missing);
    assert_eq!(losses(), 1);
    health.note_look(Ok(LISTENS), said(3));
    assert_eq!(losses(), 2);
}

#[test]
fn a_guard_that_is_missed_counts_once_and_comes_back_at_once() {
    let health = health();
    let missing = || Err(Guard::Missing(Missing::Silent));
    for guard in [missing(), said(1), missing(), missing()] {
        health.note_look(Ok(LISTENS), guard);
    }
    assert_eq!(health.metrics.guard_losses.get(), 1);
    health.note_look(Ok(LISTENS), said(2));
    assert_eq!(health.looked().unwrap().guard, Guard::Holds);
}
