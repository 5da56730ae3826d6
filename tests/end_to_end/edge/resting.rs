//! A connection without a request gives its buffers back, and serves on as if it had not.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::rig::Rig;

const REQUEST: &[u8] = b"GET /manifests HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Long enough for a connection to rest.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads responses until this many have come; each is an empty list.
async fn responses(client: &mut TcpStream, count: usize) {
    let mut read = String::new();
    while read.matches("\"next\":null}").count() < count {
        let mut chunk = [0; 4096];
        let length = client.read(&mut chunk).await.expect("a response");
        assert!(length > 0, "it was closed after {read:?}");
        read += std::str::from_utf8(&chunk[..length]).expect("text");
    }
    assert_eq!(read.matches("HTTP/1.1 200 OK").count(), count, "{read}");
}

#[tokio::test]
async fn requests_are_answered_however_they_are_cut_and_whatever_the_pause() {
    let rig = Rig::start("");
    for cut in [0, 1, 3, 20, REQUEST.len() - 1] {
        let mut client = TcpStream::connect(rig.public).await.expect("a connection");
        for _ in 0..2 {
            // A request, and the beginning of the next one in the same segment.
            let more = [REQUEST, &REQUEST[..cut]].concat();
            client.write_all(&more).await.expect("sent");
            responses(&mut client, 1).await;
            sleep(PAUSE).await;
            client.write_all(&REQUEST[cut..]).await.expect("sent");
            responses(&mut client, 1).await;
            sleep(PAUSE).await;
        }
    }
}

#[tokio::test]
async fn several_requests_at_once_are_all_answered_after_a_rest() {
    let rig = Rig::start("");
    let mut client = TcpStream::connect(rig.public).await.expect("a connection");
    for count in [1, 5, 2] {
        client
            .write_all(&REQUEST.repeat(count))
            .await
            .expect("sent");
        responses(&mut client, count).await;
        sleep(PAUSE).await;
    }
}
