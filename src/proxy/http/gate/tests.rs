use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(10);
const START: &str = "POST /version HTTP/1.1\r\nHost: h\r\n";

#[test]
fn what_is_understood_in_one_way_passes() {
    for (fields, expected) in [
        ("", Framing::Length(0)),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:17 \r\n", Framing::Length(17)),
        ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
        (
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            Framing::Length(5),
        ),
    ] {
        let head = format!("{START}{fields}\r\n");
        assert_eq!(judge(head.as_bytes()), Ok(expected), "{fields:?}");
    }
}

#[test]
fn what_two_readers_could_understand_differently_does_not_pass() {
    let (cl, te) = ("Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n");
    let many = "a: b\r\n".repeat(MAX_FIELDS);
    for (fields, reason) in [
        (format!("{cl}{cl}"), "framing"),
        (format!("{cl}{te}"), "framing"),
        (format!("{te}{cl}"), "framing"),
        (format!("{te}{te}"), "framing"),
        ("Content-Length: 2, 2\r\n".into(), "framing"),
        ("Content-Length: +2\r\n".into(), "framing"),
        ("Content-Length:\r\n".into(), "framing"),
        ("Content-Length: 18446744073709551615\r\n".into(), "framing"),
        ("Transfer-Encoding: gzip, chunked\r\n".into(), "framing"),
        ("Transfer-Encoding: chunked;q=1\r\n".into(), "framing"),
        ("a: b\n".into(), "malformed_head"),
        ("Content-Length : 2\r\n".into(), "malformed_head"),
        ("a: b\r\n c\r\n".into(), "malformed_head"),
        ("a: b\0\r\n".into(), "malformed_head"),
        (many, "head_too_large"),
    ] {
        let head = format!("{START}{fields}\r\n");
        let refusal = judge(head.as_bytes()).unwrap_err();
        assert_eq!(
            rules::Named::name(&refusal),
            reason,
            "{fields:?}: {refusal}"
        );
    }
    for (line, reason) in [
        ("POST /version#x HTTP/1.1", "path"),
        ("POST /\u{7f} HTTP/1.1", "malformed_head"),
        ("POST http://[ HTTP/1.1", "path"),
        ("POST /version HTTP/2.0", "malformed_head"),
        ("POST /version", "malformed_head"),
        ("\u{16}\u{3}\u{1}", "malformed_head"),
    ] {
        let head = format!("{line}\r\nHost: h\r\n\r\n");
        let refusal = judge(head.as_bytes()).unwrap_err();
        assert_eq!(rules::Named::name(&refusal), reason, "{line:?}: {refusal}");
    }
    let old = "POST /version HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(matches!(judge(old.as_bytes()), Err(Refusal::Framing(_))));
}

/// Reads all that comes through the gate, in pieces of these sizes.
fn through(sent: &[u8], pieces: usize, reads: usize) -> (Vec<u8>, Vec<Result<Framing, Refusal>>) {
    let (mut gate, arrivals) = Gate::new(Pieces(sent, pieces), LIMIT);
    let mut passed = Vec::new();
    let mut buffer = vec![0; reads];
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let all = async {
            while let Ok(count @ 1..) = gate.read(&mut buffer).await {
                passed.extend_from_slice(&buffer[..count]);
            }
        };
        let _ = timeout(Duration::from_secs(1), all).await;
    });
    let verdicts = arrivals.lock().verdicts.drain(..).collect();
    (passed, verdicts)
}

/// Hands out at most so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let some = self.1.min(self.0.len()).min(out.remaining());
        let (now, later) = self.0.split_at(some);
        out.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

