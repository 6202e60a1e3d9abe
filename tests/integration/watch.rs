//! `noded-proxy status --watch`: in a pipe, and on a terminal.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::pki::Pki;
use crate::support::proxy::Proxy;
use crate::support::stage::Stage;
use crate::support::stub::StubNoded;

/// A watching command; it ends with this value.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on until a line is as wanted. The test fails by its harness if none ever is.
    fn until(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        let lines = self.lines.by_ref().map(Result::unwrap);
        let mut lines = lines.inspect(|line| eprintln!("{line}")).take(500);
        lines.find(|line| is_so(line)).expect("such a line")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(proxy: &Proxy) -> [String; 5] {
    let admin = proxy.admin().to_string();
    let program = env!("CARGO_BIN_EXE_noded-proxy");
    [program, "status", "--watch", "--admin", &admin].map(String::from)
}

#[test]
fn in_a_pipe_it_tells_rates_and_refusals_without_colours() {
    let stage = Stage::new(StubNoded::usual());
    let other = Pki::new().client("other");
    let command = program(&stage.proxy);
    let mut watch = Watch::start(Command::new(&command[0]).args(&command[1..]));
    watch.until(|line| line.starts_with("RPCs") && line.contains(" -/s"));
    stage.rpc("version", "[]");
    crate::support::client::admitted(stage.proxy.addr(), &other);
    let line = watch.until(|line| {
        let rate = line
            .strip_prefix("RPCs ")
            .and_then(|rest| rest.split("/s").next());
        rate.is_some_and(|rate| rate.trim().parse::<f64>().is_ok_and(|rate| rate > 0.0))
    });
    assert!(line.contains(", 0.0/s without a good answer"), "{line}");
    watch.until(|line| line.contains("unknown_digest") && line.contains(" other "));
    watch.until(|line| {
        assert!(!line.contains('\x1b'), "{line:?}");
        line.starts_with("noded ") && line.contains(" slots in use")
    });
    drop(stage);
    watch.until(|line| line.contains("no answer from a running proxy"));
}

/// The first line about its state, on a terminal that `script` makes.
fn on_a_terminal(environment: (&str, &str)) -> String {
    let stage = Stage::new(StubNoded::usual());
    let words = program(&stage.proxy).join(" ");
    let mut command = Command::new("script");
    command.args(["-qec", &words, "/dev/null"]);
    command
        .env_remove("NO_COLOR")
        .env(environment.0, environment.1);
    let mut watch = Watch::start(&mut command);
    let first = watch.until(|line| line.contains("noded-proxy "));
    assert!(
        first.starts_with("\x1b[H"),
        "it begins at the top: {first:?}"
    );
    watch.until(|line| line.starts_with("state"))
}

#[test]
fn on_a_terminal_it_has_colours_unless_they_are_not_wanted() {
    let line = on_a_terminal(("TERM", "xterm"));
    assert!(line.contains("\x1b[32mready\x1b[0m"), "{line:?}");
    let line = on_a_terminal(("NO_COLOR", "1"));
    assert!(
        line.contains("ready, ") && !line.contains("[32m"),
        "{line:?}"
    );
}
