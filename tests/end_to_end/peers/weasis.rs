//! Weasis: its manifest, by its schema, and a loader that builds the addresses that three of its
//! versions build.

use std::ffi::OsStr;

use serde_json::Value;

use super::viewers::{Demo, fetch};
use crate::rig::Rig;
use crate::rig::origin::Origin;
use crate::rig::study::{EXPLICIT, JPEG_2000, Study, at};
use crate::rig::tools::python;

const VERSIONS: [&str; 3] = ["4.2", "4.5", "4.7"];

/// What a version of Weasis does with a manifest, and the folder with what it has loaded.
fn load(manifest: &str, version: &str, more: &[&str]) -> Option<(Value, tempfile::TempDir)> {
    let folder = tempfile::tempdir().expect("a directory");
    let mut arguments = vec![
        OsStr::new(manifest),
        OsStr::new(version),
        folder.path().as_os_str(),
    ];
    arguments.extend(more.iter().map(OsStr::new));
    let report = python("weasis.py", &arguments)?;
    let nothing = serde_json::json!([]);
    assert_eq!(report["problems"], nothing, "{version}: {report:#}");
    assert_eq!(report["failed"], nothing, "{version}: {report:#}");
    assert_eq!(report["loaded"], report["instances"], "{version}");
    Some((report, folder))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_of_weasis_loads_every_instance_as_it_is_stored() {
    let study = Study::new(1)
        .with(9, at(10))
        .with_series(at(10), vec![(EXPLICIT, 500), (JPEG_2000, 700)]);
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&origin.location(10));
    let manifest = rig.register(study.fhir()).await;
    let url = format!(
        "http://{}/manifests/{}/viewers/weasis.xml",
        rig.public, manifest.id
    );
    for version in VERSIONS {
        let asked = url.clone();
        let loading = tokio::task::spawn_blocking(move || load(&asked, version, &[]));
        let Some((report, folder)) = loading.await.expect("it runs") else {
            return;
        };
        assert_eq!(report["instances"], 11, "{version}: {report:#}");
        for instance in study.instances() {
            let loaded = std::fs::read(folder.path().join(&instance.uid)).expect("a file");
            assert_eq!(loaded, instance.bytes, "{version}");
        }
    }
}

#[test]
fn weasis_loads_the_demonstration_and_previews_of_it() {
    let demo = Demo::start();
    let manifest = demo.root.trim_end_matches("/dicomweb");
    let instances = fetch(manifest)["instances"].clone();
    assert!(instances.as_u64() > Some(100), "{instances}");
    let url = format!("{manifest}/viewers/weasis.xml");
    for version in VERSIONS {
        let Some((report, _folder)) = load(&url, version, &[]) else {
            return;
        };
        assert_eq!(report["instances"], instances, "{version}: {report:#}");
        // Without direct files it asks the root itself, by WADO-URI.
        let more = ["--without-direct-files"];
        let (report, _folder) = load(&url, version, &more).expect("python");
        assert_eq!(report["instances"], instances, "{version}: {report:#}");
        assert_eq!(report["previews"], report["series"], "{version}");
        let address = report["addresses"][0].as_str().expect("one");
        let root = format!("{}?requestType=WADO&", demo.root);
        assert!(address.starts_with(&root), "{address}");
    }
}
