//! noded's arguments as its option parser (Python's optparse) reads them, and what they must be
//! behind the proxy. Pure: it knows no file, and it keeps every argument that is not its own.

use std::net::IpAddr;

use crate::config::UpstreamConfig;

/// The variable that holds them.
pub(crate) const NAME: &str = "NODED_ARGS";

/// What of them matters here. The last of several equal options counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NodedArgs {
    pub(crate) bind: Option<String>,
    pub(crate) port: Option<String>,
    pub(crate) no_ssl: bool,
    pub(crate) max_clients: Option<String>,
}

/// An option that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    Port,
    NoSsl,
    MaxClients,
    Interface,
}

/// One or two words of the arguments.
struct Piece<'a> {
    option: Option<Kind>,
    value: Option<&'a str>,
    words: Vec<&'a str>,
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let (name, attached) = match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value)),
            _ if word.starts_with('-') && !word.starts_with("--") && word.len() > 2 => word
                .split_at_checked(2)
                .map_or((word, None), |(o, v)| (o, Some(v))),
            _ => (word, None),
        };
        let option = match name {
            "-b" | "--bind" => Some(Kind::Bind),
            "-p" | "--port" => Some(Kind::Port),
            "-i" | "--interface" => Some(Kind::Interface),
            "--max-clients" => Some(Kind::MaxClients),
            "--no-s" | "--no-ss" | "--no-ssl" => Some(Kind::NoSsl), // as optparse has it
            _ => None,
        };
        let takes_value = option.is_some_and(|option| option != Kind::NoSsl);
        let next = match attached {
            None if takes_value => words.next(),
            _ => None,
        };
        pieces.push(Piece {
            option,
            value: attached.or(next),
            words: [Some(word), next].into_iter().flatten().collect(),
        });
    }
    pieces
}

impl NodedArgs {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for piece in pieces(text) {
            let place = match piece.option {
                Some(Kind::Bind) => &mut parsed.bind,
                Some(Kind::Port) => &mut parsed.port,
                Some(Kind::MaxClients) => &mut parsed.max_clients,
                Some(Kind::NoSsl) => {
                    parsed.no_ssl = true;
                    continue;
                }
                Some(Kind::Interface) | None => continue,
            };
            *place = piece.value.map(str::to_owned);
        }
        parsed
    }

    /// Whether noded then stands where the proxy looks for it, and speaks as the proxy does.
    pub(crate) fn fit(&self, upstream: &UpstreamConfig) -> bool {
        let bind = self.bind.as_deref().and_then(|b| b.parse::<IpAddr>().ok());
        let port = self.port.as_deref().and_then(|p| p.parse().ok());
        bind == Some(upstream.address.ip())
            && port == Some(upstream.address.port())
            && self.no_ssl != upstream.tls
    }

    /// Whether noded then stands behind something: without TLS, or on loopback alone.
    pub(crate) fn is_moved(&self) -> bool {
        let bind = self.bind.as_deref().and_then(|b| b.parse::<IpAddr>().ok());
        self.no_ssl || bind.is_some_and(|bind| bind.is_loopback())
    }
}

/// What noded needs behind the proxy.
pub(crate) fn wanted(upstream: &UpstreamConfig) -> String {
    let no_ssl = if upstream.tls { "" } else { " --no-ssl" };
    format!(
        "-b {} -p {}{no_ssl}",
        upstream.address.ip(),
        upstream.address.port()
    )
}

/// The arguments behind the proxy: others are kept. Or why that is not safe.
pub(crate) fn moved(text: &str, upstream: &UpstreamConfig) -> Result<String, String> {
    let kept = without(text)?;
    let wanted = wanted(upstream);
    Ok(match kept.is_empty() {
        true => wanted,
        false => format!("{kept} {wanted}"),
    })
}

/// The arguments without those that say where noded listens and whether it speaks TLS.
pub(crate) fn without(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " \t\n_./:,=@%+-".contains(c);
    if let Some(odd) = text.chars().find(|c| !plain(*c)) {
        let odd = odd.escape_debug();
        return Err(format!("`{odd}` in it has a meaning of its own in a shell"));
    }
    let all = pieces(text);
    if let Some(word) = all.iter().find_map(unclear) {
        return Err(format!("`{word}` in it may be meant for the address"));
    }
    if all.iter().any(|p| p.option == Some(Kind::Interface)) {
        return Err("-i in it excludes -b: take it out first".into());
    }
    let ours = [Kind::Bind, Kind::Port, Kind::NoSsl].map(Some);
    let kept = all.iter().filter(|piece| !ours.contains(&piece.option));
    let words: Vec<&str> = kept.flat_map(|piece| piece.words.clone()).collect();
    Ok(words.join(" "))
}

/// A word that optparse may take for one of our options: a shortened one, several in one word.
fn unclear<'a>(piece: &Piece<'a>) -> Option<&'a str> {
    let word = *piece.words.first()?;
    let long = word.split('=').next()?;
    let shortened = long.len() > 2
        && ["--bind", "--port", "--no-ssl", "--interface"]
            .iter()
            .any(|full| full.starts_with(long) && *full != long);
    let bundled = word.starts_with("-f") || word.starts_with("-d");
    let bundled = bundled && word[2..].contains(['b', 'p', 'i']);
    (word == "--" || shortened || bundled).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_moved_and_the_others_kept() {
        let plain = UpstreamConfig::default();
        let tls = UpstreamConfig {
            tls: true,
            ..UpstreamConfig::default()
        };
        let table = [
            ("", &plain, Ok("-b 127.0.0.1 -p 298 --no-ssl")),
            ("-d", &plain, Ok("-d -b 127.0.0.1 -p 298 --no-ssl")),
            (
                "-p 1811 --max-clients 40 -b192.0.2.1 --syslog=yes",
                &plain,
                Ok("--max-clients 40 --syslog=yes -b 127.0.0.1 -p 298 --no-ssl"),
            ),
            ("--no-ssl --port=1", &tls, Ok("-b 127.0.0.1 -p 298")),
            ("--no-mlock", &tls, Ok("--no-mlock -b 127.0.0.1 -p 298")),
            ("-i eth0", &plain, Err("excludes -b")),
            ("--bi 192.0.2.1", &plain, Err("`--bi`")),
            ("--no-s", &plain, Err("`--no-s`")),
            ("-dp 4", &plain, Err("`-dp`")),
            ("-C $HOME/x", &plain, Err("`$`")),
            ("-C '/a b'", &plain, Err("`\\'`")),
            ("-d\r", &plain, Err("`\\r`")),
        ];
        for (text, upstream, expected) in table {
            match (moved(text, upstream), expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found, expected, "{text}");
                    assert!(NodedArgs::parse(&found).fit(upstream), "{text}");
                }
                (Err(why), Err(word)) => assert!(why.contains(word), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
