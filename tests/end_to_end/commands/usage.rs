//! The program on the command line.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::rig::origin::{End, Framing, Gate, Origin, Reply, honest};
use crate::rig::study::{PATIENT_ID, Study, at, location_uid};
use crate::rig::{AS_STORED, Answer, Rig, open, request};

const PROGRAM: &str = env!("CARGO_BIN_EXE_xcwado");

fn command<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("RUST_BACKTRACE");
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    outcome(&command(arguments).output().expect("the program runs"))
}

fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it was not killed");
    (code, text(&output.stdout), text(&output.stderr))
}

fn file(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("written");
    path.to_str().expect("text").to_owned()
}

/// A program that runs in the background, and is ended with this.
struct Running {
    child: Child,
    /// Lines that it prints, as far as they were read.
    lines: BufReader<Box<dyn Read + Send>>,
}

impl Running {
    fn on_stdout(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let output = child.stdout.take().expect("its output");
        Self {
            child,
            lines: BufReader::new(Box::new(output)),
        }
    }

    fn on_stderr(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let output = child.stderr.take().expect("its output");
        Self {
            child,
            lines: BufReader::new(Box::new(output)),
        }
    }

    /// Everything that it prints, up to a line that holds `last`.
    fn until(&mut self, last: &str) -> String {
        let mut read = String::new();
        while !read.contains(last) {
            let length = self.lines.read_line(&mut read).expect("text");
            assert_ne!(length, 0, "it ended: {read}");
        }
        read
    }

    /// Sends it a signal, and gives its exit code and what else it prints.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill");
        assert!(sent.success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["serve", "--colour"],
        &["manifest"],
        &["fetch"],
        &["fetch", "x"],
    ] {
        let (code, _, errors) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(errors.contains("Usage"), "{errors}");
    }
    for arguments in [
        &["check", "--config", "/nowhere.toml"][..],
        &["manifest", "show", "/nowhere"],
    ] {
        let (code, output, errors) = run(arguments);
        assert_eq!((code, output.as_str()), (1, ""), "{arguments:?}");
        assert!(errors.contains("/nowhere"), "{errors}");
    }
}

#[test]
fn the_help_of_every_command_has_an_example() {
    for arguments in [
        &["serve"][..],
        &["demo"],
        &["check"],
        &["manifest", "show"],
        &["fetch"],
    ] {
        let (code, output, _) = run(&[arguments, &["--help"]].concat());
        assert_eq!(code, 0, "{arguments:?}");
        assert!(output.contains("Example"), "{output}");
        assert!(
            output.contains(&format!("xcwado {}", arguments.join(" "))),
            "{output}"
        );
    }
}

#[test]
fn every_problem_of_the_settings_is_told_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = file(
        &directory,
        "config.toml",
        "public_url = \"ftp://x/\"\ncolour = \"blue\"\n[listen]\naddress = \"nowhere\"\ndrain_seconds = \"soon\"\n\
         [[location]]\nretrieve_location_uid = 5\nfolder = \"x\"\nhttp.conect_seconds = 1\n",
    );
    for name in ["serve", "check"] {
        let (code, output, errors) = run(&[name, "--config", &config]);
        assert_eq!((code, output.as_str()), (1, ""));
        for expected in [
            "home_community_id",
            "public_url",
            "colour",
            "listen.address",
            "listen.drain_seconds",
            "location[0].retrieve_location_uid",
            "location[0].http.conect_seconds",
        ] {
            assert!(errors.contains(expected), "{expected} in {errors}");
        }
    }
    let config = file(
        &directory,
        "locations.toml",
        "home_community_id = \"1.2\"\ncolour = \"blue\"\n\
         [[location]]\nretrieve_location_uid = 5\n\
         [[location]]\nretrieve_location_uid = \"1.2.3\"\nfolder = \"missing\"\n\
         [[location]]\nretrieve_location_uid = \"1.2.3\"\nwado_rs_url = \"ftp://x/\"\n\
         [[location]]\nretrieve_location_uid = \"ACME\"\nwado_rs_url = \"http://127.0.0.1:1/\"\nhttp.authorities = \"missing.pem\"\n\
         [[location]]\n",
    );
    for name in ["serve", "check"] {
        let (code, _, errors) = run(&[name, "--config", &config]);
        assert_eq!(code, 1);
        for expected in [
            "colour",
            "location[0].retrieve_location_uid",
            "location[1].folder",
            "location[2].retrieve_location_uid",
            "location[2].wado_rs_url",
            "location[3].retrieve_location_uid",
            "location[3].http",
            "missing.pem",
            "location[4]",
        ] {
            assert!(errors.contains(expected), "{expected} in {errors}");
        }
    }
}

