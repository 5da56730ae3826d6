//! Orthanc behind the gateway, with the study that IHE publishes for MADO.
//!
//! What these tests need is looked for: Orthanc in `$ORTHANC` or on the path, the study beside the
//! repository, dcmtk's `dcmdjpeg` on the path, a Python with dicomweb-client in
//! `$DICOMWEB_CLIENT_PYTHON`. What is missing is said, and fails when `CI` is set.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::read::DeflateDecoder;
use http::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use xcwado::dicom::part10::Identity;

use crate::peers::readers::python;
use crate::rig::study::{EXPLICIT, JPEG_LOSSLESS, Study, at};
use crate::rig::{AS_STORED, Answer, Registered, Rig, open, request, sorted};

pub(crate) const STUDY: &str = "studies/1.2.250.1.59.40211.22756022.2.1.102";
pub(crate) const IMAGES: &str = "1.2.250.1.59.40211.22756022.2.2.102.201";
pub(crate) const KEY_OBJECTS: &str = "1.2.250.1.59.40211.22756022.2.2.102.202";
/// Where the Key Object Selection document says that the series are.
pub(crate) const OF_IMAGES: &str = "1.3.6.1.4.1.19376.1.1.202.1";
pub(crate) const OF_KEY_OBJECTS: &str = "1.3.6.1.4.1.19376.1.1.202.2";

#[tokio::test]
async fn the_key_object_manifest_opens_the_study_out_of_two_servers() {
    let Some(found) = Found::look() else { return };
    let (images, key_objects) = (found.loaded().await, found.loaded().await);
    let rig = Rig::start(&format!(
        "{}{}",
        images.location(&format!("retrieve_location_uid = {OF_IMAGES:?}")),
        key_objects.location(&format!("retrieve_location_uid = {OF_KEY_OBJECTS:?}")),
    ));
    let manifest = rig.register(found.key_object_manifest()).await;
    assert_eq!(manifest.summary["instances"], 21);
    everything_comes_as_stored(&rig, &manifest, &found.instances).await;
    rig.stopped().await;

    // Each was asked for what it has, and below its DICOMweb root only.
    let of = |series: &str| format!("/dicom-web/{STUDY}/series/{series}");
    assert!(all_below(&images.requests().await, &of(IMAGES)));
    assert!(all_below(&key_objects.requests().await, &of(KEY_OBJECTS)));
}

#[tokio::test]
async fn the_key_object_manifest_opens_the_study_out_of_one_server_with_two_location_uids() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let location = |uid| orthanc.location(&format!("retrieve_location_uid = {uid:?}"));
    let rig = Rig::start(&(location(OF_IMAGES) + &location(OF_KEY_OBJECTS)));
    let manifest = rig.register(found.key_object_manifest()).await;
    everything_comes_as_stored(&rig, &manifest, &found.instances).await;
    rig.stopped().await;
}

#[tokio::test]
async fn the_fhir_manifest_opens_the_study_by_a_location_that_is_no_oid() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let location = orthanc.location("retrieve_location_uid = \"ACME\"");
    let rig = Rig::start(&format!(
        "[xc_wado]\nopaque_location_ids = true\n{location}"
    ));
    let manifest = rig.register(found.fhir_manifest()).await;
    assert_eq!(manifest.summary["instances"], 21);
    everything_comes_as_stored(&rig, &manifest, &found.instances).await;
    rig.stopped().await;
}

#[tokio::test]
async fn retrieve_urls_alone_open_the_study() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    for manifest in [found.key_object_manifest(), found.fhir_manifest()] {
        let manifest = rig.register(manifest).await;
        let answer = rig
            .get(&format!("{}{STUDY}", manifest.root), &[AS_STORED])
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.instances(), found.sorted_bytes());
    }
    rig.stopped().await;
}

