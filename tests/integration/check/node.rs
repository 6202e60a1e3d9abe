//! A node's files, and what `check` says about them.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::pki::{Identity, Pki, map_text};
use crate::support::proxy::replace;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_noded-proxy");

/// A node with files as Ganeti leaves them, and nothing wrong with it.
pub(super) struct Node {
    pub(super) dir: TempDir,
    pub(super) pki: Pki,
    pub(super) client: Identity,
    pub(super) flags: Vec<(&'static str, String)>,
}

/// What `check --json` said.
pub(super) struct Report {
    pub(super) status: Option<i32>,
    pub(super) document: Value,
}

impl Node {
    /// A master candidate whose noded is at `upstream`.
    pub(super) fn new(upstream: SocketAddr) -> Self {
        let pki = Pki::new();
        let client = pki.client(&host());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("ganeti")).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(dir.path().join("config.toml"), "").unwrap();
        let flags = vec![
            ("--config", path("config.toml")),
            ("--listen", "127.0.0.1:0".into()),
            ("--admin", "127.0.0.1:0".into()),
            ("--upstream", upstream.to_string()),
            ("--guard", "off".into()),
            ("--server-pem", path("ganeti/server.pem")),
            ("--ssconf-dir", path("ganeti")),
            ("--state-dir", path("state")),
            ("--noded-defaults", path("defaults")),
        ];
        let node = Self {
            dir,
            pki,
            client,
            flags,
        };
        node.write("ganeti/server.pem", &node.pki.server_pem(), 0o440);
        node.write("ganeti/client.pem", &node.client.pem, 0o440);
        node.write_map(&map_text(&[("uuid-1", &node.client)]));
        node.write(
            "ganeti/ssconf_node_list",
            &format!("{}\nother.example.com\n", host()),
            0o444,
        );
        node.write(
            "ganeti/ssconf_master_candidates",
            &format!("{}\n", host()),
            0o444,
        );
        let (ip, port) = (upstream.ip(), upstream.port());
        let args = format!("RAPI_ARGS=\"\"\nNODED_ARGS=\"-b {ip} -p {port} --no-ssl\"\n");
        node.write("defaults", &args, 0o644);
        fs::create_dir(node.path("bin")).unwrap();
        let systemctl = format!("#!/bin/sh\ncat {}\n", node.path("unit").display());
        node.write("bin/systemctl", &systemctl, 0o755);
        node
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str, mode: u32) {
        replace(&self.path(name), text.as_bytes(), mode);
    }

    pub(super) fn write_map(&self, text: &str) {
        self.write("ganeti/ssconf_master_candidates_certs", text, 0o444);
    }

    /// Sets a flag to another value.
    pub(super) fn set(&mut self, flag: &str, value: impl ToString) {
        self.flags
            .iter_mut()
            .find(|(name, _)| *name == flag)
            .unwrap()
            .1 = value.to_string();
    }

    pub(super) fn run(&self, program: &mut Command, more: &[&str]) -> Output {
        program.arg("check").stdin(Stdio::null());
        // Whether this machine has the unit must not matter; `unit` is what systemd says of it.
        let path = std::env::var("PATH").unwrap_or_default();
        program.env("PATH", format!("{}:{path}", self.path("bin").display()));
        for (flag, value) in &self.flags {
            program.args([*flag, value]);
        }
        program.args(more).output().unwrap()
    }

    pub(super) fn check(&self, more: &[&str]) -> Report {
        let output = self.run(&mut Command::new(PROGRAM), &[&["--json"], more].concat());
        Report::of(&output)
    }

    pub(super) fn offline(&self) -> Report {
        self.check(&["--offline"])
    }
}

impl Report {
    pub(super) fn of(output: &Output) -> Self {
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Self {
            status: output.status.code(),
            document,
        }
    }

    pub(super) fn finding(&self, id: &str) -> Option<(&str, &str)> {
        let checks = self.document["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["id"] == id)?;
        Some((
            found["verdict"].as_str().unwrap(),
            found["message"].as_str().unwrap(),
        ))
    }

    /// Everything with this verdict, by id.
    pub(super) fn ids(&self, verdict: &str) -> Vec<&str> {
        let checks = self.document["checks"].as_array().unwrap().iter();
        checks
            .filter(|c| c["verdict"] == verdict)
            .map(|c| c["id"].as_str().unwrap())
            .collect()
    }

    /// This finding, with these words in its message, and the exit status that goes with the whole.
    #[track_caller]
    pub(super) fn assert(&self, id: &str, verdict: &str, words: &[&str]) {
        let found = self
            .finding(id)
            .unwrap_or_else(|| panic!("no {id} in {:#}", self.document));
        assert_eq!(found.0, verdict, "{id}: {:#}", self.document);
        for word in words {
            assert!(found.1.contains(word), "{word:?} is not in {:?}", found.1);
        }
        let good = self.ids("error").is_empty();
        assert_eq!(self.document["ok"], good);
        assert_eq!(self.status, Some(i32::from(!good)));
    }
}

pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_str().unwrap().into()
}

pub(super) fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}
