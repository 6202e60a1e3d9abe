//! The flags of the commands that read the admission files or ask the running proxy; `explain` and
//! `certs list` have few others. Nothing is read or decided here.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{AdminArgs, BundleArgs, FileArgs, ModeArgs, Overrides, StateArgs, TrustArgs};

/// The flags of every command that reads the admission files or asks the running proxy.
#[derive(Debug, Clone, Default, Args)]
pub struct AdmissionArgs {
    /// Where the configuration file is.
    #[command(flatten)]
    pub file: FileArgs,
    /// What decides who is admitted.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Further certificates.
    #[command(flatten)]
    pub bundle: BundleArgs,
    /// What the proxy remembers.
    #[command(flatten)]
    pub state: StateArgs,
    /// Where operators look.
    #[command(flatten)]
    pub admin: AdminArgs,
}

impl AdmissionArgs {
    /// All groups that override keys, and further ones.
    pub(super) fn overrides<'a>(&'a self, more: &[&'a dyn Overrides]) -> Vec<&'a dyn Overrides> {
        let own: [&dyn Overrides; 4] = [&self.trust, &self.bundle, &self.state, &self.admin];
        [&own, more].concat()
    }
}

/// Options of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// PEM file; its first certificate counts, keys are skipped
    #[arg(value_name = "CERT")]
    pub certificate: Option<PathBuf>,
    /// Address from which the certificate is shown; alone: explain the last refusals of this
    /// address
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Option<IpAddr>,
    /// Files, state and the running proxy to ask.
    #[command(flatten)]
    pub admission: AdmissionArgs,
    /// Which rule decides.
    #[command(flatten)]
    pub mode: ModeArgs,
}

impl ExplainArgs {
    /// All groups that override keys.
    pub fn overrides(&self) -> Vec<&dyn Overrides> {
        self.admission.overrides(&[&self.mode])
    }
}

/// Options of `certs list`.
#[derive(Debug, Clone, Args)]
pub struct CertsListArgs {
    /// Read the files and the state directory, do not ask the running proxy; so does a flag that
    /// names a file or directory to read
    #[arg(long)]
    pub files: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// Files, state and the running proxy to ask.
    #[command(flatten)]
    pub admission: AdmissionArgs,
}

impl CertsListArgs {
    /// All groups that override keys.
    pub fn overrides(&self) -> Vec<&dyn Overrides> {
        self.admission.overrides(&[])
    }

    /// Whether the files are asked for: the running proxy knows nothing of other ones.
    pub fn of_files(&self) -> bool {
        let AdmissionArgs { trust, bundle, .. } = &self.admission;
        self.files || *trust != TrustArgs::default() || *bundle != BundleArgs::default()
    }
}
