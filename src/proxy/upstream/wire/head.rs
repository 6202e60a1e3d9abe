//! The two heads: a request's, which we write, and an answer's, which we parse. Pure.

use bytes::{Buf, Bytes, BytesMut};
use hyper::StatusCode;

use crate::proxy::upstream::error::Error;
use crate::proxy::upstream::server::Server;

/// Longest head of an answer, in bytes; noded's have 150.
const MAX_HEAD: usize = 16 << 10;
/// Header fields of an answer; noded sends five.
const MAX_FIELDS: usize = 64;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status.
    pub(crate) status: StatusCode,
    /// Length of the body, in bytes.
    pub(crate) length: u64,
    /// Who answered.
    pub(crate) server: Server,
}

impl Head {
    fn of(status: StatusCode, length: u64) -> Self {
        let server = Server::default();
        Self {
            status,
            length,
            server,
        }
    }
}

/// The head of a request, with no more fields than noded needs.
pub(crate) fn request(procedure: &str, host: &str, agent: &str, length: u64) -> Bytes {
    format!(
        "POST /{procedure} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    .into()
}

/// Takes the head off the buffer, and before it any interim answers (RFC 9110, 15.2); `None` while
/// the head is not complete.
pub(super) fn final_head(received: &mut BytesMut) -> Result<Option<Head>, Error> {
    while let Some((head, end)) = parse(received)? {
        received.advance(end);
        if !head.status.is_informational() {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// The head at the beginning of these bytes, and where it ends; `None` while it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let end = match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(bad("its head is too long")),
        Err(error) => return Err(bad(&error.to_string())),
    };
    let code = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = code.ok_or_else(|| bad("it has no status"))?;
    if status.is_informational() {
        return Ok(Some((Head::of(status, 0), end)));
    }
    let (mut length, mut server) = (None, Server::default());
    for field in response.headers {
        if field.name.eq_ignore_ascii_case("Transfer-Encoding") {
            return Err(bad("it has no Content-Length, but Transfer-Encoding"));
        }
        if field.name.eq_ignore_ascii_case("Server") {
            server = server.and(field.value);
        }
        if field.name.eq_ignore_ascii_case("Content-Length") {
            let this =
                digits(field.value).ok_or_else(|| bad("its Content-Length is not a number"))?;
            if length.is_some_and(|length| length != this) {
                return Err(bad("it has two different Content-Length"));
            }
            length = Some(this);
        }
    }
    match length {
        Some(length) => {
            let head = Head::of(status, length);
            Ok(Some((Head { server, ..head }, end)))
        }
        None => Err(bad("it has no Content-Length")),
    }
}

/// A number as RFC 9110, 8.6 writes Content-Length: digits and nothing else.
fn digits(value: &[u8]) -> Option<u64> {
    let all_digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| all_digits)?;
    text.parse().ok()
}

fn bad(why: &str) -> Error {
    Error::BadReply(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(status: u16, length: u64) -> Head {
        Head::of(StatusCode::from_u16(status).unwrap(), length)
    }

    #[test]
    fn heads_as_noded_sends_them() {
        let text = "HTTP/1.1 200 OK\r\nDate: Sun, 01 Mar 2026 00:00:00 GMT\r\nServer: Ganeti 3.0.2\r\n\
                    Connection: close\r\nContent-Length: 22\r\nContent-Type: application/json\r\n\r\n";
        let whole = format!("{text}[true, [40, 0, 0]]");
        let end = text.len();
        let (found, at) = parse(whole.as_bytes()).unwrap().unwrap();
        assert_eq!((found.status.as_u16(), found.length, at), (200, 22, end));
        assert_eq!(found.server, Server::Processes);
        for cut in 0..end {
            assert_eq!(parse(&whole.as_bytes()[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn odd_heads() {
        let table = [
            (
                "HTTP/1.0 500 Oops\r\ncontent-length: 0\r\n\r\n",
                Some(head(500, 0)),
            ),
            (
                "HTTP/1.1 200\r\nContent-Length:7\r\n\r\n",
                Some(head(200, 7)),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n",
                Some(head(200, 7)),
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n", Some(head(100, 0))),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n",
                None,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: +7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", None),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
                None,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
                None,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length : 7\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
            ("HTTP/1.1 20 OK\r\nContent-Length: 7\r\n\r\n", None),
            ("SSH-2.0-OpenSSH_9.2\r\n", None),
        ];
        for (text, expected) in table {
            let found = parse(text.as_bytes());
            match expected {
                Some(head) => assert_eq!(found, Ok(Some((head, text.len()))), "{text:?}"),
                None => assert!(
                    matches!(found, Err(Error::BadReply(_))),
                    "{text:?}: {found:?}"
                ),
            }
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut text = String::from("HTTP/1.1 200 OK\r\nX: ");
        text.push_str(&"y".repeat(MAX_HEAD));
        assert!(matches!(parse(text.as_bytes()), Err(Error::BadReply(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_the_end_is_inside(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let with_start = [&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"[..], &bytes].concat();
            for bytes in [&bytes, &with_start] {
                if let Ok(Some((_, end))) = parse(bytes) {
                    prop_assert!(end <= bytes.len());
                }
            }
        }
    }
}
