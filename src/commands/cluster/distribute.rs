//! `noded-proxy certs distribute`: fetches the candidates' certificates and hands them to all nodes.
//!
//! A key never leaves its node. Each certificate is compared with the candidate map before it goes on,
//! and by each node with its own map. The master's own directory is the first, and waits for nobody. A
//! node that fails, or has no noded-proxy yet, is remembered by not being among those that were given all:
//! it alone is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use super::accept::{directory, is_complete, kept, listed, verified};
use super::given::Given;
use super::turn;
use crate::commands::certs_args::DistributeArgs;
use crate::commands::exit;
use crate::commands::ssh::call::{Call, End, Said, Ssh, quoted};
use crate::commands::ssh::each::on_each;
use crate::commands::ssh::members::{Cluster, Member};
use crate::config::Config;
use rules::candidates::CandidateMap;
use rules::identity::Digest;

/// Nodes that are asked at a time.
const AT_A_TIME: usize = 8;

/// What a node came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has them: what it says.
    Given(String),
    /// It is left out, and why.
    Left(&'static str),
    Failed(String),
}

impl Outcome {
    /// Whether nothing would come of asking again.
    fn is_settled(&self) -> bool {
        matches!(self, Self::Given(_))
    }
}

/// Certificates in PEM text.
type Found = BTreeMap<Digest, Vec<u8>>;

/// Exit status 0 when each node has them, 1 when some node does not, 64 wrong configuration.
pub fn main(args: &DistributeArgs) -> ExitCode {
    let config = match Config::load(&args.file, &[]) {
        Ok(config) => config,
        Err(problems) => return exit::wrong_configuration(&problems),
    };
    match distribute(args, &config) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            errln!("noded-proxy: {why}");
            ExitCode::FAILURE
        }
    }
}

fn distribute(args: &DistributeArgs, config: &Config) -> Result<bool, String> {
    // Before anything is looked at.
    let kind = if args.changed { "changed" } else { "all" };
    let turn = args.turns.as_deref().map(|dir| {
        let failed = |error| format!("{}: {error}", dir.display());
        turn::wait(dir, kind).map_err(failed)
    });
    let turn = turn.transpose()?;
    if matches!(turn, Some(None)) {
        outln!("nothing to do: another run waits already, and will see the same");
        return Ok(true);
    }
    let cluster = Cluster::read(&config.ssconf_dir)?;
    let host = rustix::system::uname();
    let needed = cluster
        .must_be_master(&host.nodename().to_string_lossy())
        .and_then(|()| directory(config));
    let own = match needed {
        Err(why) if args.hook => {
            outln!("nothing to do: {why}");
            return Ok(true);
        }
        needed => needed?,
    };
    give(config, &cluster, &own, args.changed)
}

/// Fetches and hands out; whether each node that takes part has all of them.
pub(super) fn give_all(config: &Config, cluster: &Cluster) -> Result<bool, String> {
    give(config, cluster, &directory(config)?, false)
}

/// The same, or to those alone that have not got them yet.
fn give(config: &Config, cluster: &Cluster, own: &Path, changed: bool) -> Result<bool, String> {
    let map = listed(config)?;
    let ssh = Ssh {
        cluster,
        ssconf: &config.ssconf_dir,
    };
    let mut found = kept(own, &map);
    let is_complete = changed && is_complete(own, &map);
    let mut is_good = is_complete || gather(config, ssh, &map, &mut found);
    let mut given = Given {
        certificates: found.keys().map(Digest::to_string).collect(),
        nodes: BTreeSet::new(),
    };
    let before = Given::load(own);
    if changed && before.certificates == given.certificates {
        given.nodes = before.nodes;
    }
    let (masters, others): (Vec<&Member>, Vec<&Member>) = cluster
        .members
        .iter()
        .filter(|member| match member.name == cluster.master {
            true => !is_complete,
            false => !given.nodes.contains(&member.name),
        })
        .partition(|member| member.name == cluster.master);
    if is_complete && others.iter().all(|member| member.offline) {
        outln!("nothing to do: each node has what {} has", own.display());
        return Ok(true);
    }
    let text = found.into_values().collect::<Vec<_>>().concat();
    let mut is_idle = is_complete;
    for members in [masters, others] {
        let outcomes = on_each(&members, AT_A_TIME, |member| give_one(ssh, member, &text));
        is_good &= tell(&members, &outcomes);
        let left = |outcome: &Outcome| matches!(outcome, Outcome::Left(_));
        is_idle &= outcomes.iter().all(left);
        let all = members.iter().zip(&outcomes);
        let settled = all.filter(|(_, outcome)| outcome.is_settled());
        given
            .nodes
            .extend(settled.map(|(member, _)| member.name.clone()));
    }
    let is_member = |name: &String| cluster.members.iter().any(|member| member.name == *name);
    given.nodes.retain(is_member);
    let saved = given.save(own);
    saved.map_err(|error| format!("{}: {error}", own.display()))?;
    if is_idle {
        outln!(
            "nothing to do: each other node has what {} has",
            own.display()
        );
    }
    Ok(is_good)
}

