//! Each instance crosses once; the gateway caches it and shares it between clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::rig::origin::{Gate, Origin, honest};
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, Registered, Rig, sorted};

const LONG: Duration = Duration::from_secs(60);

fn study(instances: usize, size: usize) -> Study {
    Study::new(1).with_series(at(10), vec![(EXPLICIT, size); instances])
}

async fn instances(rig: &Rig, path: &str) -> Vec<Bytes> {
    sorted(rig.get(path, &[AS_STORED]).await.instances())
}

/// The files of instances below the folder of a gateway.
fn files(directory: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(directory.join("instances"))
        .into_iter()
        .flatten();
    let folders = folders.map(|folder| folder.expect("a folder").path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    files.map(|file| file.expect("a file").path()).collect()
}

/// Waits until so many instances are on disk.
async fn on_disk(rig: &Rig, instances: usize) {
    let are_there = async {
        let entries = r#"xcwado_cache_entries{tier="disk"}"#;
        while rig.metric(entries).await < instances as f64 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, are_there).await.expect("they are written");
}

#[tokio::test]
async fn ten_viewers_of_one_cold_series_cost_its_source_one_answer() {
    let study = study(500, 20_000);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let whole = sorted(study.bytes());
    for read in join_all((0..10).map(|_| instances(&rig, &path))).await {
        assert!(read == whole);
    }
    assert_eq!(origin.asked().len(), 1);
    let bytes: usize = whole.iter().map(Bytes::len).sum();
    // And what stands around the parts.
    assert!(
        origin.sent() < bytes as u64 + 500 * 300,
        "{}",
        origin.sent()
    );
    let fetched = r#"xcwado_fetched_instances_total{location="origin-10"}"#;
    assert_eq!(rig.metric(fetched).await, 500.0);
    // Each was found somewhere, or fetched.
    let mut lookups = 0.0;
    for tier in ["memory", "flight", "none"] {
        let lookup = format!("xcwado_cache_lookups_total{{tier=\"{tier}\"}}");
        lookups += rig.metric(&lookup).await;
    }
    assert_eq!(lookups, 5000.0);
}

#[tokio::test]
async fn what_is_here_needs_no_source() {
    let study = study(40, 20_000);
    let directory = tempfile::tempdir().expect("a directory");
    let origin = Origin::of(&study).await;
    let settings = origin.location(10);
    let rig = Rig::start_in(directory.path(), &settings);
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    assert_eq!(instances(&rig, &path).await, sorted(study.bytes()));
    on_disk(&rig, 40).await;
    drop(origin);
    for instance in study.instances() {
        let path = format!("{root}{}", instance.path());
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.field("cache-status"), "xcwado; hit; detail=memory");
        assert_eq!(answer.instances(), std::slice::from_ref(&instance.bytes));
    }
    rig.stopped().await;
    // The next day.
    let rig = Rig::start_in(directory.path(), &settings);
    let one = &study.instances()[7];
    let answer = rig
        .get(&format!("{root}{}", one.path()), &[AS_STORED])
        .await;
    assert_eq!(answer.field("cache-status"), "xcwado; hit; detail=disk");
    assert_eq!(instances(&rig, &path).await, sorted(study.bytes()));
}

