//! One file or folder for each subcommand. A command reads, asks and prints; it decides nothing of its own.

mod admin_client;
pub mod certs;
pub mod check;
pub mod cli;
pub mod demo;
pub mod explain;
pub mod print;
pub mod reset;
pub mod status;
mod table;
