//! Whether the time of an answer tells that there is something.

use std::time::Instant;

use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::access::tokens::Issuer;
use crate::rig::origin::Origin;
use crate::rig::study::{Study, at};
use crate::rig::{Registered, Rig, request};

/// Requests of each kind.
const EACH: usize = 1000;
/// Runs: a machine with other work is no oracle, so the difference must be there each time.
const RUNS: usize = 4;

/// Seconds of each of the requests for two paths, in turns over one connection.
async fn seconds(rig: &Rig, field: &str, paths: [&str; 2]) -> [Vec<f64>; 2] {
    let socket = TcpStream::connect(rig.public).await.expect("a connection");
    socket.set_nodelay(true).expect("set");
    let (mut sender, connection) = handshake(TokioIo::new(socket)).await.expect("HTTP");
    tokio::spawn(connection);
    let mut all = [Vec::new(), Vec::new()];
    for turn in 0..2 * EACH {
        // Neither is always the first after a pause.
        let which = (turn + turn / 2) % 2;
        let began = Instant::now();
        refused(rig, &mut sender, field, paths[which]).await;
        all[which].push(began.elapsed().as_secs_f64());
    }
    all
}

async fn refused(rig: &Rig, sender: &mut SendRequest<Full<bytes::Bytes>>, field: &str, path: &str) {
    let fields = [("authorization", field), ("accept", "*/*")];
    let request = request(Method::GET, path, &fields, rig.public, bytes::Bytes::new());
    sender.ready().await.expect("open");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), 404);
    answer.into_body().collect().await.expect("a body");
}

/// How much longer the second list's typical value is than the first one's.
fn difference(all: [Vec<f64>; 2]) -> f64 {
    let [one, other] = all.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        // The quicker half has less of the machine's other work in it.
        seconds[..EACH / 2].iter().sum::<f64>()
    });
    other / one - 1.0
}

#[tokio::test]
async fn how_long_a_refusal_takes_does_not_tell_what_exists() {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let issuer = Issuer::new();
    let rules = "[[rule]]\ntransactions = [\"register\", \"search\", \"retrieve\", \"list\"]\n\
                 [[rule]]\ntransactions = [\"search\", \"retrieve\"]\nmanifests = \"patient\"\n";
    let settings = format!("{}{rules}{}", origin.location(10), issuer.settings());
    let rig = Rig::start(&settings);
    let owner = format!("Bearer {}", issuer.token("anna", json!({})));
    let fields = [("authorization", owner.as_str())];
    let registered = Registered::of(&rig.post("/manifests", &fields, study.fhir()).await);
    // It is in memory, and its instances are here.
    for path in [
        registered.root.clone(),
        format!("{}{}", registered.root, study.path()),
    ] {
        let all = [("authorization", owner.as_str()), ("accept", "*/*")];
        assert_eq!(rig.get(&path, &all).await.status, 200);
    }
    let patient = json!({ "person_id": "X^^^&1.2.99&ISO" });
    let stranger = format!("Bearer {}", issuer.token("carl", patient));
    let unknown = "0".repeat(32);
    let of_manifest =
        |below: &str| [&unknown, &registered.id].map(|id| format!("/manifests/{id}{below}"));
    let of_study = [Study::new(2).path(), study.path()].map(|path| format!("/dicomweb/{path}"));
    for paths in [of_manifest(""), of_manifest("/dicomweb/studies"), of_study] {
        let paths = [paths[0].as_str(), paths[1].as_str()];
        let mut differences = Vec::new();
        for _ in 0..RUNS {
            differences.push(difference(seconds(&rig, &stranger, paths).await));
            if differences.iter().any(|one| one.abs() < 0.05) {
                break;
            }
        }
        let is_noise = differences.iter().any(|one| one.abs() < 0.05);
        assert!(is_noise, "{paths:?}: {differences:?}");
    }
}
