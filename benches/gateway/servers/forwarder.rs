//! A line with latency and limited bandwidth.
//!
//! Only the way is long. A connection is there at once, and TCP sees two short ways and never
//! waits for its windows to grow.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How wide the line is, and until when it is taken.
struct Width {
    seconds_a_byte: f64,
    free_at: Mutex<Instant>,
}

impl Width {
    /// When so many bytes have passed. Nobody reads more before that: the line is no store.
    fn pass(&self, bytes: usize) -> Instant {
        let time = Duration::from_secs_f64(self.seconds_a_byte * bytes as f64);
        let passed = {
            let mut free_at = self.free_at.lock().expect("no panic");
            *free_at = (*free_at).max(Instant::now()) + time;
            *free_at
        };
        thread::sleep(passed.saturating_duration_since(Instant::now()));
        passed
    }
}

/// What is on its way, and when it is there.
type OnItsWay = (Instant, Vec<u8>);

/// Serves until standard input ends, as it does when the benchmark does. Prints its address. What
/// comes from either side is held back for `delay_ms`.
/// `megabits` a second come out of it towards whoever has connected, of all connections together;
/// 0: any number.
pub(crate) fn serve(upstream: &str, delay_ms: &str, megabits: &str) {
    let upstream: SocketAddr = upstream.parse().expect("an address");
    let delay = Duration::from_millis(delay_ms.parse().expect("a number"));
    let megabits: f64 = megabits.parse().expect("a number");
    let width = Arc::new(Width {
        seconds_a_byte: if megabits > 0.0 { 8e-6 / megabits } else { 0.0 },
        free_at: Mutex::new(Instant::now()),
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            // Whoever cannot be reached is nothing to report: the near side sees the end.
            let _ = connect(near, upstream, delay, &width);
        }
    });
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn connect(
    near: TcpStream,
    upstream: SocketAddr,
    delay: Duration,
    width: &Arc<Width>,
) -> io::Result<()> {
    let far = TcpStream::connect(upstream)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    carry(near.try_clone()?, far.try_clone()?, delay, None);
    carry(far, near, delay, Some(Arc::clone(width)));
    Ok(())
}

/// Carries bytes one way, in the time of two threads, so that what waits holds nothing else up.
fn carry(from: TcpStream, to: TcpStream, delay: Duration, width: Option<Arc<Width>>) {
    let (sender, receiver) = channel();
    thread::spawn(move || take(from, &sender, delay, width.as_deref()));
    thread::spawn(move || give(to, &receiver));
}

fn take(mut from: TcpStream, line: &Sender<OnItsWay>, delay: Duration, width: Option<&Width>) {
    let mut buffer = vec![0; MOST_AT_ONCE];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let passed = width.map_or_else(Instant::now, |width| width.pass(length));
        let arrives = passed + delay;
        if line.send((arrives, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn give(mut to: TcpStream, line: &Receiver<OnItsWay>) {
    for (arrives, bytes) in line {
        thread::sleep(arrives.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            // Whoever still sends is to notice.
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

const MOST_AT_ONCE: usize = 256 << 10;
