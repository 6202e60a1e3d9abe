//! Is a head understood in one way, and where does its body end? Pure.

use hyper::Uri;

use super::super::Refusal;

/// Most fields of a head; Ganeti's clients send five.
pub const MAX_FIELDS: usize = 64;

/// How a request says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length, or no body.
    Length(u64),
    /// The gate does not look for the end of the chunks, so this request is the connection's last.
    Chunked,
}

/// Where a head ends that begins here: behind its first empty line.
pub(super) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends.find_map(|(at, _)| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Whether a whole head is understood in one way, and where its body ends. Pure.
pub(super) fn judge(head: &[u8]) -> Result<Framing, Refusal> {
    let bare_lf = |pair: &[u8]| pair[1] == b'\n' && pair[0] != b'\r';
    if head.windows(2).any(bare_lf) {
        return Err(malformed("a line ends with LF alone"));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => {}
        Ok(_) => return Err(malformed("it has no end")),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(error) => return Err(malformed(&error.to_string())),
    }
    let target = request.path.unwrap_or_default();
    if target.contains('#') || target.parse::<Uri>().is_err() {
        return Err(Refusal::Path);
    }
    framing(request.headers, request.version == Some(0))
}

/// RFC 9112 section 6, without the choices that it leaves: one length, said once.
fn framing(fields: &[httparse::Header<'_>], is_http_10: bool) -> Result<Framing, Refusal> {
    let mut values = [Vec::new(), Vec::new()];
    for field in fields {
        let names = ["Content-Length", "Transfer-Encoding"];
        for (name, values) in names.iter().zip(&mut values) {
            if field.name.eq_ignore_ascii_case(name) {
                values.push(field.value);
            }
        }
    }
    let [lengths, codings] = values;
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) => digits(length)
            .map(Framing::Length)
            .ok_or(Refusal::Framing("Content-Length is not a number")),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && !is_http_10 => {
            Ok(Framing::Chunked)
        }
        ([], [_]) if is_http_10 => Err(Refusal::Framing("HTTP/1.0 has no Transfer-Encoding")),
        ([], [_]) => Err(Refusal::Framing("Transfer-Encoding is not chunked")),
        ([_, ..], [_, ..]) => Err(Refusal::Framing(
            "there are Content-Length and Transfer-Encoding",
        )),
        ([_, ..], []) => Err(Refusal::Framing("Content-Length is there twice")),
        ([], _) => Err(Refusal::Framing("Transfer-Encoding is there twice")),
    }
}

/// A number as RFC 9110 section 8.6 writes Content-Length. hyper keeps the two largest for itself.
fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| *number < u64::MAX - 1);
    number.filter(|_| all_digits)
}

fn malformed(why: &str) -> Refusal {
    Refusal::Head(why.into())
}
