//! Server processes, measured through `/proc` and killed at the end of the benchmark.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use serde_json::Value;
use tempfile::TempDir;

use crate::rig::authority::Issued;
use crate::rig::client::Connection;
use crate::rig::settings::Settings;
use crate::rig::usage::{self, Usage};

/// A server. It is killed when this is dropped, also by a panic.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Of a gateway: where its partners connect, if they have a listener of their own.
    pub(crate) gateways: Option<SocketAddr>,
    /// Where its files are.
    directory: Option<TempDir>,
}

/// Resident memory, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl Server {
    pub(crate) fn origin() -> Self {
        Self::of_our_own(&["as", "origin"])
    }

    /// An origin some of whose objects are bad.
    pub(crate) fn faulty_origin() -> Self {
        Self::of_our_own(&["as", "faulty-origin"])
    }

    pub(crate) fn plain_proxy(upstream: SocketAddr) -> Self {
        Self::of_our_own(&["as", "plain-proxy", &upstream.to_string()])
    }

    /// The same origin over TLS.
    pub(crate) fn origin_with_tls(shown: &Issued) -> Self {
        let path = |path: &Path| path.to_str().expect("text").to_owned();
        let (certificate, private_key) = (path(&shown.certificate), path(&shown.private_key));
        Self::of_our_own(&["as", "origin-with-tls", &certificate, &private_key])
    }

    pub(crate) fn forwarder(upstream: SocketAddr, delay_ms: u64) -> Self {
        Self::line(upstream, delay_ms, 0)
    }

    /// The same, `megabits` a second wide; 0: any number.
    pub(crate) fn line(upstream: SocketAddr, delay_ms: u64, megabits: u64) -> Self {
        let numbers = [delay_ms, megabits].map(|number| number.to_string());
        let upstream = upstream.to_string();
        Self::of_our_own(&["as", "forwarder", &upstream, &numbers[0], &numbers[1]])
    }

    fn of_our_own(words: &[&str]) -> Self {
        let child = Command::new(std::env::current_exe().expect("a path"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = Killed(Some(child.expect("this program runs again")));
        let mut line = String::new();
        BufReader::new(child.get().stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("an address");
        let address = line.trim().parse().expect("an address");
        child.into_server(address, None)
    }

    /// nginx with what `settings` writes for an address and a directory; `None` if it is not installed.
    pub(crate) fn nginx_with(settings: impl FnOnce(SocketAddr, &Path) -> String) -> Option<Self> {
        // In memory, as far as it keeps something.
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        let listener = shared_listener().expect("a port");
        // nginx leaves it as it is, and a worker that comes too late to accept would wait for ever.
        listener.set_nonblocking(true).expect("an option");
        let address = listener.local_addr().expect("an address");
        let settings = settings(address, directory.path());
        fs::write(directory.path().join("nginx.conf"), settings).expect("written");
        let child = Command::new("nginx")
            .args(["-c", "nginx.conf", "-e", "stderr", "-p"])
            .arg(directory.path())
            // It takes over sockets that this variable lists: here, standard input. So nobody has
            // to guess a free port.
            .env("NGINX", "0;")
            .stdin(OwnedFd::from(listener))
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            child => Killed(Some(child.expect("nginx starts"))),
        };
        Some(child.into_server(address, Some(directory)))
    }

    /// An Orthanc with its DICOMweb plugin, which holds nothing yet; `None` if it is not installed.
    pub(crate) fn orthanc() -> Option<Self> {
        let plugin = PLUGINS.iter().find(|path| Path::new(path).exists())?;
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        // It has no way to take over a socket: whoever is quicker than it makes this fail.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let settings = serde_json::json!({
            "StorageDirectory": directory.path(),
            "IndexDirectory": directory.path(),
            "HttpPort": address.port(),
            "DicomServerEnabled": false,
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "KeepAlive": true,
            "Plugins": [plugin],
            "DicomWeb": { "Enable": true, "Root": "/dicom-web/" },
        });
        let path = directory.path().join("orthanc.json");
        fs::write(&path, settings.to_string()).expect("written");
        let program = std::env::var_os("ORTHANC").unwrap_or("/usr/sbin/Orthanc".into());
        let child = Command::new(program)
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            child => Killed(Some(child.expect("Orthanc starts"))),
        };
        let tries = (0..300).map(|_| thread::sleep(Duration::from_millis(100)));
        let mut connected = tries.map(|()| TcpStream::connect(address).is_ok());
        assert!(
            connected.any(|is_there| is_there),
            "Orthanc does not listen"
        );
        Some(child.into_server(address, Some(directory)))
    }

    /// The gateway, as it is released, with these settings.
    pub(crate) fn gateway(settings: &Settings) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::gateway_in(directory, "info", settings)
    }

    /// The same, with its files in memory, and no line in its log for each request.
    pub(crate) fn quiet_gateway(settings: &Settings) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        Self::gateway_in(directory, QUIET, settings)
    }

    /// The same, with its files on the disk.
    pub(crate) fn quiet_gateway_on_disk(settings: &Settings) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::gateway_in(directory, QUIET, settings)
    }

    /// The same, and what goes wrong is not told either: it is meant to.
    pub(crate) fn silent_gateway(settings: &Settings) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        Self::gateway_in(directory, "error,xcwado::cli=info", settings)
    }

    fn gateway_in(directory: TempDir, log: &str, settings: &Settings) -> Self {
        let config = directory.path().join("config.toml");
        fs::write(&config, settings.as_str()).expect("written");
        Self::start(directory, log)
    }

    /// Kills a quiet gateway and starts it again with the same files.
    pub(crate) fn killed_and_started(mut self) -> Self {
        let directory = self.directory.take().expect("a gateway has files");
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        Self::start(directory, QUIET)
    }

    fn start(directory: TempDir, log: &str) -> Self {
        // As many open files as the machine allows, as whoever runs it in earnest would say.
        let child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -H -n); exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_xcwado"))
            .args(["serve", "--log", "json", "--config"])
            .arg(directory.path().join("config.toml"))
            .env("RUST_LOG", log)
            .stderr(Stdio::piped())
            .spawn();
        let mut child = Killed(Some(child.expect("the gateway starts")));
        let mut log = BufReader::new(child.get().stderr.take().expect("piped")).lines();
        let (address, gateways) = log
            .by_ref()
            .find_map(|line| listening(&line.expect("text")))
            .expect("the gateway listens");
        thread::spawn(move || {
            log.map_while(Result::ok)
                .for_each(|line| show_warning(&line))
        });
        let mut server = child.into_server(address, Some(directory));
        server.gateways = gateways;
        server
    }

    /// Registers a manifest at the gateway; the path of its DICOMweb root.
    pub(crate) fn register(&self, media_type: &str, manifest: &[u8]) -> String {
        let connection = Connection::open(self.address, 64 << 10);
        self.register_over(connection, media_type, manifest)
    }

    /// The same over this connection.
    pub(crate) fn register_over(
        &self,
        mut connection: Connection,
        media_type: &str,
        manifest: &[u8],
    ) -> String {
        let answer = connection.post("/manifests", media_type, manifest);
        let status = answer.status;
        let body = answer.collect();
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        let summary: Value = serde_json::from_slice(&body).expect("JSON");
        let id = summary["id"].as_str().expect("an id");
        format!("/manifests/{id}/dicomweb")
    }

    /// The processor time that it and its children have used.
    pub(crate) fn cpu(&self) -> Duration {
        let processes = self.processes();
        processes
            .iter()
            .map(|process| usage::rounded(process))
            .sum()
    }

    /// What it and its children have used, exactly.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(&self.processes())
    }

    /// The resident memory of it and its children, in KiB.
    pub(crate) fn resident_kibibytes(&self) -> f64 {
        let memory = |process| memory_of(&format!("/proc/{process}/status")).now;
        self.processes().iter().map(memory).sum::<f64>() * 1024.0
    }

    /// The numbers of it and its children.
    pub(crate) fn processes(&self) -> Vec<String> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.expect("it runs");
        let children = children.split_whitespace().map(ToOwned::to_owned);
        iter::once(id.to_string()).chain(children).collect()
    }

    /// The processor time of the threads that it has, without children, to the nanosecond.
    pub(crate) fn cpu_of_threads(&self) -> Duration {
        let threads = fs::read_dir(self.proc("task")).expect("it runs");
        let nanoseconds = threads.filter_map(|thread| {
            let path = thread.ok()?.path().join("schedstat");
            let schedstat = fs::read_to_string(path).ok()?;
            schedstat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    pub(crate) fn memory(&self) -> Memory {
        memory_of(&self.proc("status"))
    }

    /// File descriptors that it has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("it runs").count()
    }

    /// Resets the peak of memory.
    pub(crate) fn forget_peak(&self) {
        fs::write(self.proc("clear_refs"), "5").expect("a process of our own");
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A listener whose port each worker of nginx listens at on its own (`reuseport`).
fn shared_listener() -> io::Result<TcpListener> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    rustix::net::listen(&socket, 4096)?;
    Ok(TcpListener::from(socket))
}

/// A process that is killed unless it becomes a server.
struct Killed(Option<Child>);

impl Killed {
    fn get(&mut self) -> &mut Child {
        self.0.as_mut().expect("it is there until it is a server")
    }

    fn into_server(mut self, address: SocketAddr, directory: Option<TempDir>) -> Server {
        Server {
            child: self.0.take().expect("it is there until it is a server"),
            address,
            gateways: None,
            directory,
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

// Kindly first: nginx leaves its worker behind otherwise.
fn end(child: &mut Child) {
    let id = child.id().to_string();
    let is_told = Command::new("kill").arg(&id).status();
    for _ in 0..100 {
        if is_told.is_err() || !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    // It has ended by itself, or ends now.
    let _ = child.kill();
    let _ = child.wait();
}

/// The memory that a `/proc/…/status` tells of.
pub(crate) fn memory_of(status: &str) -> Memory {
    let status = fs::read_to_string(status).expect("it runs");
    let mebibytes = |key: &str| {
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_suffix("kB"));
        kibibytes
            .and_then(|n| n.trim().parse::<f64>().ok())
            .expect("a number")
            / 1024.0
    };
    Memory {
        now: mebibytes("VmRSS:"),
        peak: mebibytes("VmHWM:"),
    }
}

// Where viewers connect, and partners.
fn listening(line: &str) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| entry[name].as_str()?.parse().ok();
    Some((address("public")?, address("gateways")))
}

fn show_warning(line: &str) {
    if line.contains("\"WARN\"") || line.contains("\"ERROR\"") {
        let _ = writeln!(io::stderr(), "    {line}");
    }
}

/// The log without a line for each request.
const QUIET: &str = "warn,xcwado::cli=info";

/// Where Debian has the plugin, and where others have it.
const PLUGINS: [&str; 2] = [
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so",
];
