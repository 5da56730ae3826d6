//! Paging over the frames of an object that is not here yet: requests to its source, and bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::object::{Object, frame_of, path_at};
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure};
use crate::rig::settings::{LOCATION, OURS, Settings};

const READERS: usize = 8;
const MOST_OF_ITS_SIZE: f64 = 1.02;

/// A connection between two gateways that counts.
struct Border {
    address: SocketAddr,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Border {
    fn before(upstream: SocketAddr) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let border = Arc::new(Self {
            address: listener.local_addr().expect("an address"),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let counting = Arc::clone(&border);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(upstream) else {
                    return;
                };
                counting.join(client, server);
            }
        });
        border
    }

    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let (up, down) = (Arc::clone(self), Arc::clone(self));
        let from = client.try_clone().expect("a socket");
        let to = server.try_clone().expect("a socket");
        // The requests are short, and have no body.
        thread::spawn(move || {
            copy(from, to, |bytes| {
                let heads = memchr::memmem::find_iter(bytes, b"\r\n\r\n").count();
                up.requests.fetch_add(heads as u64, Ordering::Relaxed);
            });
        });
        thread::spawn(move || {
            copy(server, client, |bytes| {
                down.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            });
        });
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        see(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

/// Pages in each order, each over a gateway that has nothing.
pub(super) fn run(near: &Server, near_root: &str, object: Object) {
    let all = object.frames;
    let in_order: Vec<usize> = (1..=all).collect();
    let in_reverse = in_order.iter().rev().copied().collect();
    let at_random: Vec<usize> = (0..all).map(|at| at * 387 % all + 1).collect();
    let here_and_there = vec![1, 2, 3, 100, 101, 500, 2, 900];
    for (order, frames, readers) in [
        ("in order", in_order, 1),
        ("in reverse", in_reverse, 1),
        ("at random, 8 readers", at_random, READERS),
        ("1, 2, 3, 100, 101, 500, 2, 900", here_and_there, 1),
    ] {
        let border = Border::before(near.address);
        let root = format!("http://{}{near_root}/", border.address);
        let far = Settings::keeping(OURS, "", "")
            .location(LOCATION, &root)
            .instances_only();
        let far = Server::gateway(&far);
        let path = path_at(&far);
        let began = Instant::now();
        thread::scope(|scope| {
            for frames in frames.chunks(frames.len().div_ceil(readers)) {
                let (far, path) = (&far, &path);
                scope.spawn(move || {
                    for frame in frames {
                        frame_of(far, path, *frame);
                    }
                });
            }
        });
        figure(
            &format!("{order}, time"),
            began.elapsed().as_secs_f64(),
            "s",
        );
        let requests = border.requests.load(Ordering::Relaxed) as f64;
        at_most(&format!("{order}, requests"), requests, 1.0, "");
        let ratio = border.bytes.load(Ordering::Relaxed) as f64 / object.bytes() as f64;
        let what = format!("{order}, bytes by its size");
        at_most(&what, ratio, MOST_OF_ITS_SIZE, "");
    }
}
