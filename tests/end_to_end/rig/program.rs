//! `xcwado serve` as a process, and its log.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::rig::client::{Answer, Stream, open, request};
use crate::rig::gateway::{HERE, Registered};

/// A gateway process, killed when this is dropped.
pub(crate) struct Program {
    /// Where viewers connect.
    pub(crate) public: SocketAddr,
    /// Where partners connect, if the settings say that they do.
    pub(crate) gateways: Option<SocketAddr>,
    /// Where operators connect.
    pub(crate) operator: SocketAddr,
    process: Child,
    log: watch::Receiver<Vec<Value>>,
    directory: Arc<TempDir>,
}

/// The standard error of `xcwado check` with these settings.
pub(crate) fn check(settings: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.toml");
    fs::write(
        &config,
        format!("home_community_id = \"{HERE}\"\n{settings}"),
    )
    .expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_xcwado"));
    let output = command.args(["check", "--config"]).arg(config).output();
    String::from_utf8(output.expect("it runs").stderr).expect("text")
}

impl Program {
    /// A gateway with these settings, which are tables in TOML.
    pub(crate) async fn serve(settings: &str) -> Self {
        Self::serve_as(HERE, settings).await
    }

    /// A gateway of this community.
    pub(crate) async fn serve_as(community: &str, settings: &str) -> Self {
        let directory = Self::write(community, settings);
        Self::start(directory, None).await
    }

    /// A gateway with a limit on open files, in the syntax of the shell's `ulimit`.
    pub(crate) async fn serve_with_open_files(ulimit: &str, settings: &str) -> Self {
        Self::start(Self::write(HERE, settings), Some(ulimit)).await
    }

    fn write(community: &str, settings: &str) -> Arc<TempDir> {
        let directory = Arc::new(tempfile::tempdir().expect("a directory"));
        let config = directory.path().join("config.toml");
        // A test does not wait long for a repair that fails.
        let repair = match settings.contains("[retrieve]") {
            true => "",
            false => "[retrieve]\nrepair_seconds = 1\n",
        };
        // Lines before the first table belong to the listener.
        let at = match settings.starts_with('[') {
            true => 0,
            false => settings.find("\n[").map_or(settings.len(), |at| at + 1),
        };
        let (of_listener, tables) = settings.split_at(at);
        let settings = format!(
            "home_community_id = \"{community}\"\n[listen]\naddress = \"127.0.0.1:0\"\n\
             operator_address = \"127.0.0.1:0\"\n{of_listener}{repair}{tables}"
        );
        fs::write(&config, settings).expect("written");
        directory
    }

    /// Kills the gateway and starts it again in the same directory, on other ports.
    pub(crate) async fn killed_and_started(mut self) -> Self {
        self.kill();
        Self::start(Arc::clone(&self.directory), None).await
    }

    async fn start(directory: Arc<TempDir>, ulimit: Option<&str>) -> Self {
        let config = directory.path().join("config.toml");
        let program = env!("CARGO_BIN_EXE_xcwado");
        let mut command = match ulimit {
            None => Command::new(program),
            Some(limit) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script, program]);
                shell
            }
        };
        let mut process = command
            .args(["serve", "--log", "json", "--config"])
            .arg(config)
            .env_remove("RUST_LOG")
            .env_remove("RUST_BACKTRACE")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut log = follow(process.stderr.take().expect("its log"));
        let listening = said(&mut log, |line| line["message"] == "listening").await;
        let address = |key: &str| {
            let address = listening[key].as_str()?;
            Some(address.parse().expect("an address"))
        };
        Self {
            public: address("public").expect("where viewers connect"),
            operator: address("operator").expect("where operators connect"),
            gateways: address("gateways"),
            process,
            log,
            directory,
        }
    }

    /// The directory of its settings and its data.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.open(path, fields).await.read().await
    }

    /// Sends a request and returns once the head of the answer has arrived.
    pub(crate) async fn open(&self, path: &str, fields: &[(&str, &str)]) -> Stream {
        let request = request(Method::GET, path, fields, self.public, Bytes::new());
        open(self.public, request).await
    }

    /// Registers a manifest that must be accepted; `query` begins with a question mark.
    pub(crate) async fn register(&self, query: &str, manifest: impl Into<Bytes>) -> Registered {
        let path = format!("/manifests{query}");
        let request = request(Method::POST, &path, &[], self.public, manifest.into());
        Registered::of(&open(self.public, request).await.read().await)
    }

    /// The value of a metric, as [`crate::rig::Rig::metric`].
    pub(crate) async fn metric(&self, named: &str) -> f64 {
        let request = request(Method::GET, "/metrics", &[], self.operator, Bytes::new());
        let answer = open(self.operator, request).await.read().await;
        answer.metric(named)
    }

    /// Waits for the first line of the log that `is_meant` accepts.
    pub(crate) async fn said(&mut self, is_meant: impl Fn(&Value) -> bool) -> Value {
        said(&mut self.log, is_meant).await
    }

    /// Every line of the log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.borrow().clone()
    }

    /// Writes the log into the output of a test that fails.
    fn show_log(&self) {
        eprintln!("log of the gateway at {}:", self.public);
        for line in self.log() {
            eprintln!("{line}");
        }
    }

    /// The process id.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal: `-HUP` and others.
    pub(crate) fn signal(&self, signal: &str) {
        send_signal(self.process.id(), signal);
    }

    /// The processes in which it decodes frames.
    pub(crate) fn decoders(&self) -> Vec<u32> {
        let parent = self.process.id().to_string();
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_decoder = |pid: &u32| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.ends_with(&format!("decode-frames\0{parent}\0"))
        };
        pids.filter(is_decoder).collect()
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

/// Sends a process a signal: `-HUP` and others.
pub(crate) fn send_signal(pid: u32, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(sent.expect("kill").success());
}

/// Reads a log as it is written, so that the pipe never fills and blocks the gateway.
fn follow(log: ChildStderr) -> watch::Receiver<Vec<Value>> {
    let (tell, told) = watch::channel(Vec::new());
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            tell.send_modify(|lines| lines.push(line));
        }
    });
    told
}

async fn said(log: &mut watch::Receiver<Vec<Value>>, is_meant: impl Fn(&Value) -> bool) -> Value {
    let find = |lines: &Vec<Value>| lines.iter().find(|line| is_meant(line)).cloned();
    let waited = log.wait_for(|lines| find(lines).is_some()).await;
    let found = waited.map(|lines| find(&lines));
    match found {
        Ok(line) => line.expect("it was waited for"),
        Err(_ended) => panic!("it ended: {:#?}", *log.borrow()),
    }
}
