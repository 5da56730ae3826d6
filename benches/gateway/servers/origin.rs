//! The origin: a DICOMweb server that costs next to nothing, so that the benchmark measures the proxy
//! in front of it.
//!
//! How it answers is part of its root: `/{framing}/{delay in ms}/{shape}/studies/…`, with `length`
//! or `chunked` for the framing.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::rig::client::Connection;
use crate::study::dicom::EXPLICIT_VR_LITTLE_ENDIAN;
use crate::study::{self, Shape};

/// The root for one way of answering.
pub(crate) fn root(origin: SocketAddr, framing: &str, delay_ms: u64, shape: Shape) -> String {
    format!("http://{origin}/{framing}/{delay_ms}/{}/", shape.name())
}

/// Where it tells how much was asked for, and how many bytes of pixels it has given.
const COUNTS: &str = "/counts";

/// How often it was asked so far, and how many bytes of pixels it has given.
pub(crate) fn counts(origin: SocketAddr) -> [u64; 2] {
    let mut connection = Connection::open(origin, 64 << 10);
    let text = connection.get(COUNTS, "*/*").collect();
    let text = String::from_utf8(text).expect("text");
    let mut counts = text
        .split(' ')
        .map(|count| count.parse().expect("a number"));
    [(); 2].map(|()| counts.next().expect("two of them"))
}

/// Serves until standard input ends, as it does when the benchmark does. Prints its address.
pub(crate) fn serve() {
    accept(connection);
}

/// The same over TLS, with this certificate and key.
pub(crate) fn serve_with_tls(certificate: &str, private_key: &str) {
    let chain = CertificateDer::pem_file_iter(certificate).expect("a file");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(private_key).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    let config = Arc::new(config);
    accept(move |stream, pixels| {
        let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        connection(StreamOwned::new(session, stream), pixels)
    });
}

pub(crate) fn accept(
    connection: impl Fn(TcpStream, &[u8]) -> io::Result<()> + Clone + Send + 'static,
) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let pixels: Arc<[u8]> = study::pixels(MOST_BYTES).into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (pixels, connection) = (Arc::clone(&pixels), connection.clone());
            thread::spawn(move || {
                // A client that leaves in the middle is nothing to report.
                let _ = stream.set_nodelay(true);
                let _ = connection(stream, &pixels);
            });
        }
    });
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn connection(stream: impl Read + Write, pixels: &[u8]) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(path) = read_request(&mut reader)? {
        let stream = reader.get_mut();
        if path == COUNTS {
            let counts = [&REQUESTS, &BYTES].map(|count| count.load(Ordering::Relaxed));
            let text = format!("{} {}", counts[0], counts[1]);
            let length = text.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
            )?;
            stream.flush()?;
            continue;
        }
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        if let Some(series) = path.strip_suffix("/metadata") {
            let json = metadata(series);
            let length = json.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"
            )?;
            write!(stream, "Content-Length: {length}\r\n\r\n{json}")?;
            stream.flush()?;
            continue;
        }
        match Answer::of(&path) {
            Some(answer) => answer.send(stream, pixels)?,
            None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
        stream.flush()?;
    }
    Ok(())
}

/// The path of the next request; `None` when there are no more.
pub(crate) fn read_request(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    Ok(first.split(' ').nth(1).map(ToOwned::to_owned))
}

struct Answer {
    is_chunked: bool,
    delay: Duration,
    bytes: usize,
    series: Range<usize>,
    instances: Range<usize>,
}

impl Answer {
    fn of(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let [framing, delay, shape, "studies", study, rest @ ..] = segments.as_slice() else {
            return None;
        };
        let shape = Shape::parse(shape)?;
        let one = |number: usize, of: usize| (number < of).then_some(number..number + 1);
        let (series, instances) = match rest {
            [] => (0..shape.series, 0..shape.instances),
            ["series", series] => (
                one(study::series_number(series)?, shape.series)?,
                0..shape.instances,
            ),
            ["series", series, "instances", instance] => (
                one(study::series_number(series)?, shape.series)?,
                one(study::instance_number(instance)?, shape.instances)?,
            ),
            _ => return None,
        };
        (*study == study::STUDY).then_some(Self {
            is_chunked: *framing == "chunked",
            delay: Duration::from_millis(delay.parse().ok()?),
            bytes: shape.bytes,
            series,
            instances,
        })
    }

    fn send(&self, stream: &mut impl Write, pixels: &[u8]) -> io::Result<()> {
        thread::sleep(self.delay);
        let pixels = &pixels[..self.bytes];
        let mut front = self.head().into_bytes();
        for series in self.series.clone() {
            for instance in self.instances.clone() {
                let text = self.part(series, instance);
                if self.is_chunked {
                    write!(front, "{:x}\r\n", text.len() + pixels.len())?;
                }
                front.extend_from_slice(&text);
                write_both(stream, &front, pixels)?;
                BYTES.fetch_add(pixels.len() as u64, Ordering::Relaxed);
                front.clear();
                front.extend_from_slice(if self.is_chunked { b"\r\n" } else { b"" });
            }
        }
        if self.is_chunked {
            write!(front, "{:x}\r\n{CLOSE}\r\n0\r\n\r\n", CLOSE.len())?;
        } else {
            front.extend_from_slice(CLOSE.as_bytes());
        }
        stream.write_all(&front)
    }

    fn head(&self) -> String {
        let framing = if self.is_chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            let part = self.part(0, 0).len() + self.bytes;
            let length = self.series.len() * self.instances.len() * part + CLOSE.len();
            format!("Content-Length: {length}")
        };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/related; type=\"application/dicom\"; \
             boundary={BOUNDARY}\r\n{framing}\r\n\r\n"
        )
    }

    /// What goes before the pixels of an instance.
    fn part(&self, series: usize, instance: usize) -> Vec<u8> {
        let head = study::head(series, instance, self.bytes);
        let length = head.len() + self.bytes;
        let mut part = format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: application/dicom; \
             transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        part.extend_from_slice(&head);
        part
    }
}

/// Metadata of a study, a series or an instance: as large as real metadata is, with little in it but
/// what identifies the instances.
fn metadata(path: &str) -> String {
    let comment = "x".repeat(6 << 10);
    let uid = |tag: &str, uid: &str| format!(r#""{tag}":{{"vr":"UI","Value":["{uid}"]}}"#);
    let one = |series: usize, instance: usize| {
        let uids = [
            uid("00080016", study::CT_IMAGE_STORAGE),
            uid("00080018", &study::instance_uid(series, instance)),
            uid("0020000D", study::STUDY),
            uid("0020000E", &study::series_uid(series)),
        ];
        let uids = uids.join(",");
        format!(r#"{{{uids},"00204000":{{"vr":"LT","Value":["{comment}"]}}}}"#)
    };
    let answer = Answer::of(path);
    let all = answer.iter().flat_map(|answer| {
        let series = answer.series.clone();
        series.flat_map(|series| answer.instances.clone().map(move |at| (series, at)))
    });
    let all: Vec<String> = all.map(|(series, at)| one(series, at)).collect();
    format!("[{}]", all.join(","))
}

fn write_both(stream: &mut impl Write, one: &[u8], other: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(one), IoSlice::new(other)];
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let written = stream.write_vectored(left)?;
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

const BOUNDARY: &str = "origin-5f0c7d1e9a3b4862";
const CLOSE: &str = "\r\n--origin-5f0c7d1e9a3b4862--\r\n";
const MOST_BYTES: usize = 10 << 20;
/// What was asked for, and given.
static REQUESTS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
