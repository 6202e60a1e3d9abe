//! Load generator, stub noded and crypto limit for `benches/run`.
//!
//! One mode for each run, one JSON line out. Every load is bounded in time, and all of
//! it goes to 127.0.0.1.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]

mod args;
mod client;
mod http;
mod limit;
mod modes;
mod pki;
mod stats;
mod stub;

use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: load MODE [--option value]...
  certs  make server.pem, candidates, a rogue and the candidate map (--dir, --candidates)
  stub   what noded is behind the proxy (--port, --big BYTES, --fork-ms)
  rpc    RPCs one after the other (--reuse 0|1, --path, --up BYTES, --concurrency)
  mix    good and rogue clients at fixed rates (--good-rate, --rogue-rate, --rogue hello|FILE)
  idle   admitted connections held open (--connections, --request 0|1, --hold)
  watch  RPCs by a candidate until it is refused
  limit  CPU time of the TLS library alone for a handshake (--server)
options of all clients: --port, --cert FILE|FOLDER, --tls 1.2|1.3, --duration, --timeout";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let Some(mode) = words.next() else {
        // `cargo bench` and `cargo test --all-targets` start every target without arguments.
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    };
    let args = args::Args::parse(words);
    // AWS-LC gathers entropy for 40 ms at its first use, which is nothing to measure.
    openssl::rand::rand_bytes(&mut [0]).expect("random bytes");
    let result = match mode.as_str() {
        "certs" => {
            pki::certs(Path::new(args.need("dir")), args.get("candidates", 8));
            Value::Null
        }
        "stub" => stub::stub(&args),
        "rpc" => modes::rpc(&args),
        "mix" => modes::mix(&args),
        "idle" => modes::idle(&args),
        "watch" => modes::watch(&args),
        "limit" => limit::limit(&args),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{result}");
    ExitCode::SUCCESS
}