#[tokio::test]
async fn check_tries_every_source() {
    let study = Study::new(1).with(2, at(10));
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("images");
    fs::create_dir(&folder).expect("created");
    study.write(0, &folder);
    let origin = Origin::of(&study).await;
    let head =
        "home_community_id = \"1.2.3\"\n[[location]]\nalias = \"archive\"\nfolder = \"images\"\n";
    let fine = file(
        &directory,
        "fine.toml",
        format!("{head}{}", origin.location(10)),
    );
    let (code, output, errors) = outcome(&run_beside(&["check", "--config", &fine]).await);
    assert_eq!((code, errors.as_str()), (0, ""));
    for expected in [
        "archive",
        "folder",
        "ok, 2 instances",
        "origin-10",
        "wado-rs",
        &origin.url(),
    ] {
        assert!(output.contains(expected), "{expected} in {output}");
    }
    let failing = Origin::start(|_asked| Reply::status(500)).await;
    let bad = file(
        &directory,
        "bad.toml",
        format!("{head}{}", failing.location(10)),
    );
    let (code, output, errors) = outcome(&run_beside(&["check", "--config", &bad]).await);
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("500") && errors.contains('1'),
        "{output} {errors}"
    );
}

#[tokio::test]
async fn check_tries_every_address_of_a_source() {
    let study = Study::new(1).with(1, at(10));
    let (fine, failing) = (
        Origin::of(&study).await,
        Origin::start(|_asked| Reply::status(500)).await,
    );
    let more = format!("more_wado_rs_urls = [{:?}]\n[location.http]", failing.url());
    let location = fine.location(10).replace("[location.http]", &more);
    let directory = tempfile::tempdir().expect("a directory");
    let settings = format!("home_community_id = \"1.2.3\"\n{location}");
    let config = file(&directory, "config.toml", settings);
    let (code, output, errors) = outcome(&run_beside(&["check", "--config", &config]).await);
    assert_eq!(code, 1, "{output} {errors}");
    let row = |origin: &Origin| output.lines().find(|line| line.contains(&origin.url()));
    assert!(row(&fine).expect("a row").contains("ok"), "{output}");
    assert!(row(&failing).expect("a row").contains("500"), "{output}");
}

/// Runs the program while servers of this test answer it.
async fn run_beside(arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    let running = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
    running.await.expect("no panic")
}

#[test]
fn a_manifest_is_shown_as_a_table_and_as_json() {
    let directory = tempfile::tempdir().expect("a directory");
    let study = Study::new(6).with(3, at(10)).with(1, vec![]);
    for (name, bytes, format) in [
        ("m.dcm", study.kos(), "Kos"),
        ("m.json", study.fhir(), "FhirR4"),
    ] {
        let manifest = file(&directory, name, bytes);
        let (code, output, errors) = run(&["manifest", "show", &manifest]);
        assert_eq!(code, 0, "{errors}");
        for expected in [
            &study.uid,
            &study.series[1].uid,
            &location_uid(10),
            "2 series, 4 instances",
        ] {
            assert!(output.contains(expected), "{expected} in {output}");
        }
        assert!(
            errors.contains("warning: ") && errors.contains(&study.series[1].uid),
            "{errors}"
        );
        let (code, output, _) = run(&["manifest", "show", &manifest, "--json"]);
        assert_eq!(code, 0);
        let shown: Value = serde_json::from_str(&output).expect("JSON and nothing else");
        assert!(
            shown["format"]
                .as_str()
                .is_some_and(|f| f.starts_with(format)),
            "{shown}"
        );
        let instances = &shown["studies"][0]["series"][0]["instances"];
        assert_eq!(
            instances[2]["sop_instance_uid"],
            study.series[0].instances[2].uid
        );
    }
    let bad = file(&directory, "bad.dcm", "hello");
    let (code, output, errors) = run(&["manifest", "show", &bad]);
    assert_eq!(
        (code, output.as_str(), errors.lines().count()),
        (1, "", 1),
        "{errors}"
    );
}

