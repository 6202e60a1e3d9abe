//! What is typed behind `noded-proxy import-export`: the arguments of Ganeti's program of that name.
//! Nothing is read or decided here.

use std::path::PathBuf;

use clap::Args;

use crate::moves::order::Typed;

/// Options of `import-export`.
#[derive(Debug, Clone, Args)]
pub struct ImportExportArgs {
    /// Where the status is written
    #[arg(value_name = "STATUS-FILE")]
    pub status: PathBuf,
    /// import or export
    #[arg(value_name = "MODE")]
    pub mode: String,
    /// Key of this end
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Certificate of this end
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The peer's exact certificate
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Local address
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<String>,
    /// Use IPv4 only
    #[arg(long)]
    pub ipv4: bool,
    /// Use IPv6 only
    #[arg(long)]
    pub ipv6: bool,
    /// The importer to call
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Its port; of an import: the port to listen on
    #[arg(long)]
    pub port: Option<u16>,
    /// How often the exporter tries again
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub connect_retries: u32,
    /// Seconds until a connection must be there
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub connect_timeout: u64,
    /// Compression tool
    #[arg(long, value_name = "TOOL", default_value = "gzip")]
    pub compress: String,
    /// Size to expect in MiB, or fd: the command writes it to the descriptor in EXP_SIZE_FD
    #[arg(long, value_name = "SIZE")]
    pub expected_size: Option<String>,
    /// The word at the start of the stream
    #[arg(long)]
    pub magic: Option<String>,
    /// "COMMAND |" of an export
    #[arg(long, value_name = "SHELL", allow_hyphen_values = true)]
    pub cmd_prefix: Option<String>,
    /// "| COMMAND" or "> FILE" of an import, "< FILE" of an export
    #[arg(long, value_name = "SHELL", allow_hyphen_values = true)]
    pub cmd_suffix: Option<String>,
    /// Where the configuration file is. Ganeti never names one.
    #[arg(long, value_name = "FILE", hide = true)]
    pub config: Option<PathBuf>,
    /// Taken, and without effect
    #[arg(long, short)]
    pub debug: bool,
    /// Taken, and without effect
    #[arg(long, short)]
    pub verbose: bool,
}

impl ImportExportArgs {
    /// For the rules.
    pub(super) fn typed(&self) -> Typed {
        let own = self.clone();
        Typed {
            status: own.status,
            mode: own.mode,
            key: own.key,
            cert: own.cert,
            ca: own.ca,
            bind: own.bind,
            ipv4: own.ipv4,
            ipv6: own.ipv6,
            host: own.host,
            port: own.port,
            connect_retries: own.connect_retries,
            connect_timeout: own.connect_timeout,
            compress: own.compress,
            expected_size: own.expected_size,
            magic: own.magic,
            cmd_prefix: own.cmd_prefix,
            cmd_suffix: own.cmd_suffix,
        }
    }
}
