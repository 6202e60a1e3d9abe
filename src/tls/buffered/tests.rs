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
async fn a_ping_has_no_first_byte_and_a_client_keeps_its_own() {
    let (mut server, client) = pair().await;
    drop(client);
    assert!(!server.first_byte().await.unwrap());

    let (mut server, mut client) = pair().await;
    client.write_all(b"hello").await.unwrap();
    assert!(server.first_byte().await.unwrap());
    let mut all = Vec::new();
    drop(client);
    server.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"hello");
}

#[tokio::test]
async fn a_stream_that_waits_holds_no_buffer() {
    let (mut server, mut client) = pair().await;
    let mut two = [0; 2];
    for _ in 0..2 {
        client.write_all(b"ab").await.unwrap();
        server.read_exact(&mut two).await.unwrap();
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, server.read(&mut two));
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
