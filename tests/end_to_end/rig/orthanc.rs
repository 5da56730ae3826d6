//! Orthanc as a process, and the study that IHE publishes for MADO.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
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

use crate::rig::tools::{left_out, program};
use crate::rig::{Answer, open, request, sorted};

pub(crate) const STUDY: &str = "studies/1.2.250.1.59.40211.22756022.2.1.102";

pub(crate) const IMAGES: &str = "1.2.250.1.59.40211.22756022.2.2.102.201";

pub(crate) const KEY_OBJECTS: &str = "1.2.250.1.59.40211.22756022.2.2.102.202";

/// Where the Key Object Selection document says that the series are.
pub(crate) const OF_IMAGES: &str = "1.3.6.1.4.1.19376.1.1.202.1";

pub(crate) const OF_KEY_OBJECTS: &str = "1.3.6.1.4.1.19376.1.1.202.2";

pub(crate) fn identity(bytes: &Bytes) -> Identity {
    Identity::read(bytes)
        .expect("Part 10")
        .expect("an instance with its UIDs")
}

pub(crate) fn sop_instance(bytes: &Bytes) -> String {
    identity(bytes).sop_instance.to_string()
}

/// What the tests with Orthanc need: the program, its plugin, the published study.
pub(crate) struct Prerequisites {
    orthanc: PathBuf,
    plugin: PathBuf,
    data: PathBuf,
    archive: Vec<u8>,
    /// The files of the study.
    pub(crate) instances: Vec<Bytes>,
}

impl Prerequisites {
    /// `None` if something is missing; standard error names it.
    pub(crate) fn find() -> Option<Self> {
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

    pub(crate) fn an_image(&self) -> &Bytes {
        let is_image = |bytes: &&Bytes| identity(bytes).series.as_str() == IMAGES;
        self.instances.iter().find(is_image).expect("an image")
    }

    pub(crate) fn sorted_bytes(&self) -> Vec<Bytes> {
        sorted(self.instances.iter().cloned())
    }

    pub(crate) fn sop_instances(&self) -> BTreeSet<String> {
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

/// The paths of the requests to an Orthanc, read from its log.
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

    /// Asks its own interface.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Answer {
        let request = request(method, path, &[], self.address, body);
        open(self.address, request).await.read().await
    }

    /// A `[[location]]` that is this server; `key` is one more line of it.
    pub(crate) fn location(&self, key: &str) -> String {
        let address = self.address;
        format!(
            "[[location]]\nalias = {key:?}\nwado_rs_url = \"http://{address}/dicom-web/\"\n{key}\n"
        )
    }

    pub(crate) fn by_retrieve_url(&self) -> String {
        self.location(
            "retrieve_urls = [\"https://dicomserver.com/AET/rs/\", \"http://example.com/wado\"]",
        )
    }

    /// The paths of the requests in their order, without those of this rig.
    pub(crate) async fn requests(&self) -> Vec<String> {
        // Once this path is in the log, all earlier requests are.
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

/// The port that a process listens on, from `/proc`.
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