proptest! {
    #[test]
    fn good_requests_pass_unchanged_however_they_are_cut(
        bodies in prop::collection::vec(0..300_usize, 1..5),
        pieces in 1..400_usize,
        reads in 1..400_usize,
    ) {
        let mut sent = Vec::new();
        for body in &bodies {
            sent.extend_from_slice(format!("{START}Content-Length: {body}\r\n\r\n").as_bytes());
            sent.extend(std::iter::repeat_n(b'\n', *body));
        }
        let (passed, verdicts) = through(&sent, pieces, reads);
        prop_assert!(passed == sent);
        let expected: Vec<_> = bodies.iter().map(|n| Ok(Framing::Length(*n as u64))).collect();
        prop_assert_eq!(verdicts, expected);
    }

    #[test]
    fn behind_a_refused_head_no_other_one_is_read(pieces in 1..400_usize) {
        let bad = format!("{START}Content-Length: 2\r\nContent-Length: 2\r\n\r\n");
        let good = format!("{START}\r\n");
        let (passed, verdicts) = through(format!("{good}{bad}{good}").as_bytes(), pieces, 999);
        let twice = Refusal::Framing("Content-Length is there twice");
        prop_assert_eq!(verdicts, [Ok(Framing::Length(0)), Err(twice)]);
        let expected = [good.as_bytes(), STAND_IN, good.as_bytes()].concat();
        prop_assert!(passed == expected);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), pieces in 1..50_usize) {
        let _ = through(&bytes, pieces, 64);
        let _ = judge(&bytes);
    }
}

/// TLS gives one record at a time, and hyper is to get many at once.
#[tokio::test]
async fn a_body_is_read_as_far_as_there_is_room() {
    let head = format!("{START}Content-Length: 900\r\n\r\n");
    let sent = [head.as_bytes(), &[b'x'; 900], head.as_bytes()].concat();
    let (mut gate, _arrivals) = Gate::new(Pieces(&sent, head.len()), LIMIT);
    let mut buffer = vec![0; 600];
    assert_eq!(gate.read(&mut buffer).await.unwrap(), head.len());
    assert_eq!(gate.read(&mut buffer).await.unwrap(), 600);
    assert_eq!(
        gate.read(&mut buffer).await.unwrap(),
        300,
        "no byte of the next head"
    );
    assert_eq!(gate.read(&mut buffer).await.unwrap(), head.len());
}

/// What has come is handed on before it is said that no more comes, or not yet.
#[tokio::test]
async fn nothing_is_lost_before_a_pause_or_a_break() {
    let head = format!("{START}Content-Length: 9\r\n\r\n");
    let pieces = [head.as_bytes(), b"abc", PAUSE, b"de", b"f"];
    let stream = ThenReset(pieces.into());
    let (mut gate, _arrivals) = Gate::new(stream, LIMIT);
    let mut buffer = vec![0; 600];
    for piece in [&head, "abc", "def"] {
        let count = gate.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], piece.as_bytes());
    }
    let error = gate.read(&mut buffer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Gives these pieces, and says once that the peer has broken the connection off.
struct ThenReset<'a>(VecDeque<&'a [u8]>);

/// Nothing is there yet.
const PAUSE: &[u8] = b"";

