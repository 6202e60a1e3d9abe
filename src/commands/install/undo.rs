//! From what is there to the steps that put noded back in the place of the proxy. Pure: nothing is
//! done.

use super::change;
use super::plan::{NOT_STARTED, Plan, Seen, Source, UnitState};
use super::record::Record;
use super::step::{Proof, Step, Unit, Write};
use crate::commands::noded_args::{self, NodedArgs};
use rules::noded::astray;

/// What `uninstall` has to do. The proxy is disabled with the file: booted in the middle, the node has
/// either the proxy before noded or noded alone, and never both for one port. The guard stays enabled
/// until noded is proven to be there by itself, with TLS.
pub(super) fn uninstall(seen: &Seen) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let steps = &mut plan.steps;
    let written = put_back(seen, &mut plan.notes)?;
    let content = match &written {
        Some(write) => write.to.as_deref(),
        None => seen.content.as_deref(),
    };
    let port = stays(seen, content)?;
    let (proxy, guard) = ([Unit::Socket, Unit::Proxy], [Unit::Guard]);
    steps.extend(those(seen, &proxy, |unit| unit.active).map(Step::Stop));
    let is_away = astray(&seen.nodeds, port).is_some() || seen.cut_short;
    let is_behind = seen.noded_behind && port != seen.upstream.address.port();
    let restarts = written.is_some() || is_away || is_behind;
    if let Some(write) = written {
        steps.push(Step::Write(write));
        if matches!(seen.source, Source::DropIn { .. }) {
            steps.push(Step::Reload);
        }
    }
    steps.extend(those(seen, &proxy, |unit| unit.enabled).map(Step::Disable));
    if restarts && let Some(noded) = seen.noded(port, port_now(seen)) {
        steps.extend([noded, Step::Prove(Proof::Alone(port))]);
    }
    steps.extend(those(seen, &guard, |unit| unit.active).map(Step::Stop));
    steps.extend(those(seen, &guard, |unit| unit.enabled).map(Step::Disable));
    steps.extend(seen.record.clone().map(Step::Forget));
    if !steps.is_empty() && !seen.noded_runs() {
        plan.notes.push(NOT_STARTED.into());
    }
    Ok(plan)
}

/// Those units that are in a state; nothing if none is.
fn those(seen: &Seen, units: &[Unit], has: fn(UnitState) -> bool) -> Option<Vec<Unit>> {
    let state = |unit| match unit {
        Unit::Guard => seen.guard,
        Unit::Socket => seen.socket,
        Unit::Proxy => seen.proxy,
    };
    let units = units.iter().copied().filter(|unit| has(state(*unit)));
    Some(units.collect()).filter(|units: &Vec<Unit>| !units.is_empty())
}

/// The port where noded listens with the file as it is.
fn port_now(seen: &Seen) -> u16 {
    match seen.source {
        Source::Variable { .. } => seen.port(&seen.arguments().unwrap_or_default()),
        Source::DropIn { .. } => seen.upstream.address.port(),
    }
}

/// The port where noded listens with the file as it will be. Or why it would not be there by itself,
/// with TLS.
fn stays(seen: &Seen, content: Option<&[u8]>) -> Result<u16, String> {
    if let Source::DropIn { .. } = seen.source {
        return Ok(seen.public);
    }
    let arguments = change::value(content.unwrap_or_default()).unwrap_or_default();
    let args = NodedArgs::parse(&arguments);
    let was_so = |record: &Record| record.before() == content;
    let units = [seen.guard, seen.socket, seen.proxy];
    let is_ours = units.iter().any(|unit| unit.active || unit.enabled);
    let is_known = seen.record.as_ref().map_or(!is_ours, was_so);
    let how = match (args.no_ssl, args.is_moved() && !is_known) {
        (true, _) => "without TLS",
        (false, true) => "on loopback alone",
        (false, false) => return Ok(seen.port(&arguments)),
    };
    Err(format!(
        "{}: NODED_ARGS=\"{arguments}\" has noded listen {how}, and is not what upstream.address = \
         {} asks for: guard and proxy stay. Set upstream.address as noded is, or take -b, -p and \
         --no-ssl out of NODED_ARGS, then try again",
        seen.path.display(),
        seen.upstream.address
    ))
}

/// Whether noded starts without TLS with this file. What is not understood may be so.
pub(super) fn starts_plain(source: &Source, content: Option<&[u8]>) -> bool {
    let text = content.unwrap_or_default();
    match (source, change::value(text)) {
        (Source::Variable { .. }, Ok(arguments)) => NodedArgs::parse(&arguments).no_ssl,
        _ => String::from_utf8_lossy(text).contains("--no-s"),
    }
}

/// The way back of the file; nothing if it needs none.
fn put_back(seen: &Seen, notes: &mut Vec<String>) -> Result<Option<Write>, String> {
    let name = seen.path.display();
    let record = seen.record.as_ref();
    let content = seen.content.as_deref();
    match record {
        Some(record) if content == record.before() => return Ok(None),
        Some(record) if content == Some(&*record.written) => {
            let what = match record.before() {
                Some(_) => "as it was before `install`, byte for byte".into(),
                None => "removed: it was not there before `install`".into(),
            };
            return Ok(Some(seen.write(record.before().map(<[u8]>::to_vec), what)));
        }
        _ => {}
    }
    if let Source::DropIn { .. } = seen.source {
        return match (content, record) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => {
                notes.push(format!(
                    "{name} was edited since `install`; it goes all the same"
                ));
                Ok(Some(seen.write(None, "removed".into())))
            }
            (Some(_), None) => Err(format!("{name} is not of `install`: remove it by hand")),
        };
    }
    let old = seen.arguments()?;
    let now = NodedArgs::parse(&old);
    let is_ours = |record: &Record| {
        let written = change::value(&record.written);
        written.is_ok_and(|written| NodedArgs::parse(&written) == now)
    };
    if !now.fit(&seen.upstream) && !record.is_some_and(is_ours) {
        return Ok(None);
    }
    let failed = |why: String| seen.unsafe_(&why);
    let was = record.and_then(|record| record.was.as_ref());
    let content = match was {
        Some(was) => {
            notes.push(format!(
                "{name} was edited since `install`: NODED_ARGS alone is changed back"
            ));
            change::back(seen.text(), was)
        }
        None => {
            notes.push(format!(
                "nothing was kept of {name}: the proxy's options are taken out of NODED_ARGS"
            ));
            let kept = noded_args::without(&old).map_err(failed)?;
            change::set(seen.text(), &kept).map(|(content, _)| content)
        }
    };
    let content = content.map_err(failed)?;
    let new = change::value(&content).map_err(failed)?;
    let what = format!("NODED_ARGS=\"{old}\" becomes \"{new}\", all else stays");
    Ok(Some(seen.write(Some(content), what)))
}

#[cfg(test)]
#[path = "undo_tests.rs"]
mod tests;
