//! Clusters as they live: nodes are promoted, demoted, switched off and on, others become master, and
//! runs are killed after any deed. The master is never locked out, and in the end every private half
//! is where it belongs.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Promote(usize),
    Demote(usize),
    Off(usize),
    On(usize),
    Failover(usize),
    /// A run that is killed after so many deeds.
    Run(usize),
    /// The same with `--own-pairs`.
    Own(usize),
}

/// A cluster of four.
struct Life {
    /// What each node really has.
    nodes: Vec<Sight>,
    candidates: Vec<bool>,
    off: Vec<bool>,
    master: usize,
    made: usize,
}

const NAMES: [&str; 4] = ["n1.x", "n2.x", "n3.x", "n4.x"];

impl Life {
    fn new() -> Self {
        let sight = of(&mut scene(), NODES[0]).clone();
        Self {
            nodes: vec![sight; 4],
            candidates: vec![true, true, false, false],
            off: vec![false; 4],
            master: 0,
            made: 0,
        }
    }

    fn scene(&self) -> Scene {
        let said = |at: usize| match self.off[at] {
            true => Err("offline".into()),
            false => Ok(self.nodes[at].clone()),
        };
        let candidates = (0..4).filter(|at| self.candidates[*at]);
        Scene {
            master: NAMES[self.master].into(),
            candidates: candidates.map(|at| NAMES[at].to_owned()).collect(),
            listed: [].into(),
            nodes: (0..4).map(|at| (NAMES[at].into(), said(at))).collect(),
        }
    }

    fn own(&self, at: usize) -> Option<Fingerprint> {
        let own = self.nodes[at].files.iter().find(|file| file.is_own());
        own.map(|file| file.key.clone())
    }

    /// Whether this node's own key opens that one.
    fn gets_in(&self, from: usize, to: usize) -> bool {
        let own = self.own(from);
        own.is_some_and(|key| self.nodes[to].lines.iter().any(|line| line.key == key))
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Promote(at) if !self.off[at] => self.candidates[at] = true,
            Event::Demote(at) if at != self.master => self.candidates[at] = false,
            Event::Off(at) if at != self.master => {
                // Ganeti demotes what goes off line.
                (self.off[at], self.candidates[at]) = (true, false);
            }
            Event::On(at) => self.off[at] = false,
            // A candidate takes over that gets in everywhere; others are an administrator's fault.
            Event::Failover(at) if self.candidates[at] && (0..4).all(|to| self.gets_in(at, to)) => {
                self.master = at;
            }
            Event::Run(deeds) => self.run(&PLAIN, deeds),
            Event::Own(deeds) => self.run(&OWN, deeds),
            _ => {}
        }
    }

    fn run(&mut self, wishes: &Wishes, deeds: usize) {
        let mut left = deeds;
        for _ in 0..20 {
            let plan = plan(&self.scene(), wishes).unwrap();
            let Some(phase) = plan.phase() else { return };
            for node in &plan.nodes {
                let needs: Vec<Need> = node.in_phase(phase).cloned().collect();
                if needs.is_empty() {
                    continue;
                }
                if left == 0 {
                    return; // killed
                }
                left -= 1;
                let at = NAMES.iter().position(|name| *name == node.name).unwrap();
                self.deed(at, &needs, &plan);
                self.must_hold();
            }
        }
        panic!("it has no end: {:?}", plan(&self.scene(), wishes));
    }

    /// All that one node is told in one phase: whole or not at all.
    fn deed(&mut self, at: usize, needs: &[Need], plan: &Plan) {
        let node = &mut self.nodes[at];
        for need in needs {
            match need {
                Need::Make => {
                    self.made += 1;
                    let public = format!("ssh-rsa {}", self.made);
                    let key = format!("SHA256:{:0>43}", self.made).parse().unwrap();
                    node.staged = Some(Pair { key, public });
                }
                Need::Add(name, pair) => node.lines.push(line_of(pair, name)),
                Need::Give => node.files.push(KeyFile {
                    key: plan.masters_key.clone(),
                    ..file(&plan.file, SHARED)
                }),
                Need::List => {}
                Need::Switch => {
                    let key = node.staged.take().unwrap().key;
                    node.files.clear();
                    node.files.push(KeyFile {
                        key,
                        ..file(&plan.file, SHARED)
                    });
                }
                Need::Wait(_) => unreachable!(),
                Need::Remove(line, _) => node.lines.retain(|other| other != line),
                Need::Take(_, name, _) => node.files.retain(|file| file.name != *name),
                Need::Unstage => node.staged = None,
            }
        }
        node.list = Some(plan.list.clone());
    }

    /// The master gets in wherever it did when the node was last there.
    fn must_hold(&self) {
        for to in (0..4).filter(|to| !self.off[*to]) {
            assert!(self.gets_in(self.master, to), "locked out of {}", NAMES[to]);
        }
    }

    /// All is done: private halves are with candidates alone, and each of these could take over.
    fn is_whole(&self) {
        for (at, name) in NAMES.into_iter().enumerate() {
            if !self.candidates[at] {
                assert_eq!(self.nodes[at].files, [], "{name}");
                assert_eq!(self.nodes[at].staged, None, "{name}");
                continue;
            }
            for (to, other) in NAMES.into_iter().enumerate() {
                assert!(self.gets_in(at, to), "{name} to {other}");
            }
        }
        let owns: Vec<_> = (0..4).filter_map(|at| self.own(at)).collect();
        let own_pairs = self.nodes[self.master].list.as_ref().unwrap().own_pairs;
        for node in &self.nodes {
            for line in &node.lines {
                assert!(owns.contains(&line.key), "{} opens a door", line.key);
            }
            assert_eq!(node.lines.len(), if own_pairs { owns.len() } else { 1 });
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let at = || 0..4_usize;
    prop_oneof![
        at().prop_map(Event::Promote),
        at().prop_map(Event::Demote),
        at().prop_map(Event::Off),
        at().prop_map(Event::On),
        at().prop_map(Event::Failover),
        (0..30_usize).prop_map(Event::Run),
        (0..30_usize).prop_map(Event::Own),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn the_master_is_never_locked_out_and_all_is_whole_in_the_end(
        events in prop::collection::vec(event(), 0..25),
        own in any::<bool>(),
    ) {
        let mut life = Life::new();
        life.run(&PLAIN, usize::MAX); // that the pair is shared has been seen
        for event in &events {
            life.happen(event);
            life.must_hold();
        }
        life.off.fill(false);
        life.must_hold();
        life.run(if own { &OWN } else { &PLAIN }, usize::MAX);
        life.must_hold();
        life.is_whole();
    }
}