#[tokio::test]
async fn what_is_damaged_on_disk_is_fetched_again() {
    let study = study(12, 20_000);
    let directory = tempfile::tempdir().expect("a directory");
    let origin = Origin::of(&study).await;
    let rig = Rig::start_in(directory.path(), &origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    instances(&rig, &path).await;
    on_disk(&rig, 12).await;
    rig.stopped().await;
    for (at, file) in files(directory.path()).iter().enumerate() {
        let mut bytes = fs::read(file).expect("it is there");
        let length = bytes.len();
        match at % 4 {
            0 => bytes[length - 1] ^= 1,
            1 => bytes.truncate(length - 1),
            // The page that says what it is, and one that says that it is longer.
            2 => bytes[100] ^= 1,
            _ => bytes.push(0),
        }
        fs::write(file, bytes).expect("written");
    }
    let rig = Rig::start_in(directory.path(), &origin.location(10));
    assert_eq!(instances(&rig, &path).await, sorted(study.bytes()));
    on_disk(&rig, 12).await;
    assert_eq!(rig.metric("xcwado_cache_damaged_total").await, 3.0);
    // Now it is whole again.
    rig.stopped().await;
    let before = origin.asked().len();
    let rig = Rig::start_in(directory.path(), &origin.location(10));
    assert_eq!(instances(&rig, &path).await, sorted(study.bytes()));
    assert_eq!(origin.asked().len(), before);
}

#[tokio::test]
async fn files_are_for_their_owner_and_there_are_none_without_a_disk_tier() {
    let study = study(3, 20_000);
    let origin = Origin::of(&study).await;
    for (disk, count) in [("1 GiB", 3), ("0", 0)] {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = format!("[cache]\ndisk = \"{disk}\"\n{}", origin.location(10));
        let rig = Rig::start_in(directory.path(), &settings);
        let root = rig.register(study.fhir()).await.root;
        instances(&rig, &format!("{root}{}", study.path())).await;
        on_disk(&rig, count).await;
        let files = files(directory.path());
        assert_eq!(files.len(), count);
        let mode = |path: &Path| {
            let metadata = fs::metadata(path).expect("it is there");
            metadata.permissions().mode() & 0o777
        };
        for file in files {
            assert_eq!(mode(&file), 0o600);
            assert_eq!(mode(file.parent().expect("a folder")), 0o700);
            let name = file
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            assert!(
                !name.contains(&study.uid),
                "nothing can be read from {name}"
            );
        }
        if count > 0 {
            assert_eq!(mode(&directory.path().join("instances")), 0o700);
        } else {
            assert!(!directory.path().join("instances").exists());
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_is_whole_all_the_same() {
    // Nothing fits: not in memory, not on disk, and hardly anything on its way.
    let little = "[cache]\nmemory = \"1 MiB\"\ndisk = \"0\"\nflights = \"64 KiB\"\n";
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 700_000); 30]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!("{little}{}", origin.location(10)));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let whole = sorted(study.bytes());
    for read in join_all((0..4).map(|_| instances(&rig, &path))).await {
        assert!(read == whole);
    }
    assert_eq!(rig.metric("xcwado_flights_open").await, 0.0);
}

#[tokio::test]
async fn evicted_is_the_least_recently_used_and_what_is_evicted_comes_again() {
    let small = "[cache]\nmemory = \"14 MiB\"\ndisk = \"14 MiB\"\n";
    let study = study(170, 100_000);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!("{small}{}", origin.location(10)));
    let root = rig.register(study.fhir()).await.root;
    for _ in 0..2 {
        for instance in study.instances() {
            let read = instances(&rig, &format!("{root}{}", instance.path())).await;
            assert_eq!(read, std::slice::from_ref(&instance.bytes));
        }
    }
    for tier in ["memory", "disk"] {
        let evicted = format!("xcwado_cache_evictions_total{{tier=\"{tier}\"}}");
        let bytes = format!("xcwado_cache_bytes{{tier=\"{tier}\"}}");
        let is_within = async {
            while rig.metric(&bytes).await > f64::from(14 << 20)
                || rig.metric(&evicted).await == 0.0
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, is_within)
            .await
            .expect("it is within its bounds");
    }
}

#[tokio::test]
async fn who_leaves_or_reads_slowly_disturbs_nobody_else() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 1_000_000); 12]);
    let (held, gate) = (study.instances(), Gate::new());
    let shut = gate.clone();
    let origin = Origin::start(move |asked| honest(&held, asked).held_at(2_500_000, &shut)).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let mut leaves = rig.open(&path, &[AS_STORED]).await;
    let mut slow = rig.open(&path, &[AS_STORED]).await;
    let fast = rig.open(&path, &[AS_STORED]).await;
    leaves.read_at_least(100_000).await;
    slow.read_at_least(1).await;
    drop(leaves);
    gate.open();
    let fast = timeout(LONG, fast.read())
        .await
        .expect("nobody holds it up");
    assert_eq!(sorted(fast.instances()), sorted(study.bytes()));
    assert_eq!(sorted(slow.read().await.instances()), sorted(study.bytes()));
    assert_eq!(origin.asked().len(), 1, "{:?}", origin.paths());
}

#[tokio::test]
async fn what_everybody_has_left_is_not_fetched_on() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 4_000_000); 12]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let root = rig.register(study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = rig.open(&path, &[AS_STORED]).await;
        stream.read_at_least(1_000_000).await;
        streams.push(stream);
    }
    drop(streams);
    timeout(LONG, origin.left())
        .await
        .expect("the source is let go");
    let ended = async {
        while rig.metric("xcwado_flights_open").await > 0.0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, ended).await.expect("nothing is left open");
}

#[tokio::test]
async fn the_same_uid_at_two_places_is_two_things() {
    let mut ours = Study::new(1).with_series(at(10), vec![(EXPLICIT, 20_000); 2]);
    let theirs = Study::new(1).with_series(at(11), vec![(EXPLICIT, 20_000); 2]);
    for instance in &mut ours.series[0].instances {
        let mut bytes = instance.bytes.to_vec();
        *bytes.last_mut().expect("pixels") ^= 0xff;
        instance.bytes = bytes.into();
    }
    let (one, other) = (Origin::of(&ours).await, Origin::of(&theirs).await);
    let rig = Rig::start(&format!("{}{}", one.location(10), other.location(11)));
    for study in [&ours, &theirs, &ours] {
        let registering = rig.post("/manifests?conflict=keep_first", &[], study.fhir());
        let root = Registered::of(&registering.await).root;
        let read = instances(&rig, &format!("{root}{}", study.path())).await;
        assert_eq!(read, sorted(study.bytes()));
    }
    assert_eq!((one.asked().len(), other.asked().len()), (1, 1));
}