#[test]
fn the_lines_that_the_demo_prints_work() {
    let mut demo = Running::on_stdout(command(["demo", "--port", "0"]));
    let printed = demo.until("Stop with Ctrl-C");
    let directory = tempfile::tempdir().expect("a directory");
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| {
            line.starts_with("curl ") || line.contains(" fetch ") || line.contains(" check ")
        })
        .collect();
    assert_eq!(lines.len(), 7, "{printed}");
    for line in &lines {
        let mut shell = Command::new("sh");
        // What cannot be had must not look as if it could.
        let line = line.replacen("curl ", "curl -sS --fail --noproxy '*' ", 1);
        let done = shell
            .args(["-c", &line])
            .current_dir(directory.path())
            .output();
        let (code, _, errors) = outcome(&done.expect("a shell"));
        assert_eq!(code, 0, "{line}: {errors}");
    }
    let slice = fs::read(directory.path().join("slice.dcm")).expect("a slice");
    assert_eq!(&slice[128..132], b"DICM");
    for other in ["same-slice.dcm", "partner-slice.dcm"] {
        let other = fs::read(directory.path().join(other)).expect("a slice");
        assert!(slice == other, "another slice");
    }
    let files = files(&directory.path().join("demo-images"));
    assert!(files.len() > 10, "{files:?}");
    assert!(
        files
            .iter()
            .any(|path| fs::read(path).expect("a file") == slice)
    );
    let whole = fs::read(directory.path().join("study.multipart")).expect("a study");
    for path in &files {
        let bytes = fs::read(path).expect("a file");
        assert!(
            memchr::memmem::find(&whole, &bytes).is_some(),
            "{}",
            path.display()
        );
    }
    assert!(
        printed.contains(&format!("A study of {} instances", files.len())),
        "{printed}"
    );
    assert_eq!(demo.end("-INT").0, Some(0));
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}

fn images(directory: &Path) -> usize {
    let is_image = |path: &PathBuf| path.extension().is_some_and(|e| e == "dcm");
    files(directory)
        .iter()
        .filter(|path| is_image(path))
        .count()
}

#[tokio::test]
async fn a_fetch_that_was_killed_goes_on_where_it_stopped() {
    let study = Study::new(7).with(8, at(10));
    let (held, gate) = (study.instances(), Gate::new());
    let held_back = gate.clone();
    let origin = Origin::start(move |asked| {
        honest(&held, asked)
            .framed(Framing::Chunked)
            .held_at(18_000, &held_back)
    })
    .await;
    let rig = Rig::start(&origin.location(10));
    let directory = tempfile::tempdir().expect("a directory");
    let manifest = file(&directory, "manifest.dcm", study.kos());
    let output = directory.path().join("images");
    let gateway = format!("http://{}", rig.public);
    let arguments = [
        "fetch",
        &manifest,
        "-o",
        output.to_str().expect("text"),
        "--gateway",
        &gateway,
    ];

    let first = Running::on_stderr(command(arguments));
    while images(&output) < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (code, _) = tokio::task::spawn_blocking(|| first.end("-KILL"))
        .await
        .expect("no panic");
    assert_eq!(code, None);
    let there = images(&output);
    assert!((4..8).contains(&there), "{there}");
    let marked = files(&output)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "dcm"));
    let written = fs::metadata(marked.as_ref().expect("one"))
        .expect("there")
        .modified()
        .ok();

    gate.open();
    let (code, said, errors) = outcome(&run_beside(&arguments).await);
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("8 of 8 instances"), "{said}");
    assert_eq!(images(&output), 8);
    for instance in study.instances() {
        let path = output
            .join(&instance.study)
            .join(&instance.series)
            .join(format!("{}.dcm", instance.uid));
        assert_eq!(fs::read(path).expect("a file"), instance.bytes);
    }
    let again = fs::metadata(marked.expect("one"))
        .expect("there")
        .modified()
        .ok();
    assert_eq!(again, written, "what was there is not written again");
    let before = origin.asked().len();
    assert_eq!(outcome(&run_beside(&arguments).await).0, 0);
    assert_eq!(origin.asked().len(), before, "nothing was left to fetch");
}

