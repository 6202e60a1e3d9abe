//! No configuration file makes the program panic; every problem is one line.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use noded_proxy::config::{Config, FileArgs};

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("noded-proxy-fuzz-{}", std::process::id())));

fuzz_target!(|text: &[u8]| {
    std::fs::write(&*FILE, text).expect("a file for the configuration");
    let file = FileArgs {
        config: Some(FILE.clone()),
    };
    match Config::load(&file, &[]) {
        Ok(config) => {
            assert!(!config.listen.is_empty());
            let up = &config.upstream;
            assert!(up.fast_slots.is_none_or(|fast| fast < up.max_clients));
            assert!(config.limits.body_in_memory() <= config.limits.body);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let line = problem.to_string();
                assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
            }
        }
    }
});
