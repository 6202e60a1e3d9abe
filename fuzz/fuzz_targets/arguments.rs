//! No bytes make the reader of arguments panic; what it reads is what another reader of JSON reads, and no rule
//! panics on it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::arguments::Value;
use rules::master::Role;
use rules::policy::{Arguments, Policy};
use rules::procedures::TABLE;

fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
    use serde_json::Value as Theirs;
    match (ours, theirs) {
        (Value::Null, Theirs::Null) | (Value::Number, Theirs::Number(_)) => true,
        (Value::Bool(a), Theirs::Bool(b)) => a == b,
        (Value::Text(a), Theirs::String(b)) => **a == **b,
        (Value::List(a), Theirs::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Theirs::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(&**key).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}

fuzz_target!(|body: &[u8]| {
    let Ok(ours) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let theirs = serde_json::from_slice(body).expect("what ours takes is JSON");
    assert!(same(&ours, &theirs));
    let rules = ["read_only", "dangerous", "!write_ssconf_files(a)", "upload_file(/a)"];
    let policy = Policy {
        allow_from_master_only: rules.map(|rule| rule.parse().expect("a rule")).into(),
        ..Policy::default()
    };
    for procedure in TABLE {
        let _ = procedure.effect_of(&ours);
        let arguments = Arguments::Seen(&ours);
        if policy.check(procedure.name, Role::OtherCandidate, arguments).is_ok() {
            // The first look has not said no to what may pass.
            assert!(policy.first_look(procedure.name, Role::OtherCandidate).is_ok());
        }
    }
});
