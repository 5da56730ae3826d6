//! Frames of one large object, asked for while it arrives: it crosses the border once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokio::time::{sleep, timeout};

use crate::derived::case::{ANY_FRAME, Case};
use crate::rig::origin::{Asked, End, Origin, Reply, Step, honest};
use crate::rig::pixels::{number, study};
use crate::rig::study::{EXPLICIT, JPEG_LOSSLESS, Study, at, long, text};
use crate::rig::{AS_STORED, Rig, open, request};

/// Keeps a failed test from hanging.
const LONG: Duration = Duration::from_secs(120);
const FRAMES: usize = 1000;
const ROWS: usize = 100;
const COLUMNS: usize = 120;
const FRAME: usize = ROWS * COLUMNS * 2;
const MIB: usize = 1 << 20;
/// What the gateway reads ahead, and a read more.
const AHEAD: usize = 2 * MIB;

/// The frame of a number, which its first bytes give; it looks like a JPEG codestream.
fn frame(number: usize) -> Vec<u8> {
    let mut frame = vec![number as u8; FRAME];
    frame[..4].copy_from_slice(&[0xFF, 0xD8, 0xFF, 0]);
    frame[4..8].copy_from_slice(&(number as u32).to_le_bytes());
    frame
}

fn attributes() -> Vec<u8> {
    [
        number(0x0028_0002, 1),
        text(0x0028_0004, b"CS", "MONOCHROME2"),
        text(0x0028_0008, b"IS", &FRAMES.to_string()),
        number(0x0028_0010, ROWS as u16),
        number(0x0028_0011, COLUMNS as u16),
        number(0x0028_0100, 16),
        number(0x0028_0101, 16),
        number(0x0028_0103, 0),
    ]
    .concat()
}

fn native() -> Vec<u8> {
    let pixels: Vec<u8> = (1..=FRAMES).flat_map(frame).collect();
    [attributes(), long(0x7FE0_0010, b"OW", &pixels)].concat()
}

fn encapsulated(has_table: bool) -> Vec<u8> {
    let mut bytes = attributes();
    bytes.extend([
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ]);
    let offsets = (0..FRAMES).map(|at| (at * (FRAME + 8)) as u32);
    let table: Vec<u8> = offsets.flat_map(u32::to_le_bytes).collect();
    let table = if has_table { table } else { Vec::new() };
    for item in std::iter::once(table).chain((1..=FRAMES).map(frame)) {
        bytes.extend([0xFE, 0xFF, 0, 0xE0]);
        bytes.extend((item.len() as u32).to_le_bytes());
        bytes.extend(item);
    }
    bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    bytes
}

/// A study of one object, and a server that sends it in pieces with pauses.
struct Paced {
    case: Case,
    size: usize,
}

impl Paced {
    async fn of(syntax: &str, rest: Vec<u8>, settings: &str) -> Self {
        let study = study(&[(syntax, rest)]);
        let held = study.instances();
        let size = held[0].bytes.len();
        let origin = Origin::start(move |asked| paced(honest(&held, asked))).await;
        let rig = Rig::start(&format!("{settings}{}", origin.location(10)));
        let root = rig.register(study.fhir()).await.root;
        let case = Case {
            rig,
            origin,
            study,
            root,
        };
        Self { case, size }
    }

    /// Requests a frame, which must come.
    async fn frame(&self, number: usize) {
        let list = number.to_string();
        let frames = self.case.frames(0, &list);
        let frames = timeout(LONG, frames).await.expect("it is answered");
        assert_eq!(frames.len(), 1, "frame {number}");
        assert!(frames[0] == frame(number), "frame {number}");
    }

    /// The object crossed once.
    fn crossed_once(&self, how: &str) {
        assert_eq!(self.case.origin.paths().len(), 1, "{how}");
        let sent = self.case.origin.sent() as f64;
        let ratio = sent / self.size as f64;
        assert!(ratio <= 1.02, "{how}: {ratio:.3} of its size");
    }

    /// Bytes that the gateway has read of the object: sockets hold further ones.
    async fn fetched(&self) -> usize {
        let named = "xcwado_fetched_bytes_total{location=\"origin-10\"}";
        self.case.rig.metric(named).await as usize
    }

    /// The same once it reads no more.
    async fn settles(&self) -> usize {
        let mut fetched = self.fetched().await;
        loop {
            sleep(Duration::from_millis(500)).await;
            let now = self.fetched().await;
            if std::mem::replace(&mut fetched, now) == now {
                return now;
            }
        }
    }
}

#[tokio::test]
async fn frames_of_an_object_that_breaks_off_are_whole() {
    let study = study(&[(EXPLICIT, native())]);
    let held = study.instances();
    let half = held[0].bytes.len() / 2;
    let asked_before = AtomicUsize::new(0);
    let script = move |asked: &Asked| {
        let reply = honest(&held, asked);
        match asked_before.fetch_add(1, Ordering::Relaxed) {
            0 => paced(reply.cut(half)).ending(End::Close),
            _ => paced(reply),
        }
    };
    let origin = Origin::start(script).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let case = Case {
        rig,
        origin,
        study,
        root,
    };
    let paced = Paced { case, size: 0 };
    for number in [1, 400, 2, 900, 450, 1000] {
        paced.frame(number).await;
    }
    assert_eq!(paced.case.origin.paths().len(), 2);
}

