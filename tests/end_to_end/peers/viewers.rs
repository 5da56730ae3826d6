//! Viewers in a browser: cross-origin requests, hand-offs, and OHIF itself.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::rig::origin::Origin;
use crate::rig::study::{Study, at};
use crate::rig::tools::left_out;
use crate::rig::{Registered, Rig};

async fn rig(settings: &str) -> (Rig, Registered, Study, Origin) {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!("{settings}{}", origin.location(10)));
    let manifest = rig.register(study.fhir()).await;
    (rig, manifest, study, origin)
}

const CORS: &str = "[cors]\norigins = [\"https://viewer.example\"]\n";

#[tokio::test]
async fn browsers_of_named_origins_may_read_and_others_may_not() {
    let (rig, manifest, study, _origin) = rig(CORS).await;
    let path = format!("{}{}", manifest.root, study.path());
    let preflight = [
        ("origin", "https://viewer.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "accept,range"),
    ];
    let answer = rig
        .ask(Method::OPTIONS, &path, &preflight, Bytes::new())
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(
        answer.field("access-control-allow-origin"),
        "https://viewer.example"
    );
    assert!(
        answer
            .field("access-control-allow-headers")
            .contains("range")
    );
    assert!(!answer.field("access-control-max-age").is_empty());
    let answer = rig.get(&path, &preflight[..1]).await;
    assert_eq!(
        answer.field("access-control-allow-origin"),
        "https://viewer.example"
    );
    let exposed = answer.field("access-control-expose-headers");
    for name in [
        "content-type",
        "content-location",
        "content-range",
        "warning",
        "retry-after",
    ] {
        assert!(exposed.contains(name), "{name}: {exposed}");
    }
    assert!(
        !answer
            .headers
            .contains_key("access-control-allow-credentials")
    );
    // An error can be read too, or a viewer could not say what is wrong.
    let missing = rig.get("/manifests/x", &preflight[..1]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.headers.contains_key("access-control-allow-origin"));
    let other = [("origin", "https://evil.example"), preflight[1]];
    for method in [Method::OPTIONS, Method::GET] {
        let answer = rig.ask(method, &path, &other, Bytes::new()).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        assert!(!answer.headers.contains_key("access-control-allow-headers"));
    }
}

#[tokio::test]
async fn a_root_tells_what_it_can() {
    let (rig, manifest, _study, _origin) = rig("").await;
    let root = manifest.root.trim_end_matches('/');
    for path in [root.to_owned(), format!("{root}/")] {
        let answer = rig.ask(Method::OPTIONS, &path, &[], Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.field("content-type"), "application/vnd.sun.wadl+xml");
        assert!(answer.text().contains("studies/{study}/metadata"));
        let json = [("accept", "application/json")];
        for method in [Method::OPTIONS, Method::GET] {
            let answer = rig.ask(method, &path, &json, Bytes::new()).await;
            assert_eq!(answer.field("allow"), "GET, HEAD, OPTIONS");
            let told = answer.json();
            let paths = told["resources"].as_array().expect("a list");
            assert!(paths.len() > 20, "{told:#}");
        }
        // A browser that somebody points at a root.
        let answer = rig.get(&path, &[("accept", "text/html,*/*;q=0.8")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.field("content-type"), "application/vnd.sun.wadl+xml");
        let answer = rig.ask(Method::HEAD, &path, &[], Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.body.is_empty());
        let answer = rig.ask(Method::DELETE, &path, &[], Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let answer = rig
        .ask(
            Method::OPTIONS,
            &format!("{root}/studies"),
            &[],
            Bytes::new(),
        )
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.field("allow"), "GET, HEAD");
    let nobody = format!("/manifests/{}/dicomweb", "0".repeat(32));
    for method in [Method::OPTIONS, Method::GET] {
        let answer = rig.ask(method, &nobody, &[], Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    // The root over all manifests too.
    let answer = rig.get("/dicomweb", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_root_answers_wado_uri_as_the_address_beside_it_does() {
    let (rig, manifest, study, _origin) = rig("").await;
    let instance = &study.instances()[0];
    let query = format!(
        "studyUID={}&seriesUID={}&objectUID={}&contentType=application%2Fdicom&transferSyntax=*",
        instance.study, instance.series, instance.uid
    );
    let root = manifest.root.trim_end_matches('/');
    let manifest = root.trim_end_matches("/dicomweb");
    let roots = [
        root.to_owned(),
        format!("{root}/"),
        format!("{root}/wado"),
        format!("{manifest}/wado"),
        "/dicomweb".to_owned(),
        "/dicomweb/wado".to_owned(),
    ];
    for path in &roots {
        for request in ["requestType=WADO", "REQUESTTYPE=wado"] {
            let path = format!("{path}?{request}&{query}");
            let answer = rig.get(&path, &[("accept", "text/html")]).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            let media_type = answer.field("content-type");
            assert!(media_type.starts_with("application/dicom;"), "{media_type}");
            assert_eq!(answer.body, instance.bytes);
        }
        let answer = rig.get(&format!("{path}?requestType=WADO"), &[]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let strange = query.replace(&instance.uid, "1.2.3.4");
        let path = format!("{path}?requestType=WADO&{strange}");
        assert_eq!(rig.get(&path, &[]).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn hand_offs_lead_to_the_root_of_the_manifest() {
    let settings = "[viewers]\nohif_url = \"https://ohif.example\"\n\
                    invoke_image_display_url = \"https://iid.example/display\"\n";
    let (rig, manifest, study, _origin) = rig(settings).await;
    let base = format!("/manifests/{}/viewers", manifest.id);
    let viewers = rig.get(&base, &[]).await.json();
    let open = viewers["ohif"]["open"].as_str().expect("a link");
    assert!(
        open.starts_with(&format!(
            "https://ohif.example/viewer/dicomwebproxy?studyInstanceUIDs={}&url=http%3A",
            study.uid
        )),
        "{open}"
    );
    let display = viewers["invoke_image_display"].as_str().expect("a link");
    assert_eq!(
        display,
        format!(
            "https://iid.example/display?requestType=STUDY&studyUID={}",
            study.uid
        )
    );
    let needs = viewers["needs"]["invoke_image_display"].as_str();
    let needs = needs.expect("a text");
    assert!(needs.contains(&manifest.root.trim_end_matches('/').to_owned()));
    assert!(
        needs.contains("viewers.invoke_image_display_url"),
        "{needs}"
    );
    let links = &rig
        .get(&format!("/manifests/{}", manifest.id), &[])
        .await
        .json()["links"];
    let listed = &rig.get("/manifests", &[]).await.json()["manifests"][0]["links"];
    assert_eq!(links, listed);
    for (name, path) in [
        ("viewers", "viewers"),
        ("wado_uri", "wado"),
        ("dicomweb", "dicomweb"),
    ] {
        let url = format!("http://{}/manifests/{}/{path}", rig.public, manifest.id);
        assert_eq!(links[name], Value::from(url), "{links}");
    }
    let proxy = rig
        .get(&format!("{base}/ohif-dicomwebproxy.json"), &[])
        .await
        .json();
    let server = &proxy["servers"]["dicomWeb"][0];
    let root = format!(
        "http://{}{}",
        rig.public,
        manifest.root.trim_end_matches('/')
    );
    assert_eq!(server["wadoRoot"], Value::from(root.as_str()));
    let json = rig
        .get(&format!("{base}/ohif-dicomjson.json"), &[])
        .await
        .json();
    let instances = &json["studies"][0]["series"][0]["instances"];
    assert_eq!(instances.as_array().map(Vec::len), Some(2));
    let url = instances[0]["url"].as_str().expect("a link");
    assert!(
        url.starts_with(&format!("dicomweb:{root}/studies/")),
        "{url}"
    );
    let path = &url[url.find("/manifests").expect("a path")..];
    assert_eq!(&rig.get(path, &[]).await.body[128..132], b"DICM");
    let weasis = rig.get(&format!("{base}/weasis.xml"), &[]).await;
    assert_eq!(weasis.field("content-type"), "application/xml");
    let text = weasis.text();
    assert!(text.contains(&format!("baseUrl=\"{root}\"")), "{text}");
    assert!(text.contains(&format!("SeriesInstanceUID=\"{}\"", study.series[0].uid)));
    // Weasis' schema wants every series to list its instances.
    for instance in instances.as_array().expect("a list") {
        let uid = instance["metadata"]["SOPInstanceUID"]
            .as_str()
            .expect("one");
        assert!(
            text.contains(&format!("<Instance SOPInstanceUID=\"{uid}\"")),
            "{text}"
        );
    }
    assert_eq!(text.matches("<Instance ").count(), 2);
}

/// OHIF and the browser that opens it.
pub(super) struct Ohif {
    pub(super) dist: PathBuf,
    pub(super) playwright: PathBuf,
}

impl Ohif {
    /// `None` if something is missing; standard error names it.
    pub(super) fn find() -> Option<Self> {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let (Some(dist), Some(playwright)) = (path("OHIF_DIST"), path("PLAYWRIGHT")) else {
            left_out(
                "OHIF",
                "OHIF_DIST and PLAYWRIGHT are not set; tests/run sets them",
            );
            return None;
        };
        Some(Self { dist, playwright })
    }

    /// Opens a study, and reports what the browser shows.
    fn view(&self, root: &str, name: &str, options: &[&str]) -> Value {
        self.run("view.mjs", root, name, options)
    }

    /// What a script of `tests/ohif` reports; its pictures are in `target/screenshots`.
    pub(super) fn run(&self, script: &str, root: &str, name: &str, options: &[&str]) -> Value {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shots = here.join("target/screenshots").join(name);
        let output = Command::new("node")
            .arg(here.join("tests/ohif").join(script))
            .args([self.dist.as_os_str(), OsStr::new(root), shots.as_os_str()])
            .args(options)
            .env("PLAYWRIGHT", &self.playwright)
            .output()
            .expect("node runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The demonstration: two communities, between them nothing but *Get Instances* over XC-WADO.
pub(super) struct Demo {
    child: Child,
    pub(super) root: String,
    /// The link that opens the protected manifest.
    link: String,
    manifest: PathBuf,
}

impl Demo {
    pub(super) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xcwado"))
            .args(["demo", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut manifest = None;
        let root = lines.find_map(|line| {
            let line = line.expect("text");
            if let Some(path) = line.trim().strip_suffix("(Key Object Selection)") {
                manifest = Some(PathBuf::from(path.trim()));
            }
            let root = line.strip_prefix("DICOMweb root for viewers:")?;
            Some(root.trim().to_owned())
        });
        let link = lines.find_map(|line| {
            let line = line.expect("text");
            let link = line.trim().strip_suffix("(the link that opens it)")?;
            Some(link.trim().to_owned())
        });
        let root = root.expect("a root");
        let manifest = manifest.expect("a manifest");
        // What else it prints is of no interest, but must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            root,
            link: link.expect("a link"),
            manifest,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.child.wait();
    }
}

pub(super) fn fetch(url: &str) -> Value {
    let output = Command::new("curl")
        .args(["-sS", "--fail", "--noproxy", "*", url])
        .output()
        .expect("curl runs");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What a person would have seen: pictures, every slice, nothing red.
pub(super) fn all_is_drawn(seen: &Value, series: &[(&str, u64)]) {
    assert_eq!(seen["failed"], serde_json::json!([]), "{seen:#}");
    assert_eq!(seen["errors"], serde_json::json!([]), "{seen:#}");
    let listed = seen["series"].as_array().expect("a list");
    assert_eq!(listed.len(), series.len(), "{seen:#}");
    for (at, (name, slices)) in series.iter().enumerate() {
        assert!(
            listed[at].as_str().is_some_and(|text| text.contains(name)),
            "{seen:#}"
        );
        let shown = &seen["shown"][at];
        assert_eq!(shown["slices"], *slices, "{seen:#}");
        let levels = shown["middle"]["levels"].as_u64().expect("a number");
        assert!(levels > 100, "{seen:#}");
        if *slices > 1 {
            assert_eq!(shown["end"], format!("{slices}/{slices}"), "{seen:#}");
            assert_ne!(shown["last"]["sum"], shown["middle"]["sum"], "{seen:#}");
        }
    }
    let thumbnails = seen["thumbnails"].as_array().expect("a list");
    assert!(
        thumbnails.iter().all(|width| width.as_u64() > Some(32)),
        "{seen:#}"
    );
}

const AXIAL: (&str, u64) = ("Axial", 64);
const CORONAL: (&str, u64) = ("Coronal", 48);
const COLOUR: (&str, u64) = ("Three views", 1);

#[test]
fn ohif_draws_a_study_of_two_communities() {
    let Some(ohif) = Ohif::find() else { return };
    let demo = Demo::start();
    let study = fetch(&format!("{}/studies", demo.root));
    let study = study[0]["0020000D"]["Value"][0]
        .as_str()
        .expect("a study")
        .to_owned();
    let seen = ohif.view(
        &demo.root,
        "dicomweb",
        &["--study", &study, "--series", "3"],
    );
    all_is_drawn(&seen, &[AXIAL, CORONAL, COLOUR]);
    let gateway = demo.root.split("/manifests").next().expect("a gateway");
    let everything = format!("{gateway}/dicomweb");
    let options = ["--study", &study, "--series", "3"];
    let seen = ohif.view(&everything, "everything", &options);
    all_is_drawn(&seen, &[AXIAL, CORONAL, COLOUR]);
    let manifest = demo.root.trim_end_matches("/dicomweb");
    let proxy = format!("{manifest}/viewers/ohif-dicomwebproxy.json");
    let options = ["--study", &study, "--series", "3", "--proxy", &proxy];
    let seen = ohif.view(&demo.root, "dicomwebproxy", &options);
    all_is_drawn(&seen, &[AXIAL, CORONAL, COLOUR]);
    let json = format!("{manifest}/viewers/ohif-dicomjson.json");
    let options = ["--study", &study, "--series", "3", "--json", &json];
    let seen = ohif.view(&demo.root, "dicomjson", &options);
    all_is_drawn(&seen, &[AXIAL, CORONAL, COLOUR]);
}

/// Without any configuration: neither pictures nor metadata need a header field.
#[test]
fn ohif_opens_a_protected_manifest_by_its_link() {
    let Some(ohif) = Ohif::find() else { return };
    let demo = Demo::start();
    let root = format!("{}/dicomweb", demo.link);
    let study = fetch(&format!("{root}/studies"));
    let study = study[0]["0020000D"]["Value"][0].as_str().expect("a study");
    let study = study.to_owned();
    let proxy = format!("{}/viewers/ohif-dicomwebproxy.json", demo.link);
    let options = ["--study", &study, "--series", "3", "--proxy", &proxy];
    let seen = ohif.view(&root, "link", &options);
    all_is_drawn(&seen, &[AXIAL, CORONAL, COLOUR]);
}

#[test]
fn ohif_lists_only_the_series_that_were_selected() {
    let Some(ohif) = Ohif::find() else { return };
    let demo = Demo::start();
    let series = fetch(&format!("{}/series", demo.root));
    let uid = |at: usize, tag: &str| {
        series[at][tag]["Value"][0]
            .as_str()
            .expect("a uid")
            .to_owned()
    };
    let gateway = demo.root.split("/manifests").next().expect("a gateway");
    // One series of each community.
    let [first, second] = [uid(0, "0020000E"), uid(1, "0020000E")];
    let url =
        format!("{gateway}/manifests?homeCommunityId=1.3.6.1.4.1.99999.2&series={first},{second}");
    let output = Command::new("curl")
        .args(["-sS", "--fail", "--noproxy", "*", "--data-binary"])
        .arg(format!("@{}", demo.manifest.display()))
        .args(["-H", "Content-Type: application/dicom", &url])
        .output()
        .expect("curl runs");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let root = summary["links"]["dicomweb"].as_str().expect("a root");
    let seen = ohif.view(
        root,
        "selected",
        &["--study", &uid(0, "0020000D"), "--series", "2"],
    );
    all_is_drawn(&seen, &[AXIAL, CORONAL]);
}

#[test]
fn dwv_draws_instances_and_series_by_wado_rs_and_wado_uri() {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(modules), Some(playwright)) = (path("DWV"), path("PLAYWRIGHT")) else {
        left_out("dwv", "DWV and PLAYWRIGHT are not set; tests/run sets them");
        return;
    };
    let demo = Demo::start();
    let listed = fetch(&format!("{}/instances", demo.root));
    let uid = |tag: &str| listed[30][tag]["Value"][0].as_str().expect("a uid");
    let instance = uid("00081190");
    let (series, _) = instance.split_once("/instances").expect("a series");
    let manifest = demo.root.trim_end_matches("/dicomweb");
    let wado_uri = format!(
        "{manifest}/wado?requestType=WADO&studyUID={}&seriesUID={}&objectUID={}\
         &contentType=application/dicom&transferSyntax=*",
        uid("0020000D"),
        uid("0020000E"),
        uid("00080018")
    );
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, url) in [
        ("instance", instance),
        ("series", series),
        ("wado-uri", &wado_uri),
    ] {
        let shot = here.join(format!("target/screenshots/dwv-{name}.png"));
        let output = Command::new("node")
            .arg(here.join("tests/ohif/dwv.mjs"))
            .args([modules.as_os_str(), shot.as_os_str(), OsStr::new(url)])
            .env("PLAYWRIGHT", &playwright)
            .output()
            .expect("node runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let seen: Value = serde_json::from_str(text.trim()).unwrap_or_default();
        assert_eq!(seen["errors"], serde_json::json!([]), "{name}: {output:?}");
        assert_eq!(seen["events"][0][0], "load", "{name}: {seen:#}");
        assert!(seen["levels"].as_u64() > Some(50), "{name}: {seen:#}");
    }
}
