//! Foreign files in the data directory, or a second gateway that uses it, do not stop the gateway
//! from starting and caching.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::rig::origin::{Origin, Reply, honest};
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Study, at};
use crate::rig::{AS_STORED, sorted};

const LONG: Duration = Duration::from_secs(120);

async fn on_disk(gateway: &Program, instances: usize) {
    let are_there = async {
        let entries = r#"xcwado_cache_entries{tier="disk"}"#;
        while gateway.metric(entries).await < instances as f64 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, are_there).await.expect("they are written");
}

fn files(instances: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(instances).expect("a folder");
    let folders = folders.map(|folder| folder.expect("a folder").path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    files.map(|file| file.expect("a file").path()).collect()
}

fn run(gateway: &Program, command: &str) -> (Option<i32>, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_xcwado"))
        .args([command, "--config"])
        .arg(gateway.directory().join("config.toml"))
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    (run.status.code(), errors)
}

// The source answers while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_does_not_start_in_a_directory_that_is_in_use() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 20_000); 5]);
    let held = study.instances();
    let origin = Origin::start(move |asked| match asked.path.contains("limit=1") {
        // As `check` asks.
        true => Reply::status(404),
        false => honest(&held, asked),
    })
    .await;
    let gateway = Program::serve(&origin.location(10)).await;
    let root = gateway.register("", study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let whole = sorted(study.bytes());
    assert!(gateway.get(&path, &[AS_STORED]).await.instances() == whole);
    on_disk(&gateway, 5).await;
    let kept = files(&gateway.directory().join("var/instances"));
    let (code, errors) = run(&gateway, "serve");
    assert_eq!(code, Some(1), "{errors}");
    let told = errors.contains("data_directory") && errors.contains("another xcwado uses it");
    assert!(told, "{errors}");
    // What only looks needs no directory of its own, and takes nothing from the other.
    let (code, errors) = run(&gateway, "check");
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(files(&gateway.directory().join("var/instances")), kept);
    // A process that was killed does not stand in the way of the next one.
    let gateway = gateway.killed_and_started().await;
    assert!(gateway.get(&path, &[AS_STORED]).await.instances() == whole);
    let asked = origin
        .paths()
        .into_iter()
        .filter(|path| !path.contains("limit=1"));
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn what_somebody_else_has_put_there_is_left_alone_and_is_in_nobodys_way() {
    let study = Study::new(1).with_series(at(10), vec![(EXPLICIT, 20_000); 5]);
    let origin = Origin::of(&study).await;
    let gateway = Program::serve(&origin.location(10)).await;
    let root = gateway.register("", study.fhir()).await.root;
    let path = format!("{root}{}", study.path());
    let whole = sorted(study.bytes());
    assert!(gateway.get(&path, &[AS_STORED]).await.instances() == whole);
    on_disk(&gateway, 5).await;
    let instances = gateway.directory().join("var/instances");
    let kept = files(&instances);
    let below = kept[0].parent().expect("a folder");
    let name = below
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    let like_ours = |letter: &str| below.join(format!("{name}{}.1", letter.repeat(30)));
    let planted = [
        instances.join("notes.txt"),
        below.join("notes.txt"),
        below.join("lost.1.bak"),
        like_ours("a").with_extension("1.orig"),
    ];
    for path in &planted {
        fs::write(path, "somebody's").expect("written");
    }
    for folder in [
        like_ours("b"),
        instances.join("new"),
        instances.join("lost+found"),
    ] {
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("notes.txt"), "somebody's").expect("written");
    }
    let pipe = Command::new("mkfifo")
        .arg(like_ours("c"))
        .arg(instances.join("0"))
        .status();
    assert!(pipe.expect("mkfifo").success());
    symlink("/dev/zero", like_ours("d")).expect("a link");
    // In the place of a file that is known.
    fs::remove_file(&kept[1]).expect("deleted");
    let pipe = Command::new("mkfifo").arg(&kept[1]).status();
    assert!(pipe.expect("mkfifo").success());
    let answer = timeout(LONG, gateway.get(&path, &[AS_STORED])).await;
    assert!(answer.expect("it does not hang").instances() == whole);
    let gateway = timeout(LONG, gateway.killed_and_started())
        .await
        .expect("it starts");
    let answer = timeout(LONG, gateway.get(&path, &[AS_STORED])).await;
    assert!(answer.expect("it does not hang").instances() == whole);
    for path in &planted {
        assert_eq!(fs::read_to_string(path).expect("it is there"), "somebody's");
    }
    for path in [
        like_ours("b").join("notes.txt"),
        instances.join("new/notes.txt"),
    ] {
        assert!(path.exists(), "{path:?}");
    }
    for path in [like_ours("c"), like_ours("d"), instances.join("0")] {
        assert!(fs::symlink_metadata(&path).is_ok(), "{path:?}");
    }
}
