//! Whether a community that never answers slows down requests to others.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::client::{Connection, INSTANCES};
use crate::rig::pair::{Border, Pair, rad_160};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure, median, milliseconds, percentile};
use crate::rig::settings::THEIRS;
use crate::servers::origin;
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
/// Rounds without that load, with it, and without it again: what differs then is noise.
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
    let (mut without, mut with, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(round(gateway));
        with.push(dead.under_load(gateway, || round(gateway)));
        again.push(round(gateway));
    }
    figure(
        "requests that the dead community had",
        dead.asked() as f64,
        "",
    );
    report(
        "p50",
        |times| percentile(times, 50.0),
        [&without, &with, &again],
    );
    report(
        "p99",
        |times| percentile(times, 99.0),
        [&without, &with, &again],
    );
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

fn report(name: &str, of: impl Fn(&Times) -> f64, [without, with, again]: [&[Times]; 3]) {
    let [alone, loaded, again] = [without, with, again].map(|rounds| {
        let of_each = rounds.iter().map(&of);
        of_each.collect::<Vec<_>>()
    });
    let spread = percentile(&alone, 100.0) / percentile(&alone, 0.0);
    let to_alone = |rounds: &[f64]| {
        let ratios = rounds.iter().zip(&alone).map(|(one, alone)| one / alone);
        median(ratios.collect())
    };
    let ms = |what: &str, rounds: &[f64]| {
        figure(&format!("{name} {what}"), median(rounds.to_vec()), "ms");
    };
    ms("while nobody asks the dead one", &alone);
    ms("while they do", &loaded);
    figure(
        &format!("{name}: largest / smallest round without"),
        spread,
        "x",
    );
    figure(
        &format!("{name}: without again / without"),
        to_alone(&again),
        "x",
    );
    at_most(
        &format!("{name}: with / without"),
        to_alone(&loaded),
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
        let connect = |_| TcpStream::connect(gateway).expect("a listener");
        let clients: Vec<_> = (0..LOAD).map(connect).collect();
        let (is_over, before) = (AtomicBool::new(false), self.asked());
        thread::scope(|scope| {
            for client in &clients {
                scope.spawn(|| ask_again_and_again(client, &is_over));
            }
            while self.asked() < before + CONNECTIONS {
                thread::sleep(Duration::from_millis(1));
            }
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            for client in &clients {
                // Who is gone already needs no end.
                let _ = client.shutdown(Shutdown::Both);
            }
            done
        })
    }
}

// It sleeps while it waits: whatever it did then would slow others down as well.
fn ask_again_and_again(mut stream: &TcpStream, is_over: &AtomicBool) {
    let path = format!("{}/{}", rad_160(DEAD), instance());
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while !is_over.load(Ordering::Relaxed) {
        let asked = stream.write_all(request.as_bytes());
        // An answer here comes in one piece.
        let answered = asked.and_then(|()| stream.read(&mut [0; 4096]));
        let is_answered = answered.is_ok_and(|length| length > 0);
        assert!(
            is_answered || is_over.load(Ordering::Relaxed),
            "the gateway hung up"
        );
    }
}
