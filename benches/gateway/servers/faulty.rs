//! An origin with one bad object in ten; each has one of several faults, the same in every answer.
//!
//! Series of even numbers hold the bad objects; series of odd numbers are sound.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::servers::origin::{accept, read_request};
use crate::study::{self, STUDY, Shape};

pub(crate) const SHAPE: Shape = Shape {
    series: 40,
    instances: 50,
    bytes: 32 << 10,
};

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It ends in its middle; lengths and boundaries agree with that.
    Cut,
    /// The connection is closed in its middle.
    Closed,
    /// It is announced, and its second half never comes.
    Silent,
    /// A byte comes each second.
    Slow,
    Status(u16, &'static str),
    /// It is a page of HTML.
    Html,
    /// Another object comes in its place.
    Other,
    /// Its pixels contain the boundary.
    Boundary,
    /// Its part says that it is longer than it is.
    Longer,
    /// Its length is right, and its pixels are 1,000 bytes shorter than it declares.
    Short,
}

const FAULTS: [Fault; 14] = [
    Fault::Cut,
    Fault::Closed,
    Fault::Silent,
    Fault::Slow,
    Fault::Status(500, ""),
    Fault::Status(503, ""),
    Fault::Status(503, "Retry-After: 2\r\n"),
    Fault::Status(404, ""),
    Fault::Status(429, "Retry-After: 1\r\n"),
    Fault::Html,
    Fault::Other,
    Fault::Boundary,
    Fault::Longer,
    Fault::Short,
];

/// Whether an object is sound.
pub(crate) fn is_sound(series: usize, instance: usize) -> bool {
    fault(series, instance).is_none()
}

/// What is wrong with an object, in a word.
pub(crate) fn name(series: usize, instance: usize) -> String {
    fault(series, instance).map_or("sound".to_owned(), |fault| format!("{fault:?}"))
}

fn fault(series: usize, instance: usize) -> Option<Fault> {
    let is_bad = series.is_multiple_of(2) && (instance + series / 2).is_multiple_of(5);
    let number = series / 2 * (SHAPE.instances / 5) + instance / 5;
    is_bad.then(|| FAULTS[number % FAULTS.len()])
}

/// An object as it would be if it were sound.
pub(crate) fn object(series: usize, instance: usize) -> Vec<u8> {
    thread_local! {
        static PIXELS: Vec<u8> = study::pixels(SHAPE.bytes + 8 * SHAPE.count());
    }
    let mut object = study::head(series, instance, SHAPE.bytes);
    let from = 8 * (series * SHAPE.instances + instance);
    PIXELS.with(|pixels| object.extend_from_slice(&pixels[from..from + SHAPE.bytes]));
    object
}

/// Serves until standard input ends. Prints its address.
pub(crate) fn serve() {
    accept(|stream, _pixels| connection(&stream));
}

fn connection(mut stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(path) = read_request(&mut reader)? {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (series, instances) = match segments.as_slice() {
            ["studies", STUDY, "series", series] => (series, None),
            ["studies", STUDY, "series", series, "instances", instance] => {
                (series, study::instance_number(instance))
            }
            _ => {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            }
        };
        let series = study::series_number(series).unwrap_or(0);
        match instances {
            Some(instance) => one(stream, series, instance)?,
            None => all(stream, series)?,
        }
    }
    Ok(())
}

/// A single object; a status is possible here.
fn one(mut stream: &TcpStream, series: usize, instance: usize) -> io::Result<()> {
    match fault(series, instance) {
        Some(Fault::Status(status, field)) => {
            let head = format!("HTTP/1.1 {status} No\r\n{field}Content-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes())
        }
        Some(Fault::Html) => {
            let page = "<html><title>Sign in</title></html>";
            let length = page.len();
            let head = format!("Content-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}");
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes())
        }
        Some(_) | None => multipart(stream, series, instance..instance + 1),
    }
}

fn all(stream: &TcpStream, series: usize) -> io::Result<()> {
    multipart(stream, series, 0..SHAPE.instances)
}

fn multipart(
    mut stream: &TcpStream,
    series: usize,
    instances: std::ops::Range<usize>,
) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/related; type=\"application/dicom\"; \
         boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    for instance in instances {
        instance_part(stream, series, instance)?;
    }
    chunk(stream, format!("\r\n--{BOUNDARY}--\r\n").as_bytes())?;
    stream.write_all(b"0\r\n\r\n")
}

/// One part of a multipart answer, with the fault of its instance.
fn instance_part(stream: &TcpStream, series: usize, instance: usize) -> io::Result<()> {
    let object = object(series, instance);
    let half = object.len() / 2;
    match fault(series, instance) {
        None => part(stream, object.len(), &object)?,
        Some(Fault::Cut) => part(stream, half, &object[..half])?,
        Some(Fault::Short) => part(stream, object.len() - 1000, &object[..object.len() - 1000])?,
        Some(Fault::Longer) => part(stream, object.len() + 1, &object)?,
        Some(Fault::Closed) => {
            part(stream, object.len(), &object[..half])?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Some(Fault::Silent) => {
            part(stream, object.len(), &object[..half])?;
            thread::sleep(PATIENCE);
            return Err(io::ErrorKind::TimedOut.into());
        }
        Some(Fault::Slow) => {
            part(stream, object.len(), &object[..half])?;
            for byte in object[half..].chunks(1).take(60) {
                thread::sleep(Duration::from_secs(1));
                chunk(stream, byte)?;
            }
            return Err(io::ErrorKind::TimedOut.into());
        }
        Some(Fault::Other) => {
            let other = self::object(series + 1, instance);
            part(stream, other.len(), &other)?;
        }
        Some(Fault::Boundary) => {
            let mut object = object;
            let boundary = format!("\r\n--{BOUNDARY}\r\n\r\n");
            object[half..half + boundary.len()].copy_from_slice(boundary.as_bytes());
            part(stream, object.len(), &object)?;
        }
        // It is left out of an answer of several.
        Some(Fault::Status(..) | Fault::Html) => {}
    }
    Ok(())
}

fn part(stream: &TcpStream, length: usize, bytes: &[u8]) -> io::Result<()> {
    let mut part = format!(
        "\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    part.extend_from_slice(bytes);
    chunk(stream, &part)
}

fn chunk(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk)
}

const BOUNDARY: &str = "faulty-8d2f6c3b";
/// For which it is silent; the gateway gives up earlier.
const PATIENCE: Duration = Duration::from_secs(20);
