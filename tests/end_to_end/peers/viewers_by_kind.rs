//! OHIF with each kind of object that it opens in a way of its own: a document, a cine, a slide, a
//! video that the browser has recorded itself.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::viewers::Ohif;
use crate::rig::tools::{left_out, python};
use crate::rig::{Registered, Rig};

/// The gateway in front of a folder with one series of each kind.
struct Kinds {
    _folder: tempfile::TempDir,
    rig: Rig,
    manifest: Registered,
    study: String,
}

impl Kinds {
    async fn start(ohif: &Ohif) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let (video, folder) = (
            directory.path().join("video.mp4"),
            directory.path().join("kinds"),
        );
        record(ohif, &video)?;
        let report = python("viewer_files.py", &[folder.as_os_str(), video.as_os_str()])?;
        let files = folder.join("files");
        let rig = Rig::start(&format!(
            "[cors]\norigins = [\"*\"]\n[[location]]\n\
             retrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\n\
             retrieve_urls = [\"http://files.example/rs\"]\nfolder = {files:?}\n"
        ));
        let document = std::fs::read(folder.join("manifest.json")).expect("a manifest");
        let manifest = rig.register(document).await;
        Some(Self {
            _folder: directory,
            rig,
            manifest,
            study: report["study"].as_str().expect("a study").to_owned(),
        })
    }

    fn url(&self, rest: &str) -> String {
        format!(
            "http://{}/manifests/{}/{rest}",
            self.rig.public, self.manifest.id
        )
    }
}

fn record(ohif: &Ohif, video: &Path) -> Option<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ohif/record.mjs");
    let mut recording = Command::new("node");
    recording
        .arg(script)
        .arg(video)
        .env("PLAYWRIGHT", &ohif.playwright);
    let status = recording.status().expect("node runs");
    if status.code() == Some(3) {
        left_out(
            "OHIF with a video",
            "this Chromium has no encoder for H.264",
        );
        return None;
    }
    assert!(status.success(), "{status}");
    Some(())
}

/// What stands in the viewport for each series, by modality.
fn all_is_shown(seen: &Value) {
    assert_eq!(seen["failed"], serde_json::json!([]), "{seen:#}");
    assert_eq!(seen["errors"], serde_json::json!([]), "{seen:#}");
    let shown = &seen["shown"];
    let document = shown["DOC"]["document"].as_str().unwrap_or_default();
    assert!(
        document.starts_with("blob:") || document.ends_with("/rendered"),
        "{seen:#}"
    );
    // Each frame of the cine is another picture, and so is each moment of the video.
    for (modality, least) in [("US", 100), ("XC", 20)] {
        let levels = shown[modality]["levels"].as_u64();
        assert!(levels > Some(least), "{modality}: {seen:#}");
        let sums = shown[modality]["sums"].as_array().expect("a list");
        let mut different = sums.clone();
        different.sort_by_key(Value::as_u64);
        different.dedup();
        assert!(different.len() >= 3, "{modality}: {seen:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ohif_shows_documents_cines_slides_and_videos() {
    let Some(ohif) = Ohif::find() else { return };
    let Some(kinds) = Kinds::start(&ohif).await else {
        return;
    };
    let root = kinds.url("dicomweb");
    let json = kinds.url("viewers/ohif-dicomjson.json");
    let proxy = kinds.url("viewers/ohif-dicomwebproxy.json");
    let study = kinds.study.clone();
    let looking = move || {
        let options = ["--study", &study, "--series", "4"];
        let by = |name: &str, more: &[&str]| {
            let seen = ohif.run("kinds.mjs", &root, name, &[&options[..], more].concat());
            all_is_shown(&seen);
            seen
        };
        let seen = by("kinds-dicomweb", &[]);
        // Its tiles are drawn by a client that only this data source has an address for.
        assert_eq!(seen["shown"]["SM"]["slide"], true, "{seen:#}");
        by("kinds-dicomwebproxy", &["--proxy", &proxy]);
        by("kinds-dicomjson", &["--json", &json]);
    };
    tokio::task::spawn_blocking(looking).await.expect("it runs");
}
