//! README and `docs/`: what they say is tried. Commands run, links lead somewhere, and what they
//! name exists. No text is ever changed from here.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `fuzz` | the fuzz targets are those that CONTRIBUTING.md lists |
//! | `blocks` | the marks of code blocks, and what their output must have |
//! | `commands` | the program has every command and flag that a text names |
//! | `run` | every block that is marked for it runs and says what the text says |
//! | `links` | every relative link and anchor leads somewhere |
//! | `names` | tests, functions and reasons that the texts name exist |
//! | `texts` | the files |
//! | `verify` | the table of findings is that of the program |

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test both are what one wants"
)]

mod blocks;
mod commands;
mod fuzz;
mod links;
mod names;
mod run;
mod texts;
mod verify;
