//! The cost of what is registered: searches below `/dicomweb`, registrations, memory, and a start.
//!
//! Processor time is compared with that of a gateway of few manifests that runs beside it, question
//! by question: a ratio of one round, so that the load of the machine cancels out.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::client::Connection;
use crate::rig::process::Server;
use crate::rig::report::{at_least, at_most, figure, median, milliseconds};
use crate::rig::settings::Settings;

const SIZES: [usize; 3] = [1000, 10_000, 100_000];
const FEW: usize = 10;
/// The oldest studies: they have a date, a modality and a name of their own.
const EARLY: usize = 5;
const ROUNDS: usize = 9;
const REQUESTS: usize = 100;
/// Registrations that are timed, one after the other.
const TIMED: usize = 500;
const CONNECTIONS: usize = 4;

const MOST_RATIO: f64 = 1.2;
const LEAST_REGISTRATIONS: f64 = 500.0;
const MOST_KIBIBYTES: f64 = 2.0;
const MOST_SECONDS: f64 = 1.0;

/// Searches with as many results at every size. `{offset}` is that of the oldest ten studies.
const SEARCHES: [(&str, &str); 10] = [
    (
        "one Study Instance UID",
        "studies?StudyInstanceUID=2.25.7.3",
    ),
    ("the series of one study", "studies/2.25.7.3/series"),
    ("a list: the newest ten", "studies?limit=10"),
    (
        "a list: the oldest ten, by offset",
        "studies?limit=10&offset={offset}",
    ),
    ("a Patient ID", "studies?PatientID=P3&limit=101"),
    (
        "an accession number",
        "studies?AccessionNumber=A3&limit=101",
    ),
    (
        "the oldest five by a range of dates",
        "studies?StudyDate=20010101-20010731&limit=101",
    ),
    (
        "the newest five of many in a range of dates",
        "studies?StudyDate=20160102-20251229&limit=5",
    ),
    (
        "the oldest five by modality",
        "studies?ModalitiesInStudy=XA&limit=101",
    ),
    (
        "the oldest five by the beginning of a name",
        "studies?PatientName=EARLY*&limit=101",
    ),
];
/// A viewer's list, which has ten results at ten manifests, and 101 from 101 manifests on.
const LIST: &str = "studies?limit=101";
/// A search that no index answers.
const WALK: &str = "studies?PatientName=*arl*&limit=101";

pub(crate) fn run() {
    let few = Server::quiet_gateway(&Settings::alone());
    let some = Server::quiet_gateway(&Settings::alone());
    let mut many = Server::quiet_gateway(&Settings::alone());
    register(&few, 0..FEW);
    register(&some, 0..SIZES[0]);
    register(&many, 0..FEW);
    let before = many.memory().now;
    let mut registered = FEW;
    for size in SIZES {
        println!(" {size} manifests, next to {FEW}");
        register(&many, registered..size - TIMED);
        let rate = rate(&many, size - TIMED..size);
        registered = size;
        at_least(
            "registrations over one connection",
            rate,
            LEAST_REGISTRATIONS,
            "/s",
        );
        of_memory("after they were registered", &many, before, size);
        searches([&few, &many], size);
        list([&few, &some, &many], size);
        many = restarted(many, size);
    }
    on_disk();
}

fn searches(servers: [&Server; 2], size: usize) {
    for (what, path) in SEARCHES {
        let [few, many] = [FEW, size].map(|count| {
            let offset = (count - FEW).to_string();
            format!("/dicomweb/{}", path.replace("{offset}", &offset))
        });
        let [median, ratio] = compared([(servers[0], &few), (servers[1], &many)]);
        figure(what, median, "ms");
        at_most("  next to ten manifests", ratio, MOST_RATIO, "x");
    }
}

fn list(servers: [&Server; 3], size: usize) {
    let path = format!("/dicomweb/{LIST}");
    let [median, ratio] = compared([(servers[0], &path), (servers[2], &path)]);
    figure("a viewer's list of 101", median, "ms");
    at_most("  next to the list of ten", ratio, MOST_RATIO, "x");
    let [_, ratio] = compared([(servers[1], &path), (servers[2], &path)]);
    at_most("  next to 1000 manifests", ratio, MOST_RATIO, "x");
    let path = format!("/dicomweb/{WALK}");
    let mut connection = Connection::open(servers[2].address, 256 << 10);
    let walk = cost(servers[2], &mut connection, &path, 3);
    figure(
        "a name with wildcards at both ends, which is walked",
        walk,
        "ms",
    );
    let all = cost(servers[2], &mut connection, "/manifests?limit=1000", 3);
    figure(&format!("GET /manifests?limit=1000 of {size}"), all, "ms");
}

/// The median cost of the second question in ms, and its ratio to the first.
fn compared(questions: [(&Server, &str); 2]) -> [f64; 2] {
    let mut connections = questions.map(|(server, _)| Connection::open(server.address, 256 << 10));
    let rounds: Vec<[f64; 2]> = (0..ROUNDS)
        .map(|_| {
            let mut costs = [0.0; 2];
            for (at, (server, path)) in questions.into_iter().enumerate() {
                costs[at] = cost(server, &mut connections[at], path, REQUESTS);
            }
            costs
        })
        .collect();
    let ratios = rounds.iter().map(|[one, other]| other / one);
    let cost = median(rounds.iter().map(|[_, cost]| *cost).collect());
    [cost, median(ratios.collect())]
}