#[tokio::test]
async fn without_a_transfer_syntax_everything_comes_in_explicit_vr_little_endian() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let answer = rig.get(&format!("{}{STUDY}", manifest.root), &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let parts = answer.parts();
    for part in &parts {
        let content_type = part.head.content_type().expect("a content type");
        assert!(content_type.contains(EXPLICIT), "{content_type}");
        assert_eq!(identity(&part.bytes).transfer_syntax.as_str(), EXPLICIT);
    }
    let given: Vec<_> = parts.iter().map(|part| sop_instance(&part.bytes)).collect();
    assert_eq!(given.len(), 21);
    assert_eq!(BTreeSet::from_iter(given), found.sop_instances());
    rig.stopped().await;

    // What is stored otherwise was decoded here: nothing was asked for twice.
    let syntaxes = found
        .instances
        .iter()
        .map(|bytes| identity(bytes).transfer_syntax);
    let mut syntaxes = syntaxes.filter(|syntax| syntax.as_str() == JPEG_LOSSLESS);
    assert!(syntaxes.next().is_some(), "there is something to decode");
    let requests = orthanc.requests().await;
    assert!(
        !requests.iter().any(|path| path.contains("/instances/")),
        "{requests:#?}"
    );
}

#[tokio::test]
async fn decoded_pixels_are_those_of_another_decoder() {
    let Some(found) = Found::look() else { return };
    let Some(decoder) = program("dcmdjpeg") else {
        return left_out("pixels against dcmtk", "there is no dcmdjpeg on the path");
    };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let image = found.an_image();
    let answer = rig
        .get(&format!("{}{}", manifest.root, path(image)), &[])
        .await;
    let given = &answer.parts()[0].bytes;

    let directory = tempfile::tempdir().expect("a directory");
    let (stored, decoded) = (directory.path().join("a"), directory.path().join("b"));
    fs::write(&stored, image).expect("written");
    let status = Command::new(decoder).arg(&stored).arg(&decoded).status();
    assert!(status.expect("dcmdjpeg runs").success());
    let expected = pixels(&fs::read(&decoded).expect("what dcmdjpeg wrote"));
    assert!(expected.len() > 100_000, "{}", expected.len());
    assert!(pixels(given) == expected, "the pixels differ");
    rig.stopped().await;
}

#[tokio::test]
async fn one_instance_comes_alone_when_that_is_asked_for() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let image = found.an_image();
    let accept = ("accept", "application/dicom; transfer-syntax=*");
    let answer = rig
        .get(&format!("{}{}", manifest.root, path(image)), &[accept])
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.is_whole());
    assert_eq!(
        answer.field("content-type"),
        format!("application/dicom; transfer-syntax={JPEG_LOSSLESS}")
    );
    assert_eq!(answer.body, image);
    let answer = rig
        .get(&format!("{}{STUDY}", manifest.root), &[accept])
        .await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    answer.problem();
    rig.stopped().await;
}

#[tokio::test]
async fn head_tells_what_get_would_give_without_giving_it() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let series = format!("{STUDY}/series/{IMAGES}");
    for path in [STUDY, &series, &path(found.an_image())] {
        let path = format!("{}{path}", manifest.root);
        let (head, get) = (
            rig.head(&path, &[AS_STORED]).await,
            rig.get(&path, &[AS_STORED]).await,
        );
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.is_whole() && head.body.is_empty());
        for name in ["content-location", "vary", "cache-control"] {
            assert_eq!(head.field(name), get.field(name));
        }
        // The boundary is another one each time.
        assert_eq!(before_boundary(&head), before_boundary(&get));
    }
    let elsewhere = format!("{}studies/2.25.1", manifest.root);
    let answer = rig.head(&elsewhere, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    rig.stopped().await;
}

