//! Whether a community that never answers slows down requests to others.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Connection, INSTANCES};
use crate::origin;
use crate::pair::{Border, Pair, THEIRS, rad_160};
use crate::process::Server;
use crate::report::{at_most, figure, median, milliseconds, percentile};
use crate::study::{self, STUDY, Shape};

const SHAPE: Shape = Shape {
    series: 1,
    instances: 10,
    bytes: 64 << 10,
};
const DEAD: &str = "1.3.6.1.4.1.99999.3";
/// Clients that ask the dead community, each again as soon as it is told that nothing comes; more
/// than it has connections.
const LOAD: usize = 300;
const CONNECTIONS: usize = 256;
/// Pairs of rounds, without and with that load.
const ROUNDS: usize = 7;
const REQUESTS: usize = 1500;
const MOST: f64 = 1.25;

pub(crate) fn run() {
    let origin = Server::origin();
    let root = origin::root(origin.address, "length", 0, SHAPE);
    let dead = Dead::listen();
    let pair = Pair::with(Border::MUTUAL_TLS, &root, |settings| {
        settings
            .community(DEAD)
            .text("gateway_url", &format!("http://{}/wado-rs/", dead.address))
            .number("connections", CONNECTIONS)
            .line("[community.http]")
            .number("first_byte_seconds", 2)
    });
    println!(
        " an instance of 64 KiB of a community, {LOAD} clients ask another that never answers; \
         {ROUNDS} rounds of {REQUESTS}"
    );
    let gateway = pair.initiating.address;
    round(gateway);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(round(gateway));
        with.push(dead.under_load(gateway, || round(gateway)));
    }
    figure(
        "requests that the dead community had",
        dead.asked() as f64,
        "",
    );
    report("p50", |times| percentile(times, 50.0), &without, &with);
    report("p99", |times| percentile(times, 99.0), &without, &with);
}

/// How long each request took, in milliseconds.
type Times = Vec<f64>;

fn round(gateway: SocketAddr) -> Times {
    let path = format!("{}/{}", rad_160(THEIRS), instance());
    let mut connection = Connection::open(gateway, 64 << 10);
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        let answer = connection.get(&path, INSTANCES);
        assert_eq!(answer.status, 200);
        assert!(answer.drain() > SHAPE.bytes as u64);
        times.push(milliseconds(began.elapsed()));
    }
    times
}

fn report(name: &str, of: impl Fn(&Times) -> f64, without: &[Times], with: &[Times]) {
    let of_each = |rounds: &[Times]| rounds.iter().map(&of).collect::<Vec<_>>();
    let (alone, loaded) = (of_each(without), of_each(with));
    let spread = |rounds: &[f64]| percentile(rounds, 100.0) / percentile(rounds, 0.0);
    figure(
        &format!("{name} while nobody asks the dead one"),
        median(alone.clone()),
        "ms",
    );
    figure(
        &format!("{name} while they do"),
        median(loaded.clone()),
        "ms",
    );
    figure(
        &format!("{name}: largest / smallest round without"),
        spread(&alone),
        "x",
    );
    let ratio = loaded
        .iter()
        .zip(&alone)
        .map(|(loaded, alone)| loaded / alone);
    at_most(
        &format!("{name}: with / without"),
        median(ratio.collect()),
        MOST,
        "x",
    );
}

fn instance() -> String {
    let (series, instance) = (study::series_uid(0), study::instance_uid(0, 7));
    format!("studies/{STUDY}/series/{series}/instances/{instance}")
}

/// A server that takes connections and never answers.
struct Dead {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Dead {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(AtomicUsize::new(0));
        let dead = Self {
            address,
            asked: Arc::clone(&asked),
        };
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::Relaxed);
                // It listens until the other end gives up.
                thread::spawn(move || while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {});
            }
        });
        dead
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Runs `work` while it is asked by many.
    fn under_load<T>(&self, gateway: SocketAddr, work: impl FnOnce() -> T) -> T {
        let is_over = AtomicBool::new(false);
        let before = self.asked();
        thread::scope(|scope| {
            for _ in 0..LOAD {
                scope.spawn(|| ask_again_and_again(gateway, &is_over));
            }
            while self.asked() < before + CONNECTIONS {
                thread::sleep(Duration::from_millis(1));
            }
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            done
        })
    }
}

fn ask_again_and_again(gateway: SocketAddr, is_over: &AtomicBool) {
    let path = format!("{}/{}", rad_160(DEAD), instance());
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let mut stream = TcpStream::connect(gateway).expect("a listener");
    let pause = Some(Duration::from_millis(200));
    stream.set_read_timeout(pause).expect("an option");
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(request.as_bytes()).expect("sent");
        // An answer here comes in one piece.
        while !is_over.load(Ordering::Relaxed) {
            match stream.read(&mut [0; 4096]) {
                Ok(0) => panic!("the gateway hung up"),
                Ok(_answer) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}
