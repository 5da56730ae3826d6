//! A source that damages its answers in many ways: a client gets exact bytes or a visible failure,
//! and the gateway caches no wrong bytes and leaks nothing.

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use tokio::time::{sleep, timeout};

use crate::rig::origin::{
    Asked, BOUNDARY, End, Framing, Origin, Reply, Step, honest, join, multipart_type,
};
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Instance, Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, Rig, sorted};

const LONG: Duration = Duration::from_secs(60);

/// Damage to a good answer. The number counts the requests for it.
type Damage = Box<dyn Fn(&[Instance], &Asked, usize) -> Reply + Send + Sync>;

fn to_reply(damage: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Damage {
    Box::new(move |held, asked, _| damage(honest(held, asked)))
}

fn to_instances(damage: impl Fn(&mut Vec<Instance>) + Send + Sync + 'static) -> Damage {
    Box::new(move |held, asked, _| {
        let mut held = held.to_vec();
        held.retain(|instance| asked.path.contains(&instance.study));
        damage(&mut held);
        Reply::multipart(&held)
    })
}

fn instead(reply: Reply) -> Damage {
    Box::new(move |_, _, _| reply.clone())
}

/// Cuts all over an answer of three instances: in its boundaries, in the heads of parts, in instances,
/// and in its last line.
fn cuts() -> Vec<Damage> {
    let body = honest_body();
    let boundaries = positions(&body, BOUNDARY.as_bytes());
    let heads = positions(&body, b"\r\n\r\n");
    let mut places = vec![0, 1, 2, body.len() - 1, body.len() - 3, body.len() - 5];
    for boundary in boundaries {
        places.extend([boundary, boundary + 5, boundary + BOUNDARY.len()]);
        places.push(boundary + BOUNDARY.len() + 1);
    }
    for head in heads {
        places.extend([head - 10, head + 1, head + 4, head + 200, head + 1500]);
    }
    let cut = |(at, place): (usize, usize)| {
        let end = [End::Close, End::Reset, End::Well][at % 3];
        let framing = [Framing::Chunked, Framing::Length][at % 2];
        to_reply(move |reply| reply.framed(framing).cut(place).ending(end))
    };
    places.into_iter().enumerate().map(cut).collect()
}

fn honest_body() -> Bytes {
    let held = study(1).instances();
    Reply::multipart(&held).whole_body()
}

fn positions(body: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = body.windows(wanted.len()).enumerate();
    windows
        .filter(|(_, w)| *w == wanted)
        .map(|(at, _)| at)
        .collect()
}

fn lies() -> Vec<Damage> {
    let other = Study::new(900_000).with(1, at(10)).instances();
    let stranger = other[0].clone();
    let tiny = Bytes::from_static(b"x");
    vec![
        to_reply(|reply| reply.with_type(&multipart_type("another"))),
        to_reply(|reply| reply.with_type("multipart/related; type=\"application/dicom\"")),
        to_reply(|reply| reply.with_type("application/dicom")),
        to_reply(|reply| reply.framed(Framing::LengthAnd(100)).ending(End::Close)),
        to_reply(|reply| reply.framed(Framing::Chunked).ending(End::Close)),
        to_reply(|reply| reply.ending(End::Reset)),
        to_reply(|reply| reply.cut(3000).ending(End::Silence)),
        to_reply(|reply| reply.with_field("content-encoding", "gzip")),
        to_reply(|mut reply| {
            let head = reply.whole_body();
            let (slow, rest) = (head.slice(..100), head.slice(100..));
            let bytes = slow.chunks(1).map(|byte| Step::Send(byte.to_vec().into()));
            let pause = || Step::Pause(Duration::from_millis(10));
            reply.body = bytes.flat_map(|byte| [byte, pause()]).collect();
            reply.body.push(Step::Send(rest));
            reply.framed(Framing::Chunked)
        }),
        to_instances(move |held| held[0].bytes = stranger.bytes.clone()),
        to_instances(|held| held.swap(0, 1)),
        to_instances(|held| held.extend(held.clone())),
        to_instances(move |held| held.extend(other.clone())),
        to_instances(|held| held[1].bytes = Bytes::new()),
        to_instances(|held| held[1].bytes.truncate(400)),
        to_instances(|held| {
            held.pop();
        }),
        to_instances(|held| held.clear()),
        instead(Reply::text(200, "text/html", "<html>log in</html>")),
        instead(Reply::text(200, "application/dicom", "")),
        instead(Reply::status(503)),
        instead(Reply::status(500)),
        instead(Reply::status(204)),
        instead(bomb()),
        instead(Reply::bytes(
            &multipart_type(BOUNDARY),
            join(repeat_n(&tiny, 100_000)),
        )),
        instead(giant()),
        // One answer in two is good.
        Box::new(|held, asked, nth| match nth % 2 {
            0 => honest(held, asked).cut(2500).ending(End::Close),
            _ => honest(held, asked),
        }),
        Box::new(|held, asked, nth| match nth {
            0..2 => Reply::status(503),
            _ => honest(held, asked),
        }),
    ]
}

/// A gibibyte of nothing, compressed.
fn bomb() -> Reply {
    // The head of a gzip file, and stored blocks that say that they are long.
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    body.extend([0xed, 0xc1, 0x01, 0x0d].repeat(250_000));
    Reply::bytes(&multipart_type(BOUNDARY), body).with_field("content-encoding", "gzip")
}

/// A part that does not end for a long time.
fn giant() -> Reply {
    let head = format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n");
    let mut reply = Reply::bytes(&multipart_type(BOUNDARY), head.into_bytes());
    let megabyte = Bytes::from(vec![0; 1 << 20]);
    reply.body.extend(repeat_n(Step::Send(megabyte), 256));
    reply.framed(Framing::Chunked).ending(End::Close)
}

fn study(number: u32) -> Study {
    Study::new(number).with_series(at(number), vec![(EXPLICIT, 2000); 3])
}

/// Exact, or anybody can see that it is not.
fn check(number: u32, answer: &Answer) -> bool {
    let mut left = study(number).bytes();
    if !answer.status.is_success() {
        answer.problem();
        return false;
    }
    let (parts, is_closed) = answer.split();
    for part in parts {
        let at = left.iter().position(|bytes| *bytes == part.bytes);
        left.remove(at.unwrap_or_else(|| panic!("damage {number}: a wrong instance")));
    }
    let is_exact = left.is_empty() && is_closed && answer.is_whole();
    let is_told = answer.status == StatusCode::PARTIAL_CONTENT || !answer.is_whole();
    assert!(is_exact || is_told, "damage {number}: {answer:?}");
    is_exact
}

#[tokio::test]
async fn whatever_a_source_does_nothing_wrong_is_given_or_kept_and_nothing_leaks() {
    let damages: Vec<Damage> = cuts().into_iter().chain(lies()).collect();
    let numbers = 1..=u32::try_from(damages.len()).expect("a few");
    let held: Vec<_> = numbers.clone().flat_map(|n| study(n).instances()).collect();
    let (is_healthy, heals) = (Arc::new(AtomicBool::new(false)), numbers.clone());
    let healthy = Arc::clone(&is_healthy);
    let asked_of: Vec<_> = heals.map(|_| AtomicUsize::new(0)).collect();
    let uids: Vec<_> = numbers.clone().map(|number| study(number).uid).collect();
    let origin = Origin::start(move |asked| {
        let named = |uid: &String| asked.path.contains(&format!("/{uid}/"));
        let number = uids.iter().position(named);
        match number {
            Some(number) if !healthy.load(Ordering::Relaxed) => {
                let nth = asked_of[number].fetch_add(1, Ordering::Relaxed);
                damages[number](&held, asked, nth)
            }
            _ => honest(&held, asked),
        }
    })
    .await;
    let location = |number: u32| {
        let uid = location_uid(number);
        let silence = "first_byte_seconds = 5\nsilence_seconds = 1\n";
        origin
            .location_with(10, silence)
            .replace("origin-10", &format!("damage-{number}"))
            .replace(&location_uid(10), &uid)
    };
    let locations: String = numbers.clone().map(location).collect();
    let retrieve = "[retrieve]\nrepair_seconds = 0\nabsence_seconds = 0\n";
    let gateway = Program::serve(&format!("{retrieve}{locations}")).await;
    let mut paths = Vec::new();
    for number in numbers.clone() {
        let root = gateway.register("", study(number).fhir()).await.root;
        paths.push(format!("{root}{}", study(number).path()));
    }
    let files = "xcwado_process_open_file_descriptors";
    let memory = "xcwado_process_resident_memory_bytes";
    let (files_before, memory_before) = (gateway.metric(files).await, gateway.metric(memory).await);

    let answers = numbers.clone().zip(&paths).map(|(number, path)| {
        let gateway = &gateway;
        async move { check(number, &gateway.get(path, &[AS_STORED]).await) }
    });
    let exact: Vec<bool> = stream::iter(answers).buffered(8).collect().await;
    // Otherwise this looks at nothing.
    let damaged = exact.iter().filter(|is_exact| !**is_exact).count();
    assert!(damaged * 2 > exact.len(), "{damaged} of {}", exact.len());

    is_healthy.store(true, Ordering::Relaxed);
    for (number, path) in numbers.clone().zip(&paths) {
        let exact = async {
            // It may be left alone for a while.
            while !check(number, &gateway.get(path, &[AS_STORED]).await) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(LONG, exact)
            .await
            .unwrap_or_else(|_| panic!("damage {number} stays"));
    }
    // All of it is here now.
    let before = origin.asked().len();
    for (number, path) in numbers.zip(&paths) {
        assert!(check(number, &gateway.get(path, &[AS_STORED]).await));
    }
    assert_eq!(origin.asked().len(), before);
    let quiet = async {
        // Kept connections to the source, and to this client.
        while gateway.metric("xcwado_flights_open").await > 0.0
            || gateway.metric(files).await > files_before + 40.0
        {
            sleep(Duration::from_millis(100)).await;
        }
    };
    // Spare connections stay for a minute after the last answer, and half a minute idle.
    timeout(3 * LONG, quiet)
        .await
        .expect("nothing is left open");
    let grown = gateway.metric(memory).await - memory_before;
    assert!(grown < f64::from(96 << 20), "{grown} bytes more");
}

#[tokio::test]
async fn a_source_that_breaks_off_every_40_instances_is_never_noticed() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 10_000); 500]);
    let held = study.instances();
    let origin = Origin::start(move |asked| {
        let reply = honest(&held, asked);
        if asked.is_instance() {
            return reply;
        }
        let length = 40 * (reply.whole_body().len() / held.len());
        reply.cut(length).ending(End::Close)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let answer = rig
        .get(&format!("{root}{}", study.path()), &[AS_STORED])
        .await;
    assert_eq!(sorted(answer.instances()), sorted(study.bytes()));
    let repaired = r#"xcwado_repairs_total{location="origin-10",outcome="repaired"}"#;
    assert!(rig.metric(repaired).await >= 1.0);
    // What had come was not fetched again, but for the instance in which it broke off.
    let fetched = r#"xcwado_fetched_instances_total{location="origin-10"}"#;
    assert!(rig.metric(fetched).await <= 501.0);
}