#[tokio::test]
async fn a_path_that_climbs_never_reaches_the_server() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let (series, image) = (format!("{STUDY}/series/{IMAGES}"), path(found.an_image()));
    for hostile in [
        // Sent to Orthanc itself, many of these reach its REST API or another study.
        "studies/..%2f..%2fsystem".into(),
        "studies/%2e%2e/%2e%2e/system".into(),
        "studies/../../system".into(),
        "studies/..%5c..%5csystem".into(),
        "studies/%00".into(),
        "studies/%252e%252e%252f%252e%252e%252fsystem".into(),
        format!("{STUDY}%00x"),
        format!("{STUDY}%20"),
        format!("{STUDY}%2f..%2f2.25.1"),
        format!("{STUDY}%2fseries"),
        format!("{STUDY}%3fx=y"),
        format!("{series}/instances/%00"),
        format!("{series}/instances/..%2f..%2f..%2f..%2f..%2f..%2fstatistics"),
        format!("{series}/instances/../../../../../../statistics"),
        format!("{STUDY}/series/{KEY_OBJECTS}/../../../../system"),
        format!("{image}/../../../../../../../tools/shutdown"),
        format!("{image}/frames/1,1,1"),
        format!("{image}/rendered?viewport=0,0"),
        format!("{image}/bulk/../../../../../system"),
        "../../../../system".into(),
        "../../../../instances".into(),
    ] {
        let answer = rig
            .get(&format!("{}{hostile}", manifest.root), &[AS_STORED])
            .await;
        let refused = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
        assert!(refused.contains(&answer.status), "{hostile}: {answer:?}");
        answer.problem();
    }
    // Nothing of a query or of header fields goes to the server either.
    let asked = format!("{}{image}?x=..%2f..%2fsystem&limit=1", manifest.root);
    let fields = [
        AS_STORED,
        ("forwarded", "host=attacker.example"),
        ("x-forwarded-host", "x"),
    ];
    let answer = rig.get(&asked, &fields).await;
    assert_eq!(answer.instances(), std::slice::from_ref(found.an_image()));
    rig.stopped().await;

    let requests = orthanc.requests().await;
    assert_eq!(requests, [format!("/dicom-web/{image}")]);
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_never_looks_like_a_shorter_study() {
    let Some(found) = Found::look() else { return };
    let mut orthanc = found.start();
    // More than sockets and buffers on the way can hold.
    let study = Study::new(31).with_series(at(31), vec![(EXPLICIT, 8 << 20); 12]);
    for instance in study.instances() {
        orthanc.store(instance.bytes).await;
    }
    let uid = "retrieve_location_uid = \"1.3.6.1.4.1.99999.1.31\"";
    let rig = Rig::start(&orthanc.location(uid));
    let manifest = rig.register(study.fhir()).await;
    let path = format!("{}{}", manifest.root, study.path());

    let mut answer = rig.open(&path, &[AS_STORED]).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.read_at_least(1 << 20).await;
    orthanc.kill();
    let answer = answer.read().await;
    assert!(!answer.is_whole());
    let (parts, is_closed) = answer.split();
    assert!(!is_closed);
    let stored = study.bytes();
    assert!(parts.iter().all(|part| stored.contains(&part.bytes)));

    let answer = rig.get(&path, &[AS_STORED]).await;
    if answer.status == StatusCode::PARTIAL_CONTENT {
        // Some of it had arrived whole and is kept.
        assert!(answer.field("warning").contains("of 12 instances"));
        assert!(answer.instances().iter().all(|one| stored.contains(one)));
    } else {
        // It may be left alone for a while by now.
        let dead = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
        assert!(dead.contains(&answer.status), "{}", answer.status);
        let detail = answer.problem();
        assert!(!detail.contains(&orthanc.address.port().to_string()));
    }
    rig.stopped().await;
}

