//! `noded-proxy digest`: the digest of certificates, as the candidate map has it. It never shows a
//! key.

use std::process::ExitCode;

use crate::commands::cli::DigestArgs;
use crate::node::files::read_named;
use crate::tls::certificates;

/// `noded-proxy digest FILE...`: the digest as the candidate map has it. With one file the digest
/// alone, with several `DIGEST FILE` a line.
pub fn main(args: &DigestArgs) -> ExitCode {
    let mut exit = ExitCode::SUCCESS;
    for file in &args.files {
        let found = read_named(file)
            .map_err(|error| error.to_string())
            .and_then(|pem| certificates(&pem).map_err(|error| error.to_string()));
        match found {
            Ok(list) if args.files.len() == 1 => outln!("{}", list[0].digest),
            Ok(list) => outln!("{} {}", list[0].digest, file.display()),
            Err(why) => {
                errln!("noded-proxy: {}: {why}", file.display());
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}
