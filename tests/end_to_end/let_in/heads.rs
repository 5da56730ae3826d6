//! The limit on the size of a request head.

use crate::rig::Rig;

fn filler(kibibytes: usize) -> String {
    "x".repeat(kibibytes << 10)
}

async fn statuses(rig: &Rig, kibibytes: usize) -> [u16; 2] {
    let filler = filler(kibibytes);
    let fields = [("x-filler", filler.as_str())];
    [
        rig.get("/manifests", &fields).await.status.as_u16(),
        rig.get_over_http2("/manifests", &fields)
            .await
            .status
            .as_u16(),
    ]
}

#[tokio::test]
async fn a_head_of_64_kib_is_taken_and_a_larger_one_is_not() {
    let rig = Rig::start("");
    assert_eq!(statuses(&rig, 62).await, [200, 200]);
    assert_eq!(statuses(&rig, 66).await, [431, 431]);
    let endless = filler(300);
    let head = format!("GET /{endless} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let status = crate::rig::raw_status(rig.public, head.as_bytes()).await;
    assert!(matches!(status, Some(414 | 431) | None), "{status:?}");
}

#[tokio::test]
async fn settings_say_how_large_a_head_may_be() {
    let small = Rig::start("[listen]\nrequest_head_kibibytes = 8\n");
    assert_eq!(statuses(&small, 6).await, [200, 200]);
    assert_eq!(statuses(&small, 9).await, [431, 431]);
    let large = Rig::start("[listen]\nrequest_head_kibibytes = 80\n");
    assert_eq!(statuses(&large, 76).await, [200, 200]);
    assert_eq!(statuses(&large, 81).await, [431, 431]);
}
