use super::*;
use std::mem::MaybeUninit;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime;

async fn pair() -> (Buffered, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    (Buffered::new(server.unwrap().0), client.unwrap())
}

#[tokio::test]
async fn a_ping_has_no_first_message_and_a_client_keeps_its_own() {
    let (mut server, client) = pair().await;
    drop(client);
    assert!(!server.first_message().await.unwrap());

    let (mut server, mut client) = pair().await;
    client.write_all(b"hello").await.unwrap();
    assert!(server.first_message().await.unwrap());
    let mut all = Vec::new();
    drop(client);
    server.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"hello");
}

#[test]
fn what_is_a_message_that_has_begun_as_a_table() {
    let record = |length: u16, sent: usize| {
        let mut bytes = vec![22, 3, 1];
        bytes.extend(length.to_be_bytes());
        bytes.resize(sent, 0);
        bytes
    };
    let table = [
        (record(100, 0), false),
        (record(100, 1), true),
        (record(100, 4), true),
        (record(100, 5), true),
        (record(100, 104), true),
        (record(100, 105), false),
        (record(100, 200), false),
        (record(4091, 4095), true),
        (record(4092, 4095), false), // longer than what is read at first
        (b"G".to_vec(), false),
        (b"GET / HTTP/1.1".to_vec(), false),
    ];
    for (bytes, expected) in table {
        assert_eq!(is_begun(&bytes), expected, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_first_message_is_waited_for_until_it_is_whole() {
    let (mut server, mut client) = pair().await;
    let message = [&[22, 3, 1, 0, 200][..], &[7; 200]].concat();
    for byte in &message[..204] {
        client.write_all(&[*byte]).await.unwrap();
        let waiting = tokio::time::timeout(Duration::ZERO, server.first_message());
        assert!(waiting.await.is_err());
    }
    assert_eq!(
        server.ahead.capacity(),
        204,
        "it holds no more than what has come"
    );
    client.write_all(&message[204..]).await.unwrap();
    assert!(server.first_message().await.unwrap());
    assert_eq!(server.ahead(), message);

    let (mut server, mut client) = pair().await;
    client.write_all(&message[..9]).await.unwrap();
    drop(client);
    assert!(
        server.first_message().await.unwrap(),
        "the handshake finds that it has left"
    );
}

#[tokio::test]
async fn a_stream_that_waits_holds_no_buffer() {
    let (mut server, mut client) = pair().await;
    let mut two = [0; 2];
    for _ in 0..2 {
        client.write_all(b"ab").await.unwrap();
        server.read_exact(&mut two).await.unwrap();
        let waiting = tokio::time::timeout(Duration::ZERO, server.read(&mut two));
        assert!(waiting.await.is_err());
        assert_eq!(server.ahead.capacity(), 0);
    }
}

/// Bytes that can be read without waiting: on loopback, all that were sent.
fn arrived(client: &TcpStream) -> usize {
    let mut buffer = vec![MaybeUninit::uninit(); 1 << 20];
    SockRef::from(client).peek(&mut buffer).unwrap_or(0)
}

#[tokio::test]
async fn long_writings_wait_for_the_flush_and_for_no_more_than_some_records() {
    let (mut server, client) = pair().await;
    let record = vec![7; 16 << 10];
    server.write_all(&record).await.unwrap();
    assert_eq!(arrived(&client), record.len(), "not before it is told to");

    let (mut server, client) = pair().await;
    server.gather();
    server.write_all(&record).await.unwrap();
    server.write_all(b"short").await.unwrap();
    assert_eq!(arrived(&client), 0);
    server.flush().await.unwrap();
    assert_eq!(arrived(&client), record.len() + 5);
    assert_eq!(server.gathered.capacity(), 0, "no buffer is held");

    let (mut server, client) = pair().await;
    server.gather();
    server.write_all(b"short").await.unwrap();
    assert_eq!(arrived(&client), 5, "nothing waits in front of it");
    for _ in 0..5 {
        server.write_all(&record).await.unwrap();
    }
    assert_eq!(arrived(&client), 5 + 4 * record.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn bytes_come_out_as_they_went_in(
        pieces in prop::collection::vec(1..100_000_usize, 1..8),
        reads in prop::collection::vec(prop_oneof![1..40_usize, 1..70_000_usize], 1..8),
    ) {
        let total: usize = pieces.iter().sum();
        let sent: Vec<u8> = (0..total).map(|i| (i * 31 % 251) as u8).collect();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let received = runtime.block_on(async {
            let (mut server, client) = pair().await;
            let mut client = Buffered::new(client);
            client.gather();
            let writing = async {
                let mut rest = &sent[..];
                for piece in pieces {
                    let (now, later) = rest.split_at(piece);
                    client.write_all(now).await.unwrap();
                    rest = later;
                }
                client.shutdown().await.unwrap();
            };
            let reading = async {
                let mut received = Vec::new();
                for size in reads.iter().cycle() {
                    let mut some = vec![0; *size];
                    match server.read(&mut some).await.unwrap() {
                        0 => break,
                        n => received.extend_from_slice(&some[..n]),
                    }
                }
                received
            };
            tokio::join!(writing, reading).1
        });
        prop_assert!(received == sent);
    }
}
