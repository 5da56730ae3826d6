//! Lists of manifests and whole documents about them are paged and written while they are read, so
//! that neither their number nor their size is buffered for each client.

use std::collections::HashSet;
use std::fs;

use http::StatusCode;
use serde_json::{Value, json};

use crate::rig::program::Program;
use crate::rig::study::{Study, at};
use crate::rig::{Answer, Rig, Stream};

/// A manifest of its own, however many there are.
fn manifest(number: u32) -> Vec<u8> {
    Study::new(number).with(1, at(10)).fhir()
}

fn ids(list: &Value) -> Vec<String> {
    let listed = list["manifests"].as_array().expect("a list").iter();
    let ids = listed.map(|one| one["id"].as_str().expect("an id").to_owned());
    ids.collect()
}

/// The path of the next page (RFC 8288), if there is one.
fn next(rig: &Rig, answer: &Answer) -> Option<String> {
    let link = answer.field("link");
    let url = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    assert_eq!(answer.json()["next"], url);
    let path = url.strip_prefix(&format!("http://{}", rig.public));
    Some(path.expect("an address of ours").to_owned())
}

#[tokio::test]
async fn pages_stay_right_while_manifests_come_and_go() {
    let rig = Rig::start("");
    let mut registered = Vec::new();
    for number in 0..12 {
        registered.push(rig.register(manifest(number)).await.id);
    }
    // Newest first.
    registered.reverse();
    let mut seen = Vec::new();
    let mut path = "/manifests?limit=5".to_owned();
    for page in 0..3 {
        let answer = rig.get(&path, &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        let head = rig.head(&path, &[]).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.field("link"), answer.field("link"));
        seen.extend(ids(&answer.json()));
        // One that was seen, the one that the next page would begin with, and a new one.
        let last = seen.len() - 1;
        rig.delete(&format!("/manifests/{}", seen[last])).await;
        rig.register(manifest(100 + page)).await;
        match next(&rig, &answer) {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(seen, registered);
    for path in ["/manifests?limit=x", "/manifests?before=-1"] {
        let answer = rig.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        answer.problem();
    }
    let none = rig.get("/manifests?limit=0", &[]).await;
    assert_eq!(ids(&none.json()).len(), 0);
    assert!(next(&rig, &none).is_none());
}

#[tokio::test]
async fn a_long_list_is_written_while_it_is_read() {
    let rig = Rig::start("");
    let mut registered = HashSet::new();
    for number in 0..400 {
        registered.insert(rig.register(manifest(number)).await.id);
    }
    let answer = rig.get("/manifests", &[]).await;
    let listed: HashSet<String> = ids(&answer.json()).into_iter().collect();
    assert_eq!(listed, registered);
    assert!(answer.body.len() > 100_000);
    // Its length is not known before all of it was written.
    assert_eq!(answer.field("content-length"), "");
    let short = rig.get("/manifests?limit=3", &[]).await;
    assert_eq!(short.field("content-length"), short.body.len().to_string());
}

/// A Bundle of one series with so many instances.
fn large(instances: usize) -> Vec<u8> {
    let instances: Vec<Value> = (0..instances)
        .map(|number| {
            let uid = format!("2.25.300.1.1000000000000000000000000{number}");
            json!({ "uid": uid, "number": number, "sopClass": {
                "system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2" } })
        })
        .collect();
    let document = json!({ "resourceType": "Bundle", "type": "collection", "entry": [
        { "fullUrl": "urn:uuid:study", "resource": {
            "resourceType": "ImagingStudy", "status": "available",
            "identifier": [{ "system": "urn:dicom:uid", "value": "urn:oid:2.25.300" }],
            "series": [{ "uid": "2.25.300.1", "modality": { "code": "CT" }, "instance": instances }],
        }}
    ]});
    document.to_string().into_bytes()
}

/// The memory of a process in KiB.
fn memory(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    kibibytes.expect("a number").parse().expect("a number")
}

#[tokio::test]
async fn clients_that_do_not_read_hold_a_chunk_and_not_a_document() {
    const INSTANCES: usize = 60_000;
    const CLIENTS: usize = 16;
    let program = Program::serve("").await;
    let registered = program.register("", large(INSTANCES)).await;
    // With at least so many bytes for each instance.
    for (path, each) in [
        (format!("/manifests/{}?instances=true", registered.id), 40),
        (
            format!("/manifests/{}/viewers/weasis.xml", registered.id),
            100,
        ),
        (
            format!("{}studies/2.25.300/instances", registered.root),
            400,
        ),
    ] {
        let mut held: Vec<Stream> = Vec::new();
        let open = async |held: &mut Vec<Stream>| {
            let mut answer = program.open(&path, &[]).await;
            assert_eq!(answer.status, StatusCode::OK);
            answer.read_at_least(1000).await;
            held.push(answer);
        };
        open(&mut held).await;
        let before = memory(program.process());
        for _ in 0..CLIENTS {
            open(&mut held).await;
        }
        let grown = memory(program.process()).saturating_sub(before);
        let whole = CLIENTS * INSTANCES * each / 1024;
        // Beside a chunk each connection has its buffers.
        assert!(
            grown < whole / 3,
            "{path}: {grown} KiB, whole documents: {whole} KiB"
        );
    }
    let path = format!("/manifests/{}?instances=true", registered.id);
    let whole = program.get(&path, &[]).await.json();
    let listed = &whole["studies"][0]["series"][0]["sop_instance_uids"];
    assert_eq!(listed.as_array().map(Vec::len), Some(INSTANCES));
}

#[tokio::test]
async fn manifests_that_are_handed_out_take_their_size_from_the_budget() {
    const CLIENTS: usize = 16;
    let rig = Rig::start("[limits]\nmemory = \"256 MiB\"\nmemory_wait_seconds = 1\n");
    let registered = rig.register(large(60_000)).await;
    let path = format!("/manifests/{}", registered.id);
    let accept = ("accept", "application/fhir+json");
    let length = rig.get(&path, &[accept]).await.body.len();
    let mut held = Vec::new();
    for _ in 0..CLIENTS {
        held.push(rig.open(&path, &[accept]).await);
    }
    let refused = |answer: &&Stream| answer.status == StatusCode::SERVICE_UNAVAILABLE;
    let refused = held.iter().filter(refused).count();
    let given = held
        .iter()
        .filter(|one| one.status == StatusCode::OK)
        .count();
    assert_eq!(given + refused, CLIENTS);
    assert!(
        given >= 2 && refused >= 1,
        "{given} given, {refused} refused"
    );
    assert!(given * length <= 128 << 20, "{given} of {length} bytes");
    // What was read, or given up, is there for others.
    drop(held);
    for _ in 0..50 {
        let again = rig.get(&path, &[accept]).await;
        if again.status == StatusCode::OK {
            assert_eq!(again.body.len(), length);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("the memory is not given back");
}
