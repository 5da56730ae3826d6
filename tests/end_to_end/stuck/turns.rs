//! Clients take turns at the decoders, and none fills their queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::rig::origin::Origin;
use crate::rig::pixels::{native, study};
use crate::rig::program::{Program, send_signal};
use crate::rig::study::EXPLICIT;
use crate::rig::{open_as, request};

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_client_that_asks_for_many_pictures_keeps_nobody_from_his() {
    const GREEDY: u8 = 2;
    const MODEST: u8 = 3;
    let study = study(&[(EXPLICIT, native(1, 8, &[7; 8]))]);
    let origin = Origin::of(&study).await;
    let settings = format!(
        "[rendering]\nprocesses = 1\nqueue = 40\nseconds = 600\n{}",
        origin.location(10)
    );
    let program = Program::serve(&settings).await;
    let root = program.register("", study.fhir()).await.root;
    let path = format!("{root}{}/rendered", study.instances()[0].path());
    assert_eq!(program.get(&path, &[]).await.status, StatusCode::OK);
    let [decoder] = program.decoders()[..] else {
        panic!("one decoder");
    };
    // Nothing is decoded until all have asked.
    send_signal(decoder, "-STOP");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut asking = JoinSet::new();
    let mut ask = |client: u8, number: u32| {
        let path = format!("{path}?viewport={},8", number + 8);
        let (address, order) = (program.public, Arc::clone(&order));
        asking.spawn(async move {
            let request = request(Method::GET, &path, &[], address, Bytes::new());
            let status = open_as(client, address, request).await.read().await.status;
            order.lock().expect("a list").push((client, status));
        });
    };
    let refused = r#"xcwado_refused_total{bound="decoders"}"#;
    // One is being decoded, half of the queue is its, and the rest is refused.
    (0..31).for_each(|number| ask(GREEDY, number));
    let is_full = async {
        while program.metric(refused).await < 10.0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_full).await.expect("it is refused");
    ask(MODEST, 0);
    let requests = async {
        // Nobody counts those that wait: give it time to be one of them.
        sleep(Duration::from_millis(500)).await;
    };
    requests.await;
    send_signal(decoder, "-CONT");
    let all = async { while asking.join_next().await.is_some() {} };
    timeout(PATIENCE, all).await.expect("all are answered");
    let order = order.lock().expect("a list").clone();
    let decoded: Vec<_> = order.iter().filter(|(_, status)| *status == 200).collect();
    assert_eq!(decoded.len(), 22, "{order:?}");
    let place = decoded.iter().position(|(client, _)| *client == MODEST);
    assert!(place.is_some_and(|place| place < 8), "{order:?}");
    assert_eq!(program.metric(refused).await, 10.0);
}
