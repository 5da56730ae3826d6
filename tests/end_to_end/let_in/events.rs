//! Security events, and no other log lines, contain the address of the client.

use serde_json::Value;

use crate::rig::program::Program;
use crate::rig::{open, raw_status, request};

#[tokio::test]
async fn a_security_event_carries_the_address_of_the_peer() {
    let mut program = Program::serve("").await;
    let foreign = b"GET /manifests HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(raw_status(program.public, foreign).await, Some(421));
    let is_event =
        |line: &Value| line["target"] == "xcwado::security" && line["event"] == "foreign_host";
    let event = program.said(is_event).await;
    assert_eq!(event["address"], "127.0.0.1");

    let asked = request(
        http::Method::GET,
        "/metrics",
        &[],
        program.operator,
        bytes::Bytes::new(),
    );
    let metrics = open(program.operator, asked).await.read().await.text();
    assert!(metrics.contains("event=\"foreign_host\""), "{metrics}");
    assert!(!metrics.contains("127.0.0.1"), "{metrics}");
    // A trusted proxy says where the client is.
    let mut behind = Program::serve("proxies = [\"127.0.0.1\"]\n").await;
    let forwarded =
        b"GET /manifests HTTP/1.1\r\nHost: evil.example\r\nForwarded: for=203.0.113.9\r\n\r\n";
    assert_eq!(raw_status(behind.public, forwarded).await, Some(421));
    let event = behind.said(is_event).await;
    assert_eq!(
        (&event["address"], &event["client"]),
        (&"127.0.0.1".into(), &"203.0.113.9".into())
    );

    let others = program
        .log()
        .into_iter()
        .filter(|line| line["target"] != "xcwado::security" && line["message"] != "listening");
    for line in others {
        assert!(!line.to_string().contains("127.0.0.1"), "{line}");
    }
}
