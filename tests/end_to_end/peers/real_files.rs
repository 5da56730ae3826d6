//! pydicom, dcmtk and Orthanc read hundreds of real files as the gateway does.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::Rig;
use crate::rig::orthanc::Prerequisites;
use crate::rig::tools::{left_out, program, python};

/// Real files, a gateway in front of their folder, and a root for each of them.
struct Zoo {
    _rig: Rig,
    _directory: TempDir,
    folder: PathBuf,
    roots: PathBuf,
}

impl Zoo {
    async fn open() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().join("zoo");
        let prepared = folder.clone();
        let preparing = move || python("prepare.py", &[prepared.as_os_str()]);
        let preparing = tokio::task::spawn_blocking(preparing).await;
        let report = preparing.expect("it runs")?;
        assert!(report["files"].as_u64() >= Some(60), "{report}");
        let files = folder.join("files");
        let rig = Rig::start(&format!(
            "[[location]]\nretrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\n\
             retrieve_urls = [\"http://files.example/rs\"]\nfolder = {files:?}\n"
        ));
        let index = fs::read(folder.join("index.json")).expect("an index");
        let index: Vec<Value> = serde_json::from_slice(&index).expect("JSON");
        let mut roots = Vec::new();
        for file in &index {
            let manifest = file["manifest"].as_str().expect("a path");
            let manifest = fs::read(folder.join(manifest)).expect("a manifest");
            let answer = rig.post("/manifests", &[], manifest).await;
            // One of them has no UIDs that are any.
            roots.push(
                answer
                    .status
                    .is_success()
                    .then(|| answer.json()["links"]["dicomweb"].clone()),
            );
        }
        let listed = directory.path().join("roots.json");
        fs::write(&listed, serde_json::to_vec(&roots).expect("JSON")).expect("a file");
        Some(Self {
            _rig: rig,
            _directory: directory,
            folder,
            roots: listed,
        })
    }

    /// What a script finds, which finds no difference.
    async fn compared_by(&self, script: &'static str) -> Value {
        self.compared_with(script, None).await
    }

    /// The same of a script that asks another server too.
    async fn compared_with(&self, script: &'static str, server: Option<SocketAddr>) -> Value {
        let (folder, roots) = (self.folder.clone(), self.roots.clone());
        let server = server.map(|address| format!("http://{address}"));
        let comparing = move || {
            let mut arguments = vec![folder.as_os_str(), roots.as_os_str()];
            arguments.extend(server.as_ref().map(OsStr::new));
            python(script, &arguments)
        };
        let comparing = tokio::task::spawn_blocking(comparing).await;
        let report = comparing.expect("it runs").expect("a report");
        let differences = report["differences"].as_array().expect("a list");
        assert!(differences.is_empty(), "{report:#}");
        report
    }
}

/// Checks that only few files could not be compared.
fn left(report: &Value, most: usize) {
    let left = report["not_compared"].as_array().expect("a list");
    assert!(left.len() <= most, "{left:#?}");
}

#[tokio::test]
async fn pydicom_reads_the_same_in_every_file() {
    let Some(zoo) = Zoo::open().await else { return };
    let report = zoo.compared_by("compare.py").await;
    for (what, least) in [
        ("metadata", 100),
        ("elements", 5000),
        ("frames", 100),
        ("decoded", 60),
        ("rewritten", 60),
        ("transcoded", 50),
        ("rendered", 30),
        ("reports", 1),
        ("reported", 10),
    ] {
        assert!(report[what].as_u64() >= Some(least), "{what}: {report:#}");
    }
    left(&report, 15);
    let syntaxes = report["syntaxes"].as_array().expect("a list");
    assert!(syntaxes.len() >= 12, "{syntaxes:?}");
}

#[tokio::test]
async fn dcm2json_says_the_same_of_every_file() {
    if program("dcm2json").is_none() {
        return left_out("dcm2json", "there is no dcm2json on the path");
    }
    let Some(zoo) = Zoo::open().await else { return };
    let report = zoo.compared_by("dcm2json.py").await;
    for (what, least) in [("files", 200), ("elements", 10_000)] {
        assert!(report[what].as_u64() >= Some(least), "{what}: {report:#}");
    }
    // Most of these are in Japanese, which it does not read.
    left(&report, 10);
}

#[tokio::test]
async fn orthanc_answers_the_same_but_for_what_is_known() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let Some(zoo) = Zoo::open().await else { return };
    let orthanc = found.start();
    let report = zoo.compared_with("orthanc.py", Some(orthanc.address)).await;
    for (what, least) in [
        ("files", 200),
        ("equal", 10_000),
        ("frames", 100),
        ("searches", 200),
    ] {
        assert!(report[what].as_u64() >= Some(least), "{what}: {report:#}");
    }
    // What is known to differ is the exception.
    let known = report["known"].as_object().expect("some");
    let count: u64 = known.values().filter_map(Value::as_u64).sum();
    assert!(count < 1000, "{known:#?}");
    left(&report, 5);
}
