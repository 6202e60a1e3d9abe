//! Just enough HTTP/1.1 for Ganeti's RPC, on both sides of the proxy.

use std::io::{self, Read, Write};

/// A POST with a JSON body of about `up` bytes, as Ganeti's RPC clients word it.
pub(crate) fn post(path: &str, up: usize) -> Vec<u8> {
    let body = json_string(up);
    let mut out = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:1811\r\nUser-Agent: bench\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len(),
    )
    .into_bytes();
    out.extend(body);
    out
}

/// A 200 as noded words it: one answer, and the connection ends.
pub(crate) fn answer(body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nServer: Ganeti\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len(),
    )
    .into_bytes();
    out.extend(body);
    out
}

/// A JSON string of `size` bytes (at least 2), base64 inside as in a file upload.
pub(crate) fn json_string(size: usize) -> Vec<u8> {
    let text = b"R2FuZXRpIG5vZGUgZGFlbW9uIFJQQyBwYXlsb2FkLCBiYXNlNjQgY29kZWQuIA";
    let inner = text.iter().copied().cycle().take(size.saturating_sub(2));
    std::iter::once(b'"').chain(inner).chain([b'"']).collect()
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: usize,
    /// The server said, or the framing implies, that the connection ends here.
    pub(crate) close: bool,
}

/// Sends one request, reads one response and throws its body away.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    request: &[u8],
    buf: &mut Vec<u8>,
) -> io::Result<Response> {
    stream.write_all(request)?;
    buf.resize(64 * 1024, 0);
    let mut have = 0;
    let head = loop {
        match stream.read(&mut buf[have..])? {
            0 if have == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => return Err(bad("response head cut short or too large")),
            n => have += n,
        }
        if let Some(end) = head_end(&buf[..have]) {
            break end;
        }
    };
    let status = std::str::from_utf8(&buf[..head])
        .ok()
        .and_then(|text| text.get(9..12)?.parse().ok())
        .ok_or_else(|| bad("no status code"))?;
    let closing =
        header(&buf[..head], "connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    let length = content_length(&buf[..head]).ok_or_else(|| bad("no content-length"))?;
    let mut body = have - head;
    while body < length {
        match stream.read(buf)? {
            0 => return Err(bad("closed inside the body")),
            n => body += n,
        }
    }
    Ok(Response {
        status,
        body,
        close: closing || buf.starts_with(b"HTTP/1.0"),
    })
}

/// Where the body starts, once the head is complete.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4)
}

pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.split("\r\n").skip(1);
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
