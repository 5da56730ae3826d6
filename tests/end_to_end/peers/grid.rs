//! dcmtk, GDCM and pydicom decode hundreds of small images as the gateway does.

use std::ffi::OsStr;
use std::fs;

use serde_json::Value;

use crate::rig::Rig;
use crate::rig::tools::{left_out, program, python};

/// What the script says of a grid of images in `folder`.
async fn grid(arguments: Vec<String>) -> Option<Value> {
    let running = move || {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        python("grid.py", &arguments)
    };
    tokio::task::spawn_blocking(running).await.expect("it runs")
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().expect("a list")
}

#[tokio::test]
async fn other_decoders_decode_the_same_from_every_stream() {
    for needed in ["dcmdjpeg", "dcmcjpls", "gdcmconv"] {
        if program(needed).is_none() {
            return left_out("the grid of images", "dcmtk or GDCM is not on the path");
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("grid");
    let path = folder.to_str().expect("a path").to_owned();
    let Some(made) = grid(vec!["make".to_owned(), path.clone()]).await else {
        return;
    };
    assert!(made["rows"].as_u64() >= Some(600), "{made:#}");
    let files = folder.join("files");
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\n\
         retrieve_urls = [\"http://files.example/rs\"]\nfolder = {files:?}\n"
    ));
    let manifest = fs::read(folder.join("manifest.json")).expect("a manifest");
    let answer = rig.post("/manifests", &[], manifest).await;
    let root = answer.json()["links"]["dicomweb"].clone();
    let root = root
        .as_str()
        .expect("a root")
        .trim_end_matches('/')
        .to_owned();
    let report = grid(vec!["compare".to_owned(), path, root]).await;
    let report = report.expect("a report");
    if let Ok(path) = std::env::var("GRID_REPORT") {
        fs::write(path, format!("{report:#}")).expect("a file");
    }
    assert!(report["compared"].as_u64() >= Some(600), "{report:#}");
    for (syntax, least) in [
        ("1.2.840.10008.1.2.5", 100),
        ("1.2.840.10008.1.2.4.50", 30),
        ("1.2.840.10008.1.2.4.51", 6),
        ("1.2.840.10008.1.2.4.57", 180),
        ("1.2.840.10008.1.2.4.70", 50),
        ("1.2.840.10008.1.2.4.80", 30),
        ("1.2.840.10008.1.2.4.81", 30),
        ("1.2.840.10008.1.2.4.90", 30),
        ("1.2.840.10008.1.2.4.91", 20),
    ] {
        let compared = report["by_syntax"][syntax].as_u64();
        assert!(compared >= Some(least), "{syntax}: {report:#}");
    }
    for none in ["wrong", "refused", "unextended"] {
        assert!(list(&report, none).is_empty(), "{none}: {report:#}");
    }
}
