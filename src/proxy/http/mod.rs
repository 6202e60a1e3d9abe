//! The HTTP edge: what a request must be (D8), and the one form in which we refuse.
//!
//! hyper parses what clients send, behind a [`Gate`] that lets only heads pass which are understood
//! in one way, and its result is checked here. Nothing of the client's own head goes further:
//! `upstream` makes a new one from the procedure name and the length of the body.

mod body;
mod budget;
mod gate;
mod gather;
mod reply;
mod rest;
mod spool;

use bytes::Bytes;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, StatusCode, Uri, Version};

pub use body::Body;
pub use budget::{Budget, Lease};
pub use gate::{Arrival, Arrivals, Framing, Gate, MAX_FIELDS, MOST_READ, Unanswered};
pub use gather::{Bodies, BodyLimits};
pub use reply::{Chunk, Cut, OnEnd, ReplyBody};
pub use rest::Rest;

use rules::authz::Denied;
use rules::named;

/// Longest procedure name that is accepted. The longest of Ganeti's has 32 characters.
const MAX_PROCEDURE: usize = 128;

/// Why the proxy itself answers a request: a fault of the request, of the client, or no room for
/// its body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer may not (or no longer) command noded.
    #[error("{0}")]
    Denied(Denied),
    /// Not POST.
    #[error("the method must be POST")]
    Method,
    /// Not `/PROCEDURE`.
    #[error("the path must be /PROCEDURE, lower-case letters, digits and underscores")]
    Path,
    /// Not a head of HTTP/1.0 or 1.1.
    #[error("the head of the request is malformed: {0}")]
    Head(String),
    /// Longer than 16 KiB, or more than 64 fields.
    #[error("the head of the request has more than 16 KiB or 64 fields")]
    HeadTooLarge,
    /// Not whole within `limits.header_timeout`.
    #[error("the head of the request came too slowly")]
    SlowHead,
    /// It does not say in one way where the body ends.
    #[error("the length of the body is ambiguous: {0}")]
    Framing(&'static str),
    /// HTTP/1.1 without exactly one Host (RFC 9112 section 3.2).
    #[error("an HTTP/1.1 request needs exactly one Host header")]
    Host,
    /// More than `limits.body`.
    #[error("the body has more than {0} bytes")]
    BodyTooLarge(u64),
    /// A byte above 127; noded would wait on such a body for 10 s.
    #[error("the body has bytes outside ASCII; Ganeti escapes them as \\u")]
    NotAscii,
    /// Slower than `limits.body_rate`.
    #[error("the body came too slowly")]
    SlowBody,
    /// The client stopped in the middle, or its chunks are malformed.
    #[error("the body is incomplete: {0}")]
    IncompleteBody(String),
    /// `limits.spool` is used up.
    #[error("no room left for long request bodies (limits.spool)")]
    SpoolFull,
    /// The spool file cannot be made, written or read.
    #[error("a long request body cannot be kept in the state directory: {0}")]
    SpoolFailed(String),
}

// The reason's name, as in the label of `noded_proxy_refused_requests_total`.
named!(Refusal {
    ..Denied(Denied),
    Method = "method",
    Path = "path",
    Head(String::new()) = "malformed_head",
    HeadTooLarge = "head_too_large",
    SlowHead = "slow_head",
    Framing("") = "framing",
    Host = "host",
    BodyTooLarge(0) = "body_too_large",
    NotAscii = "not_ascii",
    SlowBody = "slow_body",
    IncompleteBody(String::new()) = "incomplete_body",
    SpoolFull = "spool_full",
    SpoolFailed(String::new()) = "spool_failed",
});

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Head(_) | Self::Framing(_) => StatusCode::BAD_REQUEST,
            Self::Host | Self::NotAscii | Self::IncompleteBody(_) => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowHead | Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::SpoolFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::SpoolFailed(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// Checks the head of a request, and returns the name of the procedure.
pub fn procedure<'a>(
    method: &Method,
    uri: &'a Uri,
    version: Version,
    headers: &HeaderMap,
) -> Result<&'a str, Refusal> {
    if method != Method::POST {
        return Err(Refusal::Method);
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && version == Version::HTTP_11) {
        return Err(Refusal::Host);
    }
    if uri.scheme().is_some() || uri.authority().is_some() || uri.query().is_some() {
        return Err(Refusal::Path);
    }
    let name = uri.path().strip_prefix('/').ok_or(Refusal::Path)?;
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    let good = (1..=MAX_PROCEDURE).contains(&name.len()) && name.bytes().all(fits);
    if good { Ok(name) } else { Err(Refusal::Path) }
}

/// The body of an answer of our own: `[false, "noded-proxy on HOST: why"]`. Both of Ganeti's
/// clients show this form to their user (`lib/rpc/node.py`, `src/Ganeti/Rpc.hs`).
pub fn explanation(host: &str, why: &str) -> Bytes {
    let text = format!("noded-proxy on {host}: {why}");
    Bytes::from(format!("[false, {}]\n", serde_json::Value::String(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, uri: &str, version: Version, hosts: &[&str]) -> Result<String, Refusal> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        let uri: Uri = uri.parse().unwrap();
        procedure(&method.parse().unwrap(), &uri, version, &headers).map(str::to_owned)
    }

    type Case = (
        &'static str,
        &'static str,
        Version,
        &'static [&'static str],
        Result<&'static str, Refusal>,
    );

    #[test]
    fn the_head_rules_as_a_table() {
        let (h10, h11) = (Version::HTTP_10, Version::HTTP_11);
        let long: &str = Box::leak(format!("/{}", "a".repeat(129)).into());
        let table: [Case; 16] = [
            ("POST", "/version", h11, &["node1:1811"], Ok("version")),
            (
                "POST",
                "/blockdev_getmirrorstatus_multi",
                h10,
                &[],
                Ok("blockdev_getmirrorstatus_multi"),
            ),
            (
                "POST",
                "/x509_cert_create",
                h11,
                &[""],
                Ok("x509_cert_create"),
            ),
            ("PUT", "/version", h11, &["h"], Err(Refusal::Method)),
            ("GET", "/version", h11, &["h"], Err(Refusal::Method)),
            ("post", "/version", h11, &["h"], Err(Refusal::Method)),
            ("POST", "/version", h11, &[], Err(Refusal::Host)),
            ("POST", "/version", h11, &["h", "h"], Err(Refusal::Host)),
            ("POST", "/", h11, &["h"], Err(Refusal::Path)),
            ("POST", "*", h11, &["h"], Err(Refusal::Path)),
            ("POST", "/version?x=1", h11, &["h"], Err(Refusal::Path)),
            ("POST", "//version", h11, &["h"], Err(Refusal::Path)),
            ("POST", "/Version", h11, &["h"], Err(Refusal::Path)),
            ("POST", "/ver%73ion", h11, &["h"], Err(Refusal::Path)),
            ("POST", "http://h/version", h11, &["h"], Err(Refusal::Path)),
            ("POST", long, h11, &["h"], Err(Refusal::Path)),
        ];
        for (method, uri, version, hosts, expected) in table {
            let found = ask(method, uri, version, hosts);
            assert_eq!(found.as_deref(), expected.as_deref(), "{method} {uri}");
        }
    }

    #[test]
    fn explanations_are_json_whatever_the_words() {
        let text = explanation("node1", "a \"quote\", a \n line");
        let read: (bool, String) = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            read,
            (false, "noded-proxy on node1: a \"quote\", a \n line".into())
        );
    }
}
