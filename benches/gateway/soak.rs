//! Many clients for a long time, with faults of all kinds: no wrong answer, no needless refusal, no
//! leak.
//!
//! `SOAK_SECONDS` is the time for each of the two gateways (60): one caches nothing, the other caches
//! in memory and on disk.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use xcwado::multipart::{Boundary, Event, Limits, Splitter};

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::process::Server;
use crate::rig::report::{at_least, at_most, figure};
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::servers::faulty::{self, SHAPE};
use crate::study::{STUDY, instance_uid, manifest, series_uid};

const CLIENTS: u64 = 32;
/// One request in so many asks for a whole series.
const SERIES: u64 = 20;
const CACHES: [(&str, &str); 2] = [
    (
        "nothing kept",
        "memory = \"0\"\ndisk = \"0\"\nlook_ahead = \"off\"",
    ),
    // Less than the study, so that much of it comes from files and some of it anew.
    (
        "kept",
        "memory = \"16 MiB\"\nlook_ahead_bytes = \"4 MiB\"\ndisk = \"48 MiB\"",
    ),
];
/// Requests that the report prints one by one.
const MOST_TOLD: u64 = 20;
const SINGLE: &str = "application/dicom; transfer-syntax=*";

/// Counts of requests by outcome.
#[derive(Default)]
struct Tally {
    sound: AtomicU64,
    answered: AtomicU64,
    all: AtomicU64,
    wrong: AtomicU64,
    told: AtomicU64,
}

/// An answer.
struct Outcome {
    status: u16,
    /// `None`: it broke off.
    body: Option<Vec<u8>>,
}

pub(crate) fn run() {
    let seconds = std::env::var("SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(60));
    let origin = Server::faulty_origin();
    println!(
        " {CLIENTS} clients, one object in ten is bad, {} s each",
        time.as_secs()
    );
    for (name, cache) in CACHES {
        soak(name, &gateway(origin.address, cache), time);
    }
}

fn gateway(origin: SocketAddr, cache: &str) -> Server {
    let settings = Settings::keeping(THEIRS, "", cache)
        .retrieve("repair_seconds = 2\nabsence_seconds = 2")
        .location(LOCATION, &format!("http://{origin}/"))
        .line("[location.http]")
        .number("first_byte_seconds", 3)
        .number("silence_seconds", 2);
    Server::silent_gateway(&settings)
}

fn soak(name: &str, gateway: &Server, time: Duration) {
    let root = gateway.register("application/fhir+json", &manifest::fhir(SHAPE, &[LOCATION]));
    let (tally, is_over) = (Tally::default(), AtomicBool::new(false));
    let (early, late) = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let client = Client::new(gateway.address, &root, client);
            scope.spawn(|| client.browse(&tally, &is_over));
        }
        // Memory has reached its plateau by then.
        thread::sleep(time / 2);
        let early = (gateway.memory().now, gateway.open_files());
        thread::sleep(time / 2);
        let late = (gateway.memory().now, gateway.open_files());
        is_over.store(true, Ordering::Relaxed);
        (early, late)
    });
    let [sound, answered, all, wrong] = [&tally.sound, &tally.answered, &tally.all, &tally.wrong]
        .map(|count| count.load(Ordering::Relaxed) as f64);
    figure(&format!("{name}: requests"), all, "");
    at_most(&format!("{name}: wrong answers"), wrong, 0.0, "");
    let share = 100.0 * answered / sound;
    at_least(
        &format!("{name}: requests for what is sound, answered"),
        share,
        99.0,
        "%",
    );
    let grown = late.0 - early.0;
    at_most(
        &format!("{name}: growth of memory in the second half"),
        grown,
        16.0,
        "MiB",
    );
    let more = late.1 as f64 - early.1 as f64;
    at_most(
        &format!("{name}: growth of open files in the second half"),
        more,
        32.0,
        "",
    );
    figure(&format!("{name}: resident at the end"), late.0, "MiB");
}

/// A client that sends one request after the other.
struct Client<'a> {
    gateway: SocketAddr,
    /// The path of the DICOMweb root.
    root: &'a str,
    /// The state of a xorshift generator.
    random: u64,
    connection: Option<Connection>,
}

/// One request and how the gateway answered it.
struct Request {
    series: usize,
    /// `None`: the whole series.
    instance: Option<usize>,
    status: u16,
    /// Whether the source has no fault in it.
    is_sound: bool,
    is_answered: bool,
    is_wrong: bool,
}

impl<'a> Client<'a> {
    fn new(gateway: SocketAddr, root: &'a str, number: u64) -> Self {
        Self {
            gateway,
            root,
            random: number + 1,
            connection: None,
        }
    }