/// Adds the certificates that candidates have and the map lists; whether that is all of them.
fn gather(config: &Config, ssh: Ssh<'_>, map: &CandidateMap, found: &mut Found) -> bool {
    let path = config.server_pem.with_file_name("client.pem");
    // The key stays where it is.
    let command = format!(
        "sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' {}",
        quoted(&path)
    );
    let all = ssh.cluster.members.iter();
    let candidates: Vec<&Member> = all.filter(|m| m.candidate && !m.offline).collect();
    let said = on_each(&candidates, AT_A_TIME, |member| {
        ssh.run(member, &Call::new(&command))
    });
    for (member, said) in candidates.iter().zip(&said) {
        match of_candidate(said, map) {
            Ok(own) => found.extend(own),
            Err(why) => outln!("FAIL  {}: {why}", member.name),
        }
    }
    let missing = map.iter().filter(|(_, digest)| !found.contains_key(digest));
    let missing: Vec<&str> = missing.map(|(key, _)| key).collect();
    for key in &missing {
        outln!("FAIL  no candidate has the certificate that the candidate map has for {key}");
    }
    missing.is_empty()
}

/// What a candidate showed, as far as the map lists it.
fn of_candidate(said: &Said, map: &CandidateMap) -> Result<Found, String> {
    if said.end != End::Status(0) {
        return Err(said.why());
    }
    let found = verified(&said.out, map);
    let other = "the certificate in its client.pem is not in the candidate map";
    (!found.is_empty())
        .then_some(found)
        .ok_or_else(|| other.into())
}

fn give_one(ssh: Ssh<'_>, member: &Member, text: &[u8]) -> Outcome {
    if member.offline {
        return Outcome::Left("offline");
    }
    let call = Call {
        input: text,
        ..Call::new("noded-proxy certs accept")
    };
    given(&ssh.run(member, &call))
}

/// What a node's answer means.
fn given(said: &Said) -> Outcome {
    match said.end {
        End::Status(0) => Outcome::Given(said.line()),
        End::Status(127) => Outcome::Left("it has no noded-proxy"),
        _ => Outcome::Failed(said.why()),
    }
}

/// One line for each node; whether none failed.
fn tell(members: &[&Member], outcomes: &[Outcome]) -> bool {
    for (member, outcome) in members.iter().zip(outcomes) {
        let name = &member.name;
        match outcome {
            Outcome::Given(what) => outln!("ok    {name}: {what}"),
            Outcome::Left(why) => outln!("skip  {name}: {why}"),
            Outcome::Failed(why) => outln!("FAIL  {name}: {why}"),
        }
    }
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    !outcomes.iter().any(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_answers_as_a_table() {
        let said = |status, out: &str, err: &str| Said {
            end: End::of(Some(status)),
            out: out.into(),
            err: err.into(),
        };
        let failed = |why: &str| Outcome::Failed(why.into());
        for (said, expected) in [
            (
                said(0, "3 certificates: 1 new\n", ""),
                Outcome::Given("3 certificates: 1 new".into()),
            ),
            (
                said(127, "", "sh: noded-proxy: not found"),
                Outcome::Left("it has no noded-proxy"),
            ),
            (said(255, "", "timed out\n"), failed("ssh: timed out")),
            (said(1, "1 missing\n", ""), failed("1 missing")),
        ] {
            assert_eq!(given(&said), expected);
        }
        assert_eq!(quoted("/a'b".as_ref()), r"'/a'\''b'");
    }
}