/// Milliseconds of processor time for each request.
fn cost(server: &Server, connection: &mut Connection, path: &str, requests: usize) -> f64 {
    let before = server.cpu_of_threads();
    for _ in 0..requests {
        let answer = connection.get(path, "application/dicom+json, application/json");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.drain() > 2, "{path}: nothing was found");
    }
    milliseconds(server.cpu_of_threads() - before) / requests as f64
}

fn of_memory(what: &str, server: &Server, before: f64, size: usize) {
    let kibibytes = (server.memory().now - before) * 1024.0 / (size - FEW) as f64;
    let what = format!("memory for each, {what}");
    // What a process needs once weighs more, the fewer there are.
    match size {
        1000 => figure(&what, kibibytes, "KiB"),
        _ => at_most(&what, kibibytes, MOST_KIBIBYTES, "KiB"),
    }
}

/// Kills the gateway and starts it again; it is ready with its first answer to a search.
fn restarted(server: Server, size: usize) -> Server {
    let began = Instant::now();
    let server = server.killed_and_started();
    let mut connection = Connection::open(server.address, 64 << 10);
    let path = format!("/dicomweb/{}", SEARCHES[0].1);
    connection.get(&path, "*/*").drain();
    let seconds = began.elapsed().as_secs_f64();
    at_most(
        "from a kill to the first answer",
        seconds,
        MOST_SECONDS,
        "s",
    );
    let kibibytes = server.memory().now * 1024.0 / size as f64;
    figure(
        "memory of the process for each, after a start",
        kibibytes,
        "KiB",
    );
    server
}

/// Registrations that reach the device.
fn on_disk() {
    let gateway = Server::quiet_gateway_on_disk(&Settings::alone());
    println!(" files on the disk");
    register(&gateway, 0..FEW);
    let one = rate(&gateway, FEW..FEW + TIMED);
    at_least(
        "registrations over one connection",
        one,
        LEAST_REGISTRATIONS,
        "/s",
    );
    let began = Instant::now();
    register(&gateway, 10_000..10_000 + 4 * TIMED);
    let several = 4.0 * TIMED as f64 / began.elapsed().as_secs_f64();
    let what = format!("registrations over {CONNECTIONS} connections");
    at_least(&what, several, LEAST_REGISTRATIONS, "/s");
}

fn rate(server: &Server, numbers: std::ops::Range<usize>) -> f64 {
    let count = numbers.len() as f64;
    let mut connection = Connection::open(server.address, 64 << 10);
    let mut took = Duration::ZERO;
    for manifest in numbers.map(manifest) {
        let began = Instant::now();
        post(&mut connection, &manifest);
        took += began.elapsed();
    }
    count / took.as_secs_f64()
}

/// Registers manifests, the first ones in their order.
fn register(server: &Server, numbers: std::ops::Range<usize>) {
    let ordered = numbers.end.min(FEW).max(numbers.start);
    let mut connection = Connection::open(server.address, 64 << 10);
    for number in numbers.start..ordered {
        post(&mut connection, &manifest(number));
    }
    thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let numbers = (ordered..numbers.end).skip(first).step_by(CONNECTIONS);
            scope.spawn(move || {
                let mut connection = Connection::open(server.address, 64 << 10);
                numbers.for_each(|number| post(&mut connection, &manifest(number)));
            });
        }
    });
}

fn post(connection: &mut Connection, manifest: &[u8]) {
    let answer = connection.post("/manifests", "application/fhir+json", manifest);
    assert_eq!(answer.status, 201);
    answer.drain();
}

/// A Bundle of one study with one series of four instances.
fn manifest(number: usize) -> Vec<u8> {
    let (family, modality, date) = match number {
        0..EARLY => ("Early", "XA", "2001-03-01".to_owned()),
        _ => ("Patient", ["CT", "MR", "US"][number % 3], date(number)),
    };
    let study = format!("2.25.7.{number}");
    let instances: Vec<Value> = (1..=4)
        .map(|instance| {
            let sop_class = json!({ "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2" });
            json!({ "uid": format!("{study}.1.{instance}"), "sopClass": sop_class })
        })
        .collect();
    let accession = json!({ "coding": [{
        "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN" }] });
    let patient = json!({
        "resourceType": "Patient",
        "identifier": [{ "system": "urn:oid:1.3.6.1.4.1.99999.3", "value": format!("P{number}") }],
        "name": [{ "family": family, "given": [format!("Number{number}")] }],
        "birthDate": "1970-01-01", "gender": "female",
    });
    let described = json!({
        "resourceType": "ImagingStudy", "status": "available", "started": date,
        "subject": { "reference": "urn:uuid:6d1c8ac1-2f2e-4a57-9d9b-000000000001" },
        "description": "Chest with contrast",
        "identifier": [
            { "system": "urn:dicom:uid", "value": format!("urn:oid:{study}") },
            { "type": accession, "value": format!("A{number}") },
        ],
        "modality": [{ "code": modality }],
        "series": [{ "uid": format!("{study}.1"), "modality": { "code": modality },
            "instance": instances }],
    });
    let entries = [patient, described].into_iter().enumerate();
    let entries: Vec<Value> = entries
        .map(|(at, resource)| {
            let url = format!("urn:uuid:6d1c8ac1-2f2e-4a57-9d9b-{:012}", at + 1);
            json!({ "fullUrl": url, "resource": resource })
        })
        .collect();
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
        .to_string()
        .into_bytes()
}

/// Ten years, day by day, again and again.
fn date(number: usize) -> String {
    let (year, month, day) = (
        2016 + number / 336 % 10,
        1 + number / 28 % 12,
        1 + number % 28,
    );
    format!("{year}-{month:02}-{day:02}")
}
