//! A line that is long and as wide as one likes: what goes in comes out later, at any rate.
//!
//! Only the way is long. A connection is there at once, and TCP sees two short ways and never
//! waits for its windows to grow.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What is on its way, and when it is there.
type OnItsWay = (Instant, Vec<u8>);

/// Serves until standard input ends, as it does when the benchmark does. Prints its address. What
/// comes from either side is held back for `delay_ms`.
pub(crate) fn serve(upstream: &str, delay_ms: &str) {
    let upstream: SocketAddr = upstream.parse().expect("an address");
    let delay = Duration::from_millis(delay_ms.parse().expect("a number"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            // Whoever cannot be reached is nothing to report: the near side sees the end.
            let _ = connect(near, upstream, delay);
        }
    });
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn connect(near: TcpStream, upstream: SocketAddr, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(upstream)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    carry(near.try_clone()?, far.try_clone()?, delay);
    carry(far, near, delay);
    Ok(())
}

/// Carries bytes one way, in the time of two threads, so that what waits holds nothing else up.
fn carry(from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, receiver) = channel();
    thread::spawn(move || take(from, &sender, delay));
    thread::spawn(move || give(to, &receiver));
}

fn take(mut from: TcpStream, line: &Sender<OnItsWay>, delay: Duration) {
    let mut buffer = vec![0; MOST_AT_ONCE];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let arrives = Instant::now() + delay;
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
