//! Without a cache, a flight waits for its reader: a sound study is complete without an extra
//! request.

use std::time::Duration;

use futures_util::future::{join, join_all};
use http::StatusCode;
use tokio::time::sleep;

use crate::rig::origin::{Framing, Origin, Step, honest};
use crate::rig::study::{EXPLICIT, Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, HERE, Rig, rad_160};

const PAUSE: Duration = Duration::from_millis(20);

/// Why nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    /// There are no tiers.
    NoTiers,
    /// The source says `no-store`.
    NoStore,
    /// The memory tier is smaller than one instance, and there is no disk.
    TooLarge,
}

const REASONS: [Because; 3] = [Because::NoTiers, Because::NoStore, Because::TooLarge];

impl Because {
    fn settings(self) -> &'static str {
        match self {
            Self::NoTiers => "[cache]\nmemory = \"0\"\ndisk = \"0\"\n",
            Self::NoStore => "",
            Self::TooLarge => "[cache]\nmemory = \"1 KiB\"\ndisk = \"0\"\n",
        }
    }
}

fn study(sizes: &[usize]) -> Study {
    let instances = sizes.iter().map(|size| (EXPLICIT, *size));
    Study::new(1).with_series(at(10), instances.collect())
}

/// A gateway in front of a healthy source that gives whole series only.
struct Passage {
    study: Study,
    origin: Origin,
    rig: Rig,
    path: String,
}

impl Passage {
    async fn of(study: Study, because: Because) -> Self {
        eprintln!("{because:?}");
        let held = study.instances();
        let origin = Origin::start(move |asked| {
            let mut reply = honest(&held, asked);
            if because == Because::NoStore {
                reply = reply.with_field("Cache-Control", "no-store");
            }
            match asked.is_instance() {
                true => reply.with_status(404),
                false => reply,
            }
        })
        .await;
        let settings = format!("{}{}", because.settings(), origin.location(10));
        let rig = Rig::start(&settings);
        let root = rig.register(study.fhir()).await.root;
        Self {
            path: format!("{root}{}", study.path()),
            study,
            origin,
            rig,
        }
    }

    async fn read(&self) {
        self.check(&self.rig.get(&self.path, &[AS_STORED]).await);
    }

    /// Pauses after each so many bytes.
    async fn read_slowly(&self, bytes: usize) {
        let mut stream = self.rig.open(&self.path, &[AS_STORED]).await;
        let length: usize = self.study.bytes().iter().map(bytes::Bytes::len).sum();
        for read in (bytes..length).step_by(bytes) {
            stream.read_at_least(read).await;
            sleep(PAUSE).await;
        }
        self.check(&stream.read().await);
    }

    fn check(&self, answer: &Answer) {
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.instances() == self.study.bytes(), "it is not whole");
    }

    /// Whether the source was asked for nothing but the series, and that at most so often.
    fn asked_at_most(&self, answers: usize) {
        let paths = self.origin.paths();
        let extra: Vec<_> = paths
            .iter()
            .filter(|path| path.contains("/instances/"))
            .collect();
        assert!(extra.is_empty(), "{extra:?}");
        assert!((1..=answers).contains(&paths.len()), "{}", paths.len());
    }
}

#[tokio::test]
async fn an_intact_study_is_whole_each_time() {
    for because in REASONS {
        let passage = Passage::of(study(&[4_000; 400]), because).await;
        for _ in 0..25 {
            passage.read().await;
        }
        passage.asked_at_most(25);
    }
}

#[tokio::test]
async fn readers_fast_and_slow_get_all_of_it() {
    for because in REASONS {
        let passage = Passage::of(study(&[20_000; 150]), because).await;
        let slow = join(passage.read_slowly(300_000), passage.read_slowly(900_000));
        let fast = join_all((0..4).map(|_| passage.read()));
        join(slow, fast).await;
        passage.asked_at_most(6);
        // And once more, now that the gateway knows the source.
        let slow = join(passage.read_slowly(300_000), passage.read_slowly(900_000));
        join(slow, join_all((0..4).map(|_| passage.read()))).await;
        passage.asked_at_most(12);
    }
}

#[tokio::test]
async fn instances_of_any_size_pass_by() {
    let mixed = [
        1_000, 900_000, 1_200, 1_000, 10_000_000, 50_000, 1_000, 2_000_000,
    ];
    for because in REASONS {
        let passage = Passage::of(study(&mixed), because).await;
        join(passage.read(), passage.read_slowly(2_000_000)).await;
        passage.read().await;
        passage.asked_at_most(3);
    }
}

#[tokio::test]
async fn another_community_gets_all_of_it() {
    for because in REASONS {
        let mut passage = Passage::of(study(&[10_000; 300]), because).await;
        passage.path = rad_160(HERE, &location_uid(10), &passage.study.path());
        join(passage.read(), passage.read_slowly(300_000)).await;
        for _ in 0..5 {
            passage.read().await;
        }
        passage.asked_at_most(7);
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_up_no_other_one() {
    for because in REASONS {
        let passage = Passage::of(study(&[8_000; 1_000]), because).await;
        let mut stalled = passage.rig.open(&passage.path, &[AS_STORED]).await;
        stalled.read_at_least(100_000).await;
        join(passage.read(), passage.read()).await;
        passage.check(&stalled.read().await);
        passage.asked_at_most(3);
    }
}

#[tokio::test]
async fn tiny_instances_that_arrive_in_pieces_are_whole() {
    let study = study(&[8; 40]);
    for piece in [97, 400, 531] {
        let held = study.instances();
        let origin = Origin::start(move |asked| {
            let mut reply = honest(&held, asked).framed(Framing::Chunked);
            let body = reply.whole_body();
            let pieces = body.chunks(piece);
            reply.body = pieces
                .map(|piece| Step::Send(body.slice_ref(piece)))
                .collect();
            reply
        })
        .await;
        let rig = Rig::start(&origin.location(10));
        let root = rig.register(study.fhir()).await.root;
        let path = format!("{root}{}", study.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert!(answer.instances() == study.bytes(), "{piece}");
        assert_eq!(origin.asked().len(), 1, "{piece}");
    }
}
