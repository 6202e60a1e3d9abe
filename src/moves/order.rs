//! What Ganeti asks of one transfer: the arguments of its `import-export`, read into a value that
//! cannot be wrong. Pure. It is as strict as Ganeti is when it builds them, and runs nothing.

use std::net::IpAddr;
use std::path::PathBuf;

use super::codec::Codec;
use super::shell::{Sink, Source, Unfit};

/// The arguments as they are typed.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// Where the status is written.
    pub status: PathBuf,
    /// `import` or `export`.
    pub mode: String,
    /// Key file.
    pub key: Option<PathBuf>,
    /// Certificate file.
    pub cert: Option<PathBuf>,
    /// File with the peer's certificate.
    pub ca: Option<PathBuf>,
    /// Local address.
    pub bind: Option<String>,
    /// IPv4 alone.
    pub ipv4: bool,
    /// IPv6 alone.
    pub ipv6: bool,
    /// The peer.
    pub host: Option<String>,
    /// Its port, or the one to listen on.
    pub port: Option<u16>,
    /// How often the exporter tries again.
    pub connect_retries: u32,
    /// Seconds.
    pub connect_timeout: u64,
    /// Name of the compression tool.
    pub compress: String,
    /// Size in MiB, or `fd`.
    pub expected_size: Option<String>,
    /// The secret word at the start of the stream.
    pub magic: Option<String>,
    /// What comes before the transport in the pipeline.
    pub cmd_prefix: Option<String>,
    /// What comes after it.
    pub cmd_suffix: Option<String>,
}

/// A transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Where the status is written; absolute.
    pub status: PathBuf,
    /// The files of this end and the peer's certificate.
    pub files: Files,
    /// Local address.
    pub bind: Option<IpAddr>,
    /// Which addresses are used.
    pub family: Family,
    /// Seconds for a connection.
    pub connect_timeout: u64,
    /// Name of the compression tool; [`Compress::parse`] reads it.
    pub tool: String,
    /// The size to expect.
    pub size: Size,
    /// The word at the start of the stream.
    pub magic: Option<Magic>,
    /// Which way.
    pub way: Way,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Key of this end.
    pub key: PathBuf,
    /// Certificate of this end.
    pub cert: PathBuf,
    /// The peer's certificate.
    pub ca: PathBuf,
}

/// Direction of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// This end waits and receives.
    Import {
        /// The port to listen on; 0 is any.
        port: u16,
        /// Where the data go.
        sink: Sink,
    },
    /// This end calls and sends.
    Export {
        /// The peer's name or address.
        host: String,
        /// Its port.
        port: u16,
        /// How often it is tried again.
        retries: u32,
        /// Where the data come from.
        source: Source,
    },
}

/// Address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Family {
    /// Whether an address is of it.
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv6() == (self == Self::V6)
    }
}

/// What to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Nothing is known.
    Unknown,
    /// So many MiB.
    Mebibytes(u64),
    /// The command says it at a file descriptor.
    Told,
}

/// The word at the start of the stream, as Ganeti makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magic(String);

impl Magic {
    /// Ganeti's form: 5 to 100 letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_good = (5..=100).contains(&text.len()) && text.chars().all(fits);
        is_good.then(|| Self(text.to_owned()))
    }

    /// The word.
    pub fn word(&self) -> &str {
        &self.0
    }

    /// The start of the original's stream.
    pub fn start(&self) -> String {
        format!("M={}", self.0)
    }
}

/// How the stream is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compress {
    /// Not at all.
    None,
    /// By this program itself.
    Own(Codec),
    /// By a program: its name and the arguments that compress and decompress.
    Program {
        /// Found by PATH.
        name: String,
        /// To compress.
        pack: &'static [&'static str],
        /// To decompress.
        unpack: &'static [&'static str],
    },
}

impl Compress {
    /// As Ganeti calls the tools (`impexpd`, `_GetTransportCommand`).
    pub fn parse(tool: &str) -> Option<Self> {
        let program = |name: &str, pack, unpack| Self::Program {
            name: name.to_owned(),
            pack,
            unpack,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        Some(match tool {
            "none" => Self::None,
            "zstd" => Self::Own(Codec::Zstd),
            "lz4" => Self::Own(Codec::Lz4),
            "gzip" | "gzip-fast" => program("gzip", &["-1", "-c"], &["-d", "-c"]),
            "gzip-slow" => program("gzip", &["-c"], &["-d", "-c"]),
            "lzop" => program("lzop", &["-c"], &["-d", "-c"]),
            _ if tool.len() > 64 || !tool.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
                return None;
            }
            _ if tool.chars().all(fits) => program(tool, &[], &["-d"]),
            _ => return None,
        })
    }

    /// Whether a program is run for it.
    pub fn runs_program(&self) -> bool {
        matches!(self, Self::Program { .. })
    }
}

