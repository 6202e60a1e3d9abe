//! What was configured: defaults, then the files, then the flags, to a [`Config`] that cannot be
//! wrong, and from there to the settings of each part ([`Config::proxy_settings`] and its
//! neighbours).
//!
//! It reads the configuration's files and does nothing else: no other file, no socket, no log line.
//! Only `daemon` and `commands` name it; the parts below have settings of their own and know no
//! key. Every problem is one line that names the key, the value and what was expected, and all
//! problems of the values are reported together.

mod admin;
mod file;
mod flags;
mod keys;
mod limits;
mod load;
mod pieces;
mod problem;
mod sections;
mod settings;
mod upstream;
mod value;

pub use admin::{AdminAddress, AdminSocket};
pub use flags::{
    AdminArgs, BundleArgs, FileArgs, ListenArgs, ModeArgs, Overrides, ServiceArgs, StateArgs,
    TrustArgs, UpstreamArgs,
};
pub use keys::Config;
pub use limits::LimitsConfig;
pub use load::DEFAULT_FILE;
pub use pieces::{beside, directory};
pub use problem::Problem;
pub use sections::{
    AdmissionConfig, ClientCaListConfig, LogConfig, LogFormat, LogLevel, MovesConfig, MovesMetrics,
    SandboxMode, TlsConfig,
};
pub use upstream::{Guard, NODED_PORT, UpstreamConfig, Warm};

#[cfg(test)]
mod tests;