#[tokio::test]
async fn a_fetch_that_does_not_get_everything_fails() {
    let study = Study::new(7).with(3, at(10));
    let held = study.instances();
    let origin = Origin::start(move |asked| honest(&held[..2], asked)).await;
    let rig = Rig::start(&origin.location(10));
    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("images");
    let link = format!(
        "http://{}/manifests/{}",
        rig.public,
        rig.register(study.fhir()).await.id
    );
    let arguments = ["fetch", &link, "-o", output.to_str().expect("text")];
    let (code, said, errors) = outcome(&run_beside(&arguments).await);
    assert_eq!(code, 1, "{said} {errors}");
    assert!(said.contains("2 of 3 instances"), "{said}");
    assert!(errors.contains("1 instance"), "{errors}");
    assert_eq!(images(&output), 2);
    let other = [&arguments[..], &["--series", "1.2.3"]].concat();
    let (code, _, errors) = outcome(&run_beside(&other).await);
    assert!(code == 1 && errors.contains("1.2.3"), "{errors}");
}

/// `xcwado serve`, as it is run.
struct Served {
    running: Running,
    log: String,
    public: SocketAddr,
    operator: SocketAddr,
}

impl Served {
    fn start(directory: &TempDir, locations: &str) -> Self {
        let settings = format!(
            "home_community_id = \"1.2.3\"\n[listen]\naddress = \"127.0.0.1:0\"\n\
             operator_address = \"127.0.0.1:0\"\n{locations}"
        );
        let config = file(directory, "config.toml", settings);
        let mut serve = command(["serve", "--config", &config]);
        serve.env("RUST_LOG", "debug,xcwado=trace");
        let mut running = Running::on_stderr(serve);
        let log = running.until("listening");
        let address = |name: &str| {
            let (_, rest) = log.split_once(&format!(" {name}=")).expect("its address");
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest[..end].parse().expect("an address")
        };
        let (public, operator) = (address("public"), address("operator"));
        Self {
            running,
            log,
            public,
            operator,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = request(method, path, &[AS_STORED], self.public, body.into());
        open(self.public, request).await.read().await
    }
}

#[tokio::test]
async fn neither_logs_nor_metrics_tell_whose_images_they_were() {
    let study = Study::new(8)
        .with(3, at(10))
        .with(2, at(11))
        .with(1, at(12))
        .with(1, vec![]);
    let good = Origin::of(&study).await;
    let held = study.instances();
    let bad = Origin::start(move |asked| match asked.is_instance() {
        true => Reply::status(404),
        false => honest(&held, asked)
            .framed(Framing::Chunked)
            .cut(3700)
            .ending(End::Close),
    })
    .await;
    let failing = Origin::start(|_asked| Reply::status(500)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let locations = [good.location(10), bad.location(11), failing.location(12)].concat();
    let served = Served::start(&directory, &locations);

    let mut ids = Vec::new();
    for manifest in [study.fhir(), study.kos()] {
        let fields = [("content-type", "application/dicom")];
        let post = request(
            Method::POST,
            "/manifests",
            &fields,
            served.public,
            manifest.into(),
        );
        let registered = open(served.public, post).await.read().await.json();
        let id = registered["id"].as_str().expect("an id").to_owned();
        let root = format!("/manifests/{id}/dicomweb/");
        let mut paths = vec![
            study.path(),
            study.path(),
            "studies/2.25.4242".into(),
            "studies/x".into(),
        ];
        paths.extend((0..4).map(|at| study.series_path(at)));
        paths.extend(
            study
                .instances()
                .iter()
                .map(crate::rig::study::Instance::path),
        );
        for path in &paths {
            served.ask(Method::GET, &format!("{root}{path}"), "").await;
        }
        served
            .ask(Method::GET, &format!("/manifests/{id}?instances=true"), "")
            .await;
        ids.push(id);
    }
    let refused = request(
        Method::POST,
        "/manifests",
        &[],
        served.public,
        Study::new(8).kos().into(),
    );
    open(served.public, refused).await.read().await;
    served
        .ask(Method::DELETE, &format!("/manifests/{}", ids[0]), "")
        .await;
    let scrape = request(Method::GET, "/metrics", &[], served.operator, Bytes::new());
    let metrics = open(served.operator, scrape).await.read().await.text();

    let Served {
        running, mut log, ..
    } = served;
    let (code, rest) = tokio::task::spawn_blocking(|| running.end("-TERM"))
        .await
        .expect("no panic");
    assert_eq!(code, Some(0));
    log.push_str(&rest);
    assert!(
        log.contains("retrieve_study") && log.contains("broke off"),
        "{log}"
    );
    assert!(metrics.contains("xcwado_answers_total"), "{metrics}");
    let secrets = [
        "2.25.",
        PATIENT_ID,
        "Quetzalcoatl",
        "Philomena",
        &ids[0],
        &ids[1],
    ];
    for line in log.lines().chain(metrics.lines()) {
        for secret in secrets {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}
