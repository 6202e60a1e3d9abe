//! One file or folder for each subcommand, and what they share: the command line ([`cli`]) and how
//! the program ends ([`exit`]).
//!
//! A command reads, asks and prints. It decides nothing of its own about a peer, and no room below
//! uses it.

/// Prints to standard output.
macro_rules! out {
    ($($what:tt)*) => { $crate::commands::output::print(format_args!($($what)*)) };
}

/// Prints a line to standard output.
macro_rules! outln {
    () => { $crate::commands::output::print(format_args!("\n")) };
    ($($what:tt)*) => { $crate::commands::output::line(format_args!($($what)*)) };
}

/// Prints a line to standard error.
macro_rules! errln {
    ($($what:tt)*) => { $crate::commands::output::error_line(format_args!($($what)*)) };
}

mod admin_client;
mod admission_args;
pub mod as_nobody;
pub mod certs;
mod certs_args;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod digest;
mod divert;
pub mod exit;
pub mod explain;
pub mod guard;
pub mod hook;
pub mod import_export;
pub mod install;
pub mod manual;
pub mod moves;
mod noded_args;
mod output;
mod own_call;
mod program;
pub mod proxy_args;
pub mod reload;
pub mod reset;
pub mod run;
mod shell;
pub mod spawner;
mod ssh;
pub mod ssh_keys;
pub mod status;
mod table;
mod textfile;
pub mod verify;
mod watch;