/// The same reply at 100 MB/s or so.
fn paced(mut reply: Reply) -> Reply {
    let body = reply.whole_body();
    let pieces = body.chunks(MIB).map(Bytes::copy_from_slice);
    reply.body = pieces
        .flat_map(|piece| [Step::Send(piece), Step::Pause(Duration::from_millis(10))])
        .collect();
    reply
}

/// Numbers in an order that nobody expects, always the same.
fn shuffled() -> Vec<usize> {
    (0..FRAMES).map(|at| at * 387 % FRAMES + 1).collect()
}

fn kinds() -> [(&'static str, &'static str, Vec<u8>); 3] {
    [
        ("native", EXPLICIT, native()),
        ("with a table", JPEG_LOSSLESS, encapsulated(true)),
        ("without a table", JPEG_LOSSLESS, encapsulated(false)),
    ]
}

#[tokio::test]
async fn frames_in_order_cost_one_crossing() {
    for (kind, syntax, rest) in kinds() {
        let paced = Paced::of(syntax, rest, "").await;
        for number in (1..=FRAMES).step_by(3) {
            paced.frame(number).await;
        }
        paced.crossed_once(kind);
    }
}

#[tokio::test]
async fn frames_in_reverse_cost_one_crossing() {
    for (kind, syntax, rest) in kinds() {
        let paced = Paced::of(syntax, rest, "").await;
        for number in (1..=FRAMES).rev().step_by(3) {
            paced.frame(number).await;
        }
        paced.crossed_once(kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_at_random_for_eight_readers_cost_one_crossing() {
    for (kind, syntax, rest) in kinds() {
        let paced = Arc::new(Paced::of(syntax, rest, "").await);
        let numbers = shuffled();
        let readers = numbers.chunks(FRAMES.div_ceil(8)).map(|numbers| {
            let (paced, numbers) = (Arc::clone(&paced), numbers.to_vec());
            tokio::spawn(async move {
                for number in numbers {
                    paced.frame(number).await;
                }
            })
        });
        for reader in join_all(readers).await {
            reader.expect("each frame is right");
        }
        paced.crossed_once(kind);
    }
}

#[tokio::test]
async fn frames_here_and_there_cost_one_crossing() {
    for memory in ["", "[cache]\nmemory = \"400 MiB\"\ndisk = \"0\"\n"] {
        let paced = Paced::of(EXPLICIT, native(), memory).await;
        for number in [1, 2, 3, 100, 101, 500, 2, 900] {
            paced.frame(number).await;
        }
        paced.settles().await;
        paced.crossed_once(memory);
    }
}

#[tokio::test]
async fn one_frame_does_not_cost_the_whole_object() {
    let paced = Paced::of(EXPLICIT, native(), "").await;
    paced.frame(3).await;
    let fetched = paced.settles().await;
    assert!(fetched < 3 * FRAME + AHEAD, "{fetched}");
    // The crossing waits for another reader, but not for long.
    let left = timeout(LONG, paced.case.origin.left()).await;
    left.expect("it ends");
    assert_eq!(paced.fetched().await, fetched);
    paced.frame(4).await;
    assert_eq!(paced.case.origin.paths().len(), 2);
}

#[tokio::test]
async fn an_aborted_download_is_not_fetched_to_its_end() {
    let paced = Paced::of(EXPLICIT, native(), "").await;
    let path = paced.case.study.instances()[0].path();
    let path = format!("{}{path}", paced.case.root);
    let mut answer = paced.case.rig.open(&path, &[AS_STORED]).await;
    answer.read_at_least(MIB).await;
    drop(answer);
    let fetched = paced.settles().await;
    assert!(fetched < paced.size * 3 / 4, "{fetched}");
}

#[tokio::test]
async fn what_is_forgotten_is_not_fetched_to_its_end() {
    let paced = Paced::of(EXPLICIT, native(), "").await;
    paced.frame(1).await;
    let operator = paced.case.rig.operator;
    let purge = request(Method::DELETE, "/cache", &[], operator, Bytes::new());
    let gone = open(operator, purge).await.read().await;
    assert_eq!(gone.status, StatusCode::OK, "{gone:?}");
    let at_once = Duration::from_secs(5);
    let left = timeout(at_once, paced.case.origin.left()).await;
    left.expect("nobody waits for it any more");
}

#[tokio::test]
async fn a_request_that_waits_takes_the_seat_of_an_object_without_readers() {
    for is_finishing in [false, true] {
        let large = study(&[(EXPLICIT, native())]);
        let small = Study::new(7).with(1, at(10));
        let held = [large.instances(), small.instances()].concat();
        let slowly = move |asked: &Asked| {
            let mut reply = paced(honest(&held, asked));
            for step in &mut reply.body {
                if let Step::Pause(time) = step {
                    *time *= 20;
                }
            }
            reply
        };
        let origin = Origin::start(slowly).await;
        let seat = "connections = 1\nqueue = 10\n[location.http]";
        let rig = Rig::start(&origin.location(10).replace("[location.http]", seat));
        let root = rig.register(large.fhir()).await.root;
        let other = rig.register(small.fhir()).await.root;
        let path = format!("{root}{}/frames", large.instances()[0].path());
        for number in 1..=1 + usize::from(is_finishing) {
            let answer = rig.get(&format!("{path}/{number}"), &[ANY_FRAME]).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
        let path = format!("{other}{}", small.path());
        let at_once = timeout(Duration::from_secs(3), rig.get(&path, &[AS_STORED])).await;
        let answer = at_once.expect("it does not wait for an object that nobody reads");
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
}