#[tokio::test]
async fn every_call_of_dicomweb_client_gets_what_it_asks_for() {
    let Some(found) = Found::look() else { return };
    let orthanc = found.loaded().await;
    let rig = Rig::start(&orthanc.by_retrieve_url());
    let manifest = rig.register(found.key_object_manifest()).await;
    let root = format!("http://{}{}", rig.public, manifest.root);
    let root = OsString::from(root.trim_end_matches('/'));
    let asking = move || python("client.py", &[&root]);
    let asked = tokio::task::spawn_blocking(asking).await;
    let Some(said) = asked.expect("it runs") else {
        return;
    };
    let expected = json!({
        "search_for_studies": { "all": 1, "by patient": 1, "by another": 0, "fuzzy": 1, "fields": 1 },
        "search_for_series": { "of the study": 2, "of all": 2, "CT": 1, "get_remaining": 2 },
        "search_for_instances": {
            "of the series": 20, "of the study": 21, "of all": 21,
            "limit and offset": 6, "get_remaining": 21, "counted": 20,
        },
        "retrieve_study": 21,
        "iter_study": 21,
        "retrieve_series": 20,
        "iter_series": 20,
        "retrieve_instance": true,
        "retrieve_instance, decoded": true,
        "the same pixels": true,
        "retrieve_study_metadata": 21,
        "retrieve_series_metadata": 20,
        "retrieve_instance_metadata": true,
        "retrieve_instance_frames": true,
        "iter_instance_frames": 1,
        "retrieve_instance_rendered": true,
        "retrieve_instance_rendered, with parameters": 64,
        "retrieve_series_rendered": true,
        "retrieve_instance_frames_rendered": true,
        "retrieve_bulkdata": true,
        "iter_bulkdata": 1,
        "a file": true,
    });
    assert_eq!(said, expected);
    rig.stopped().await;
}

