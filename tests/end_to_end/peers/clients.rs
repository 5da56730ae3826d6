//! Clients of the gateway: Orthanc as a DICOMweb client, dicomtrolley, wsidicom, highdicom, and 3D
//! Slicer's way of importing a study.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::rig::orthanc::{Orthanc, Prerequisites, STUDY};
use crate::rig::tools::python;

async fn told(orthanc: &Orthanc, method: Method, path: &str, body: Value) -> Value {
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let answer = orthanc.ask(method, path, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[tokio::test]
async fn orthanc_retrieves_a_study_from_the_gateway() {
    let Some(found) = Prerequisites::find() else {
        return;
    };
    let (source, client) = (found.loaded().await, found.start());
    let rig = Rig::start(&source.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let server = json!({ "Url": format!("http://{}{}", rig.public, manifest.root) });
    const SERVER: &str = "/dicom-web/servers/gateway";
    told(&client, Method::PUT, SERVER, server).await;

    let question = json!({ "Uri": "/studies" });
    let qido = format!("{SERVER}/qido");
    let studies = told(&client, Method::POST, &qido, question).await;
    let study = STUDY.trim_start_matches("studies/");
    assert_eq!(studies.as_array().map(Vec::len), Some(1), "{studies:#}");
    assert!(studies[0].to_string().contains(study), "{studies:#}");

    let resources = json!({ "Resources": [{ "Study": study }], "Synchronous": true });
    let retrieve = format!("{SERVER}/retrieve");
    told(&client, Method::POST, &retrieve, resources).await;
    let stored = told(&client, Method::GET, "/instances", Value::Null).await;
    let stored: Vec<&str> = stored
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(Value::as_str)
        .collect();
    assert_eq!(stored.len(), found.instances.len());
    let mut files = Vec::new();
    for id in stored {
        let path = format!("/instances/{id}/file");
        files.push(client.ask(Method::GET, &path, Bytes::new()).await.body);
    }
    // Orthanc asks without a transfer syntax, and stores what it gets.
    let uids = files.iter().map(crate::rig::orthanc::sop_instance);
    assert_eq!(
        uids.collect::<std::collections::BTreeSet<_>>(),
        found.sop_instances()
    );
    rig.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_in_python_get_a_study_as_their_documentation_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("kinds");
    let Some(made) = python("viewer_files.py", &[folder.as_os_str()]) else {
        return;
    };
    let files = folder.join("files");
    let rig = Rig::start(&format!(
        "[[location]]\nretrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\n\
         retrieve_urls = [\"http://files.example/rs\"]\nfolder = {files:?}\n"
    ));
    let document = std::fs::read(folder.join("manifest.json")).expect("a manifest");
    let manifest = rig.register(document).await;
    let links = manifest.summary["links"].clone();
    let downloads = directory.path().join("downloads");
    let asking = move || {
        let link = |name: &str| links[name].as_str().expect("a link").to_owned();
        let (root, wado_uri) = (link("dicomweb"), link("wado_uri"));
        let arguments = [root.as_ref(), wado_uri.as_ref(), downloads.as_os_str()];
        python("clients.py", &arguments).expect("python")
    };
    let report = tokio::task::spawn_blocking(asking).await.expect("it runs");
    let expected = json!({
        "instances": made["series"],
        "slicer": { "series": true, "instances": true },
        "dicomtrolley wado-rs": { "studies": 1, "all": true },
        "dicomtrolley wado-uri": { "studies": 1, "all": true },
        "wsidicom": { "size": [256, 256], "levels": 1, "colours": true },
        "highdicom": { "shape": [256, 256, 3], "equal": true },
    });
    assert_eq!(report, expected, "{report:#}");
}
