use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The same, by somebody else's reader.
fn plain(value: serde_json::Value) -> Value {
    use serde_json::Value as Theirs;
    match value {
        Theirs::Null => Value::Null,
        Theirs::Bool(value) => Value::Bool(value),
        Theirs::Number(_) => Value::Number,
        Theirs::String(text) => Value::Text(text.into()),
        Theirs::Array(list) => Value::List(list.into_iter().map(plain).collect()),
        Theirs::Object(map) => {
            let all = map
                .into_iter()
                .map(|(key, value)| (key.into(), plain(value)));
            Value::Map(all.collect())
        }
    }
}

#[test]
fn what_noded_could_read_otherwise_is_refused() {
    let table = [
        (r#"[{"kvm_path": 1, "a": 2, "kvm_path": 3}]"#, "twice"),
        (r#"[{"kvm_path": 1, "kvm\u005fpath": 3}]"#, "twice"),
        (r#"[{"a": {"b": 1, "b": 1}}]"#, "twice"),
        ("[NaN]", "expected value"),
        ("[-Infinity]", "number"),
        ("[1e999]", "out of range"),
        (r#"["\ud800"]"#, "surrogate|hex escape"),
        (r#"["\u1_23"]"#, "escape"),
        ("[1] [2]", "trailing"),
        ("[01]", "number"),
        ("[1,]", "trailing comma"),
        ("['a']", "expected value"),
        ("[\"a\nb\"]", "control character"),
        ("", "EOF"),
    ];
    for (text, expected) in table {
        let why = read(text).expect_err(text);
        let fits = expected.split('|').any(|part| why.contains(part));
        assert!(fits, "{text}: {why}");
    }
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(read(&nested(usize::from(MAX_DEPTH))).is_ok());
    assert!(
        read(&nested(33))
            .unwrap_err()
            .contains("nested deeper than 32")
    );
    assert!(
        read(&nested(5_000))
            .unwrap_err()
            .contains("nested deeper than 32")
    );
    let long = |n: u32| format!("[{}1]", "1,".repeat(n as usize - 1));
    assert!(read(&long(MAX_VALUES - 1)).is_ok());
    assert!(
        read(&long(MAX_VALUES))
            .unwrap_err()
            .contains("more than 50000 values")
    );
    let maps = format!("[{}1]", r#"{"a":1},"#.repeat(MAX_VALUES as usize / 2));
    assert!(read(&maps).unwrap_err().contains("more than 50000 values"));
}

#[test]
fn a_body_of_ganeti_s_is_read_as_it_is() {
    let body =
        "[[], [[\"kvm\", {\"kvm_path\": \"/usr/bin/kvm\", \"mem\": 1.5}], [\"fake\", {}]]]\n";
    let value = read(body).unwrap();
    let [units, specs] = value.tuple().unwrap();
    assert_eq!(units.list(), Some(&[][..]));
    let [name, params] = specs.list().unwrap()[0].tuple().unwrap();
    assert_eq!(name.text(), Some("kvm"));
    let path = &params.map().unwrap()["kvm_path"];
    assert_eq!(path.text(), Some("/usr/bin/kvm"));
    assert_eq!((value.text(), value.map(), path.list()), (None, None, None));
}

/// JSON of all kinds, and what is nearly JSON.
fn text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<f64>().prop_map(|n| n.to_string()),
        any::<i128>().prop_map(|n| n.to_string()),
        "\"[a-c]{0,2}\"",
        "\\PC{0,4}",
    ];
    leaf.prop_recursive(6, 64, 5, |inner| {
        let key = "\"[a-c]{0,1}\"";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|l| format!("[{}]", l.join(","))),
            prop::collection::vec((key, inner), 0..5).prop_map(|pairs| {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                format!("{{{}}}", pairs.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = serde_json::from_slice::<Value>(&bytes);
    }

    #[test]
    fn what_is_read_is_what_another_reader_reads(text in text()) {
        if let Ok(ours) = serde_json::from_str::<Value>(&text) {
            let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(ours, plain(theirs));
        } else if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&text) {
            // What ours refuses and theirs takes has a key twice: theirs has fewer of them.
            let keys = text.matches(": ").count();
            prop_assert!(keys_of(&theirs) < keys, "{}", text);
        }
    }
}

fn keys_of(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(list) => list.iter().map(keys_of).sum(),
        serde_json::Value::Object(map) => map.len() + map.values().map(keys_of).sum::<usize>(),
        _ => 0,
    }
}
