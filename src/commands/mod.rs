//! One file or folder for each subcommand, and what they share: the command line ([`cli`]) and how
//! the program ends ([`exit`]).
//!
//! A command reads, asks and prints. It decides nothing of its own about a peer, and no room below
//! uses it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a command is for; everything below speaks through tracing"
)]

mod admin_client;
pub mod certs;
pub mod check;
pub mod cli;
pub mod demo;
pub mod digest;
pub mod exit;
pub mod explain;
pub mod manual;
pub mod reset;
pub mod run;
pub mod status;
mod table;