/// What is wrong with the arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Neither `import` nor `export`.
    #[error("the mode is import or export, not {0:?}")]
    Mode(String),
    /// The status file must be absolute.
    #[error("the path of the status file is not absolute: {0}")]
    Status(PathBuf),
    /// A flag is needed.
    #[error("--{0} is missing")]
    Missing(&'static str),
    /// A flag is for the other direction.
    #[error("--{0} is not for an {1}")]
    Misplaced(&'static str, &'static str),
    /// Both families.
    #[error("only one of --ipv4 and --ipv6 can be used")]
    Families,
    /// A value is not in Ganeti's form.
    #[error("--{0} has a value that Ganeti does not make: {1:?}")]
    Value(&'static str, String),
    /// A command is not in Ganeti's form.
    #[error("--{0} has a form that Ganeti does not make: {1}")]
    Command(&'static str, Unfit),
}

impl Wrong {
    /// Whether Ganeti's program sees it in the command line. Other faults it sees at work.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Status(_) | Self::Missing(_) | Self::Value("compress", _) => false,
            Self::Mode(_) | Self::Families | Self::Value(..) => true,
            // Ganeti's program would do as it is told.
            Self::Misplaced(..) | Self::Command(..) => true,
        }
    }
}

impl Typed {
    /// The transfer that is meant.
    pub fn order(self) -> Result<Order, Wrong> {
        if !self.status.is_absolute() {
            return Err(Wrong::Status(self.status));
        }
        let family = self.family()?;
        let way = self.way(family)?;
        let bind = self.address("bind", self.bind.as_deref(), family)?;
        let value = |flag, text: &str| Wrong::Value(flag, text.to_owned());
        if Compress::parse(&self.compress).is_none() {
            return Err(value("compress", &self.compress));
        }
        let magic = match &self.magic {
            None => None,
            Some(text) => Some(Magic::parse(text).ok_or_else(|| value("magic", text))?),
        };
        let size = match self.expected_size.as_deref() {
            None => Size::Unknown,
            Some("fd") => Size::Told,
            Some(text) => match text.parse() {
                Ok(size) => Size::Mebibytes(size),
                Err(_) => return Err(value("expected-size", text)),
            },
        };
        Ok(Order {
            status: self.status,
            files: Files {
                key: self.key.ok_or(Wrong::Missing("key"))?,
                cert: self.cert.ok_or(Wrong::Missing("cert"))?,
                ca: self.ca.ok_or(Wrong::Missing("ca"))?,
            },
            bind,
            family,
            connect_timeout: self.connect_timeout,
            tool: self.compress,
            size,
            magic,
            way,
        })
    }

    fn family(&self) -> Result<Family, Wrong> {
        let is_v6 = |text: &Option<String>| {
            let address = text.as_deref().map(str::parse::<IpAddr>);
            matches!(address, Some(Ok(IpAddr::V6(_))))
        };
        match (self.ipv4, self.ipv6) {
            (true, true) => Err(Wrong::Families),
            (true, false) => Ok(Family::V4),
            (false, true) => Ok(Family::V6),
            // Ganeti always says which; a person may leave it to the address.
            (false, false) if is_v6(&self.host) || is_v6(&self.bind) => Ok(Family::V6),
            (false, false) => Ok(Family::V4),
        }
    }

    fn address(
        &self,
        flag: &'static str,
        text: Option<&str>,
        family: Family,
    ) -> Result<Option<IpAddr>, Wrong> {
        let Some(text) = text else { return Ok(None) };
        let address = text.parse().ok().filter(|address| family.has(*address));
        let address = address.ok_or_else(|| Wrong::Value(flag, text.to_owned()))?;
        Ok(Some(address))
    }

    fn way(&self, family: Family) -> Result<Way, Wrong> {
        let unfit = |flag| move |unfit| Wrong::Command(flag, unfit);
        match self.mode.as_str() {
            "import" => {
                if self.host.is_some() {
                    return Err(Wrong::Misplaced("host", "import"));
                }
                if self.cmd_prefix.is_some() {
                    return Err(Wrong::Misplaced("cmd-prefix", "import"));
                }
                let sink = Sink::parse(self.cmd_suffix.as_deref()).map_err(unfit("cmd-suffix"))?;
                let port = self.port.unwrap_or(0);
                Ok(Way::Import { port, sink })
            }
            "export" => {
                let host = self.host.clone().ok_or(Wrong::Missing("host"))?;
                check_host(&host, family)?;
                let port = self.port.filter(|port| *port > 0);
                let port = port.ok_or(Wrong::Missing("port"))?;
                let prefix = self.cmd_prefix.as_deref();
                let suffix = self.cmd_suffix.as_deref();
                let source = Source::parse(prefix, suffix).map_err(|(f, why)| unfit(f)(why))?;
                let retries = self.connect_retries;
                Ok(Way::Export {
                    host,
                    port,
                    retries,
                    source,
                })
            }
            _ => Err(Wrong::Mode(self.mode.clone())),
        }
    }
}

/// An address of the family, or a name as Ganeti lets it pass.
fn check_host(host: &str, family: Family) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = (1..=255).contains(&host.len()) && host.chars().all(fits);
    let good = match host.parse::<IpAddr>() {
        Ok(address) => family.has(address),
        Err(_) => is_name && !host.starts_with('-'),
    };
    if good {
        Ok(())
    } else {
        Err(Wrong::Value("host", host.to_owned()))
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