    fn browse(mut self, tally: &Tally, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let request = self.next();
            tally.count(&request);
            let is_refused = request.is_sound && !request.is_answered;
            if (request.is_wrong || is_refused)
                && tally.told.fetch_add(1, Ordering::Relaxed) < MOST_TOLD
            {
                request.print(began.elapsed());
            }
        }
    }

    fn next(&mut self) -> Request {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let random = self.random;
        let number = |of: usize, shift: u32| (random >> shift) as usize % of;
        let (series, instance) = (number(SHAPE.series, 8), number(SHAPE.instances, 24));
        let root = self.root;
        let path = format!("{root}/studies/{STUDY}/series/{}", series_uid(series));
        if random.is_multiple_of(SERIES) {
            self.series(series, &path)
        } else {
            let path = format!("{path}/instances/{}", instance_uid(series, instance));
            self.instance(series, instance, &path)
        }
    }

    fn series(&mut self, series: usize, path: &str) -> Request {
        let outcome = self.ask(path, INSTANCES);
        let objects: Vec<_> = (0..SHAPE.instances)
            .map(|at| faulty::object(series, at))
            .collect();
        let parts = outcome.body.as_deref().map(parts);
        let is_whole = outcome.status == 200 && parts.is_some();
        let holds_all = parts.as_ref().is_some_and(|parts| {
            parts.len() == objects.len() && objects.iter().all(|object| parts.contains(object))
        });
        let is_exact = parts.is_none_or(|parts| parts.iter().all(|part| objects.contains(part)));
        Request {
            series,
            instance: None,
            status: outcome.status,
            is_sound: (0..SHAPE.instances).all(|at| faulty::is_sound(series, at)),
            is_answered: holds_all,
            is_wrong: (is_whole && !holds_all) || !is_exact,
        }
    }

    fn instance(&mut self, series: usize, instance: usize, path: &str) -> Request {
        let outcome = self.ask(path, SINGLE);
        let is_there = outcome.status == 200 && outcome.body.is_some();
        let is_exact = outcome.body == Some(faulty::object(series, instance));
        Request {
            series,
            instance: Some(instance),
            status: outcome.status,
            is_sound: faulty::is_sound(series, instance),
            is_answered: is_there && is_exact,
            is_wrong: is_there && !is_exact,
        }
    }

    fn ask(&mut self, path: &str, accept: &str) -> Outcome {
        let connection = self.connection.take();
        let mut open = connection.unwrap_or_else(|| Connection::open(self.gateway, 64 << 10));
        let (status, body) = match read(&mut open, path, accept) {
            Ok((status, body)) => (status, Some(body)),
            Err((status, _error)) => (status, None),
        };
        // A connection that broke cannot be used again.
        self.connection = body.is_some().then_some(open);
        Outcome { status, body }
    }
}

impl Tally {
    fn count(&self, request: &Request) {
        let add =
            |counter: &AtomicU64, is_so| counter.fetch_add(u64::from(is_so), Ordering::Relaxed);
        add(&self.all, true);
        add(&self.sound, request.is_sound);
        add(&self.answered, request.is_sound && request.is_answered);
        add(&self.wrong, request.is_wrong);
    }
}

impl Request {
    fn print(&self, time: Duration) {
        let outcome = if self.is_wrong { "WRONG" } else { "refused" };
        let object = match self.instance {
            None => "a series".to_owned(),
            Some(instance) => faulty::name(self.series, instance),
        };
        let (status, seconds) = (self.status, time.as_secs_f64());
        println!("    {outcome}: {object}, status {status}, after {seconds:.2} s");
    }
}

fn read(
    connection: &mut Connection,
    path: &str,
    accept: &str,
) -> Result<(u16, Vec<u8>), (u16, io::Error)> {
    let mut answer = connection
        .try_get(path, accept)
        .map_err(|error| (0, error))?;
    let status = answer.status;
    let mut body = Vec::new();
    let mut next = || answer.try_next(|bytes| body.extend_from_slice(bytes));
    while next().map_err(|error| (status, error))?.is_some() {}
    Ok((status, body))
}

/// The parts of an answer; none if it is no multipart message.
fn parts(body: &[u8]) -> Vec<Vec<u8>> {
    let first = body.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let boundary = std::str::from_utf8(first)
        .ok()
        .and_then(|line| line.strip_prefix("--"));
    let Some(boundary) = boundary.and_then(|text| Boundary::parse(text).ok()) else {
        return Vec::new();
    };
    let mut splitter = Splitter::new(&boundary, Limits::default());
    splitter.push(Bytes::copy_from_slice(body));
    let mut parts: Vec<Vec<u8>> = Vec::new();
    while let Ok(Some(event)) = splitter.next() {
        match event {
            Event::Part(_head) => parts.push(Vec::new()),
            Event::Data(bytes) => parts.last_mut().expect("a part").extend_from_slice(&bytes),
            Event::PartEnd => {}
        }
    }
    parts
}