impl AsyncRead for ThenReset<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            Some(PAUSE) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(piece) => out.put_slice(piece),
            None => {
                self.0.push_back(b"after the end");
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn the_end_is_kept_back_until_the_answer() {
    let sent = "POST /version HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]";
    let (mut gate, arrivals) = Gate::new(Pieces(sent.as_bytes(), 999), LIMIT);
    let mut buffer = vec![0; 999];
    let mut read = 0;
    while read < sent.len() {
        read += gate.read(&mut buffer).await.unwrap();
    }
    let arrival = arrivals.next();
    assert_eq!(arrival.verdict, Ok(Framing::Length(2)));
    let end = tokio::spawn(async move { gate.read(&mut [0; 9]).await.unwrap() });
    tokio::task::yield_now().await;
    assert!(!end.is_finished());
    drop(arrival);
    assert_eq!(end.await.unwrap(), 0);
}

/// A client may take its reply slowly, and hyper would break off when it sees the end.
#[tokio::test(start_paused = true)]
async fn the_end_is_kept_back_until_the_answer_has_gone_out() {
    let head = b"POST /version HTTP/1.1\r\nHost: h\r\n\r\n";
    let (gate, arrivals) = Gate::new(tokio::io::join(&head[..], tokio::io::sink()), LIMIT);
    let (mut from_client, mut to_client) = tokio::io::split(gate);
    from_client
        .read_exact(&mut vec![0; head.len()])
        .await
        .unwrap();
    to_client.write_all(b"an answer").await.unwrap();
    drop(arrivals.next());
    let end = tokio::spawn(async move { from_client.read(&mut [0; 9]).await.unwrap() });
    tokio::task::yield_now().await;
    assert!(!end.is_finished());
    to_client.flush().await.unwrap();
    assert_eq!(timeout(LIMIT, end).await.unwrap().unwrap(), 0);
}

#[test]
fn a_head_without_end_is_refused() {
    let endless = format!("{START}a: {}", "b".repeat(MAX_HEAD));
    let (passed, verdicts) = through(endless.as_bytes(), 1000, 1000);
    assert!(passed.starts_with(STAND_IN));
    assert_eq!(verdicts, [Err(Refusal::HeadTooLarge)]);
}

#[test]
fn half_a_head_is_refused_and_empty_lines_are_skipped() {
    let (passed, verdicts) = through(b"\r\n\r\nPOST /ver", 3, 5);
    assert!(passed == [STAND_IN, b"POST /ver"].concat());
    assert_eq!(
        verdicts,
        [Err(Refusal::Head("it ends in the middle".into()))]
    );
    assert_eq!(through(b"\r\n\r\n", 3, 5), (vec![], vec![]));
}

/// A sender that never pauses is never asked for the time.
#[test]
fn empty_lines_without_end_are_refused() {
    let after = |lines: usize| {
        let all = "\r\n".repeat(lines) + START + "\r\n" + &"\r\n".repeat(lines) + START + "\r\n";
        through(all.as_bytes(), 7, 1000).1
    };
    let few = after(MOST_EMPTY / 2);
    assert!(few.len() == 2 && few.iter().all(Result::is_ok), "{few:?}");
    let refused = Err(Refusal::Head("too many empty lines before it".into()));
    assert_eq!(after(MOST_EMPTY), [refused]);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_the_answer_on() {
    let head = format!("{START}\r\n");
    let (mut client, server) = tokio::io::duplex(999);
    let (mut gate, arrivals) = Gate::new(server, LIMIT);
    let begun = Instant::now();
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(gate.read(&mut [0; 999]).await.unwrap(), head.len());
    let arrival = arrivals.next();
    let reading = tokio::spawn(async move {
        let mut all = vec![0; 999];
        let count = gate.read(&mut all).await.unwrap();
        (all[..count].to_vec(), gate)
    });
    sleep(3 * LIMIT).await;
    assert!(!reading.is_finished(), "noded works");
    drop(arrival);
    sleep(LIMIT / 2).await;
    client.write_all(b"POST /v").await.unwrap();
    let (passed, mut gate) = reading.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), (4 * LIMIT).as_secs());
    assert!(passed == [STAND_IN, b"POST /v"].concat());
    assert_eq!(arrivals.next().verdict, Err(Refusal::SlowHead));
    drop(client);
    assert_eq!(gate.read(&mut [0; 9]).await.unwrap(), 0);

    let (_idle, server) = tokio::io::duplex(999);
    let (mut gate, _) = Gate::new(server, LIMIT);
    let begun = Instant::now();
    assert_eq!(gate.read(&mut [0; 9]).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
}

#[tokio::test]
async fn a_head_and_the_start_of_its_body_are_one_record() {
    for (lengths, expected) in [
        (&[0, 0][..], 0),
        (&[7], 7),
        (&[150, 0, 300], 450),
        (&[150, RECORD], RECORD),
        (&[0, RECORD + 1, 9], RECORD + 1),
        (&[RECORD - 1, 5, 5], RECORD),
    ] {
        let pieces: Vec<Vec<u8>> = lengths.iter().map(|length| vec![b'a'; *length]).collect();
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let (_client, server) = tokio::io::duplex(2 * RECORD);
        let (mut gate, _) = Gate::new(server, LIMIT);
        let written = gate.write_vectored(&pieces).await.unwrap();
        assert_eq!(written, expected, "{lengths:?}");
    }
}
