//! Ganeti's own jobs come first: while one that changes keys is not at its end, nothing is changed.

use std::thread;
use std::time::{Duration, Instant};

use super::here::Here;
use crate::config::Config;
use crate::node::jobs::read;
use rules::ssh_keys::jobs::changes_keys;

/// Longest wait.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Between two looks.
const BETWEEN: Duration = Duration::from_secs(1);

/// Nothing, when no such job is left.
pub(super) fn over(here: &Here, config: &Config, wait: bool) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let Some(id) = first(here, config)? else {
            return Ok(());
        };
        if !wait || began.elapsed() > LONGEST {
            return Err(format!(
                "job {id} of Ganeti changes keys: wait for its end, or use --wait"
            ));
        }
        thread::sleep(BETWEEN);
    }
}

fn first(here: &Here, config: &Config) -> Result<Option<u64>, String> {
    let jobs = read(&here.tree, &config.ssconf_dir.join("queue"))?;
    let mut jobs = jobs.iter();
    let found = jobs.find(|job| {
        let mut operations = job.operations.iter();
        operations.any(|(operation, state)| changes_keys(operation, state))
    });
    Ok(found.map(|job| job.id))
}
