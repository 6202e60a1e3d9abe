//! From what is there to the steps that put noded back in the place of the proxy. Pure: nothing is
//! done.

use super::change;
use super::plan::{Plan, Seen, Source, UnitState};
use super::step::{Proof, Step, Unit, Write};
use crate::commands::noded_args::{self, NodedArgs};

/// What `uninstall` has to do.
pub(super) fn uninstall(seen: &Seen) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let (steps, behind) = (&mut plan.steps, seen.upstream.address.port());
    let state = |unit| match unit {
        Unit::Guard => seen.guard,
        Unit::Socket => seen.socket,
        Unit::Proxy => seen.proxy,
    };
    let end = |units: &[Unit], steps: &mut Vec<Step>| {
        let with = |has: fn(UnitState) -> bool| -> Vec<Unit> {
            units
                .iter()
                .copied()
                .filter(|unit| has(state(*unit)))
                .collect()
        };
        let (active, enabled) = (with(|s| s.active), with(|s| s.enabled));
        steps.extend((!active.is_empty()).then_some(Step::Stop(active)));
        steps.extend((!enabled.is_empty()).then_some(Step::Disable(enabled)));
    };
    end(&[Unit::Socket, Unit::Proxy], steps);
    let written = put_back(seen, &mut plan.notes)?;
    let is_written = written.is_some();
    let content = match &written {
        Some(write) => write.to.clone(),
        None => seen.content.clone(),
    };
    if let Some(write) = written {
        steps.push(Step::Write(write));
        if matches!(seen.source, Source::DropIn { .. }) {
            steps.push(Step::Reload);
        }
    }
    let arguments = change::value(content.as_deref().unwrap_or_default()).unwrap_or_default();
    let port = match seen.source {
        Source::Variable { .. } => seen.port(&arguments),
        Source::DropIn { .. } => seen.public,
    };
    if is_written || (seen.noded_behind && port != behind) {
        steps.extend(seen.noded(port, behind));
    }
    end(&[Unit::Guard], steps);
    let is_restarted = steps.iter().any(|step| matches!(step, Step::Noded(..)));
    steps.extend((is_restarted && port == seen.public).then_some(Step::Prove(Proof::Alone)));
    steps.extend(seen.record.clone().map(Step::Forget));
    Ok(plan)
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
    if !NodedArgs::parse(&old).fit(&seen.upstream) {
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
