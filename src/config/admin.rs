//! Where the admin listener is: at a TCP address, at a socket in the file system, or at both. Only
//! read and written here: nothing is ever opened.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// Stands before the path of a socket where an address may stand too.
const SOCKET: &str = "unix:";

/// One of the places where an admin listener is asked, as `--admin` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// `ADDR:PORT`.
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Socket(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(SOCKET).map(Path::new) {
            Some(path) if path.is_absolute() => Ok(Self::Socket(path.into())),
            Some(_) => Err("expected an absolute path after unix:".into()),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "expected ADDR:PORT or unix:PATH".into()),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Socket(path) => write!(f, "{SOCKET}{}", path.display()),
        }
    }
}

/// Key `admin_socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminSocket {
    /// At this path.
    At(PathBuf),
    /// None.
    Off,
}

impl<'de> Deserialize<'de> for AdminSocket {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.as_str() {
            "off" => Ok(Self::Off),
            path if Path::new(path).is_absolute() => Ok(Self::At(path.into())),
            _ => Err(serde::de::Error::custom(
                "expected an absolute path, or \"off\"",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_in_one_form() {
        for text in ["127.0.0.1:9811", "[::1]:9811", "unix:/run/x/admin.sock"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "9811",
            "unix:",
            "unix:admin.sock",
            "/run/x",
            "localhost:1",
        ] {
            let told = text.parse::<AdminAddress>().unwrap_err();
            assert!(told.starts_with("expected "), "{text}: {told}");
        }
    }
}
