//! `--name value` options, no more. A wrong one ends the run with a panic that names it.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

pub(crate) struct Args(HashMap<String, String>);

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut map = HashMap::new();
        while let Some(word) = words.next() {
            let value = words.next();
            match (word.strip_prefix("--"), value) {
                (Some(name), Some(value)) => map.insert(name.to_owned(), value),
                _ => panic!("'{word}': expected --name value"),
            };
        }
        Self(map)
    }

    pub(crate) fn need(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(value) => value,
            None => panic!("--{name} is required"),
        }
    }

    pub(crate) fn get<T: FromStr>(&self, name: &str, default: T) -> T {
        match self.0.get(name).map(|text| (text, text.parse())) {
            None => default,
            Some((_, Ok(value))) => value,
            Some((text, Err(_))) => panic!("--{name} {text}: bad value"),
        }
    }

    pub(crate) fn seconds(&self, name: &str, default: f64) -> Duration {
        Duration::from_secs_f64(self.get(name, default))
    }
}