/// Study, series and each instance: what comes is what the files hold, byte for byte.
async fn everything_comes_as_stored(rig: &Rig, manifest: &Registered, instances: &[Bytes]) {
    let retrieve = async |path: &str| {
        let path = format!("{}{path}", manifest.root);
        let answer = rig.get(&path, &[AS_STORED]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        answer.instances()
    };
    assert_eq!(retrieve(STUDY).await, sorted(instances.iter().cloned()));
    for (series, count) in [(IMAGES, 20), (KEY_OBJECTS, 1)] {
        let of_series = instances
            .iter()
            .filter(|bytes| identity(bytes).series.as_str() == series)
            .cloned();
        let expected = sorted(of_series);
        assert_eq!(expected.len(), count);
        assert_eq!(
            retrieve(&format!("{STUDY}/series/{series}")).await,
            expected
        );
    }
    for instance in instances {
        let given = retrieve(&path(instance)).await;
        assert_eq!(given, std::slice::from_ref(instance));
    }
}

fn all_below(requests: &[String], path: &str) -> bool {
    !requests.is_empty() && requests.iter().all(|request| request.starts_with(path))
}

fn before_boundary(answer: &Answer) -> &str {
    let (kind, _) = answer
        .field("content-type")
        .split_once("boundary=")
        .expect("multipart");
    kind
}

pub(crate) fn identity(bytes: &Bytes) -> Identity {
    Identity::read(bytes)
        .expect("Part 10")
        .expect("an instance with its UIDs")
}

fn sop_instance(bytes: &Bytes) -> String {
    identity(bytes).sop_instance.to_string()
}

/// The path of an instance below a DICOMweb root.
fn path(bytes: &Bytes) -> String {
    let identity = identity(bytes);
    format!(
        "studies/{}/series/{}/instances/{}",
        identity.study, identity.series, identity.sop_instance
    )
}

fn pixels(bytes: &[u8]) -> Vec<u8> {
    let file = dicom_object::OpenFileOptions::new()
        .from_reader(bytes)
        .expect("a DICOM file");
    let element = file.element_by_name("PixelData").expect("pixel data");
    element.to_bytes().expect("native pixels").into_owned()
}

/// What is there to test with.
pub(crate) struct Found {
    orthanc: PathBuf,
    plugin: PathBuf,
    data: PathBuf,
    archive: Vec<u8>,
    /// The files of the study.
    pub(crate) instances: Vec<Bytes>,
}

impl Found {
    /// `None` if something is missing, which has been said then.
    pub(crate) fn look() -> Option<Self> {
        const WHAT: &str = "Orthanc";
        let named = std::env::var_os("ORTHANC").map(PathBuf::from);
        let Some(orthanc) = named.or_else(|| program("Orthanc")) else {
            left_out(WHAT, "there is no Orthanc on the path");
            return None;
        };
        let Some(plugin) = dicomweb_plugin() else {
            left_out(WHAT, "its DICOMweb plugin is not installed");
            return None;
        };
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ihe-mado");
        let Ok(archive) = fs::read(data.join("Study_B.zip")) else {
            left_out(WHAT, "the published study is not beside the repository");
            return None;
        };
        let instances = unzip(&archive);
        assert_eq!(instances.len(), 21);
        Some(Self {
            orthanc,
            plugin,
            data,
            archive,
            instances,
        })
    }

    pub(crate) fn start(&self) -> Orthanc {
        Orthanc::start(&self.orthanc, &self.plugin)
    }

    /// An Orthanc that holds the study.
    pub(crate) async fn loaded(&self) -> Orthanc {
        let orthanc = self.start();
        orthanc.store(self.archive.clone()).await;
        orthanc
    }

    pub(crate) fn key_object_manifest(&self) -> Vec<u8> {
        self.manifest("MADO_KOS_B.dcm")
    }

    pub(crate) fn fhir_manifest(&self) -> Vec<u8> {
        self.manifest("study-b.fhir-manifest.json")
    }

    fn manifest(&self, name: &str) -> Vec<u8> {
        fs::read(self.data.join(name)).expect("the published manifest")
    }

    fn an_image(&self) -> &Bytes {
        let is_image = |bytes: &&Bytes| identity(bytes).series.as_str() == IMAGES;
        self.instances.iter().find(is_image).expect("an image")
    }

    pub(crate) fn sorted_bytes(&self) -> Vec<Bytes> {
        sorted(self.instances.iter().cloned())
    }

    fn sop_instances(&self) -> BTreeSet<String> {
        self.instances.iter().map(sop_instance).collect()
    }
}

/// An Orthanc of our own, killed when this is dropped.
pub(crate) struct Orthanc {
    process: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Log>,
    _directory: TempDir,
}

/// What was asked of an Orthanc, as its own log tells it.
#[derive(Default)]
struct Log {
    requests: Mutex<Vec<String>>,
    news: tokio::sync::Notify,
}

impl Orthanc {
    fn start(program: &Path, plugin: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let storage = directory.path().join("storage");
        let settings = json!({
            "StorageDirectory": &storage,
            "IndexDirectory": &storage,
            // Whichever is free.
            "HttpPort": 0,
            "DicomServerEnabled": false,
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "Plugins": [plugin],
            "DicomWeb": { "Enable": true, "Root": "/dicom-web/" },
        });
        let path = directory.path().join("orthanc.json");
        fs::write(&path, settings.to_string()).expect("written");
        let mut process = Command::new(program)
            .arg("--verbose")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Orthanc runs");
        let stderr = BufReader::new(process.stderr.take().expect("its log"));
        let mut orthanc = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: Arc::default(),
            _directory: directory,
        };
        let log = wait_until_started(stderr);
        let port = listening_port(orthanc.process.id());
        orthanc.address.set_port(port);
        let told = Arc::clone(&orthanc.log);
        std::thread::spawn(move || told.follow(log));
        orthanc
    }

    /// Loads an instance, or a ZIP archive of some.
    pub(crate) async fn store(&self, body: impl Into<Bytes>) {
        let answer = self.ask(Method::POST, "/instances", body.into()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Answer {
        let request = request(method, path, &[], self.address, body);
        open(self.address, request).await.read().await
    }

    /// A `[[location]]` that is this server; `key` says how it is meant.
    pub(crate) fn location(&self, key: &str) -> String {
        let address = self.address;
        format!(
            "[[location]]\nalias = {key:?}\nwado_rs_url = \"http://{address}/dicom-web/\"\n{key}\n"
        )
    }

    fn by_retrieve_url(&self) -> String {
        self.location(
            "retrieve_urls = [\"https://dicomserver.com/AET/rs/\", \"http://example.com/wado\"]",
        )
    }

    /// The paths that were asked for, in their order, but for our own.
    pub(crate) async fn requests(&self) -> Vec<String> {
        // When this is in the log, everything before it is.
        const MARK: &str = "/tools/now";
        self.ask(Method::GET, MARK, Bytes::new()).await;
        loop {
            let news = self.log.news.notified();
            let mut requests = self.log.requests.lock().expect("no panic").clone();
            if requests.last().is_some_and(|last| last == MARK) {
                requests.retain(|path| path != MARK && path != "/instances");
                return requests;
            }
            news.await;
        }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Log {
    fn follow(&self, log: impl BufRead) {
        for line in log.lines().map_while(Result::ok) {
            // "… HttpServer.cpp:1259] (http) GET /dicom-web/studies"
            let Some((_, request)) = line.split_once("] (http) ") else {
                continue;
            };
            if let Some((_method, path)) = request.split_once(" /") {
                let path = format!("/{}", path.trim_end());
                self.requests.lock().expect("no panic").push(path);
                self.news.notify_one();
            }
        }
    }
}

fn wait_until_started(mut log: BufReader<ChildStderr>) -> BufReader<ChildStderr> {
    let mut said = String::new();
    loop {
        let before = said.len();
        let count = log.read_line(&mut said).expect("a log");
        assert!(count > 0, "Orthanc does not start:\n{said}");
        if said[before..].contains("Orthanc has started") {
            return log;
        }
    }
}

/// The port that a process listens on, from what Linux tells of it.
fn listening_port(process: u32) -> u16 {
    const LISTENING: &str = "0A";
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
    let sockets: BTreeSet<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| {
            let socket = target.to_str()?.strip_prefix("socket:[")?;
            Some(socket.trim_end_matches(']').to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("its sockets");
    table
        .lines()
        .skip(1)
        .find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_its_own = fields[3] == LISTENING && sockets.contains(fields[9]);
            let (_, port) = fields[1].split_once(':')?;
            is_its_own.then(|| u16::from_str_radix(port, 16).expect("a port"))
        })
        .expect("a listening socket")
}

fn dicomweb_plugin() -> Option<PathBuf> {
    let folders = ["/usr/share/orthanc/plugins", "/usr/lib/orthanc"];
    folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libOrthancDicomWeb.so")
        })
}

pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Says that a test is left out; with `CI` set that is a failure.
pub(crate) fn left_out(what: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}: {why}");
    // Not by a macro, whose output the test runner keeps to itself.
    writeln!(std::io::stderr(), "left out: {what}: {why}").expect("standard error");
}

/// The files in a ZIP archive (APPNOTE 4.3), which is well formed.
fn unzip(archive: &[u8]) -> Vec<Bytes> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([archive[at], archive[at + 1]]));
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    let end = archive
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .expect("an end of the directory");
    let (count, mut entry) = (u16_at(end + 10), u32_at(end + 16));
    let mut files = Vec::new();
    for _ in 0..count {
        let (method, packed) = (u16_at(entry + 10), u32_at(entry + 20));
        let header = u32_at(entry + 42);
        let start = header + 30 + u16_at(header + 26) + u16_at(header + 28);
        let content = &archive[start..start + packed];
        let mut file = Vec::new();
        match method {
            0 => file.extend(content),
            8 => {
                let mut inflated = DeflateDecoder::new(content);
                inflated.read_to_end(&mut file).expect("deflated content");
            }
            other => panic!("compression method {other}"),
        }
        if !file.is_empty() {
            files.push(file.into());
        }
        entry += 46 + u16_at(entry + 28) + u16_at(entry + 30) + u16_at(entry + 32);
    }
    files
}
