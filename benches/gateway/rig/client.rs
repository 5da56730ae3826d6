//! An HTTP/1.1 client that reads and discards answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// One connection, used for one request after the other.
pub(crate) struct Connection(BufReader<Box<dyn Wire>>);

/// What bytes go over.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// An answer whose body is still to come.
pub(crate) struct Answer<'a> {
    reader: &'a mut BufReader<Box<dyn Wire>>,
    pub(crate) status: u16,
    framing: Framing,
    /// Bytes of the body, or of its present chunk, that were not read yet.
    left: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    Ended,
}

pub(crate) const INSTANCES: &str =
    "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

impl Connection {
    /// A connection that reads at most `buffer` bytes at once.
    pub(crate) fn open(address: SocketAddr, buffer: usize) -> Self {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Self(BufReader::with_capacity(buffer, Box::new(stream)))
    }

    /// The same over TLS, to a server whose certificate this authority has signed.
    pub(crate) fn open_tls(address: SocketAddr, buffer: usize, tls: &Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        let name = address.ip().into();
        let session = ClientConnection::new(Arc::clone(tls), name).expect("a session");
        let stream = StreamOwned::new(session, stream);
        Self(BufReader::with_capacity(buffer, Box::new(stream)))
    }

    /// With or without TLS.
    pub(crate) fn to(address: SocketAddr, buffer: usize, tls: Option<&Arc<ClientConfig>>) -> Self {
        match tls {
            Some(tls) => Self::open_tls(address, buffer, tls),
            None => Self::open(address, buffer),
        }
    }

    pub(crate) fn get(&mut self, path: &str, accept: &str) -> Answer<'_> {
        self.try_get(path, accept).expect("an answer")
    }

    /// As [`Connection::get`], where the server may break the connection.
    pub(crate) fn try_get(&mut self, path: &str, accept: &str) -> io::Result<Answer<'_>> {
        self.send(&format!("GET {path}"), &format!("Accept: {accept}"), &[])
    }

    pub(crate) fn post(&mut self, path: &str, media_type: &str, body: &[u8]) -> Answer<'_> {
        let length = body.len();
        let fields = format!("Content-Type: {media_type}\r\nContent-Length: {length}");
        self.send(&format!("POST {path}"), &fields, body)
            .expect("an answer")
    }

    fn send(&mut self, what: &str, fields: &str, body: &[u8]) -> io::Result<Answer<'_>> {
        let head = format!("{what} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        Answer::read(&mut self.0)
    }
}

impl<'a> Answer<'a> {
    fn read(reader: &'a mut BufReader<Box<dyn Wire>>) -> io::Result<Self> {
        let first = line(reader)?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let mut answer = Self {
            reader,
            status: status.expect("a status"),
            framing: Framing::Ended,
            left: 0,
        };
        loop {
            let field = line(answer.reader)?.to_ascii_lowercase();
            match field.split_once(':') {
                Some(("content-length", length)) => {
                    answer.framing = Framing::Length;
                    answer.left = length.trim().parse().expect("a length");
                }
                Some(("transfer-encoding", _)) => answer.framing = Framing::Chunked,
                Some(_) => {}
                None => return Ok(answer),
            }
        }
    }

    /// Gives the next bytes to `take`; `None` at the proper end. Panics if the answer is cut.
    pub(crate) fn next(&mut self, take: impl FnOnce(&[u8])) -> Option<usize> {
        self.try_next(take).expect("the answer is whole")
    }

    /// As [`Answer::next`], with an error where the answer is cut.
    pub(crate) fn try_next(&mut self, take: impl FnOnce(&[u8])) -> io::Result<Option<usize>> {
        if self.left == 0 {
            self.begin_chunk()?;
        }
        if self.framing == Framing::Ended {
            return Ok(None);
        }
        let bytes = self.reader.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(most)];
        let length = bytes.len();
        take(bytes);
        self.reader.consume(length);
        self.left -= length as u64;
        if self.left == 0 && self.framing == Framing::Chunked {
            line(self.reader)?;
        }
        Ok(Some(length))
    }

    fn begin_chunk(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::Length | Framing::Ended => self.framing = Framing::Ended,
            Framing::Chunked => {
                let size = line(self.reader)?;
                self.left = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
                if self.left == 0 {
                    line(self.reader)?;
                    self.framing = Framing::Ended;
                }
            }
        }
        Ok(())
    }

    /// Reads to the end; how many bytes there were.
    pub(crate) fn drain(mut self) -> u64 {
        let mut all = 0;
        while let Some(bytes) = self.next(|_| {}) {
            all += bytes as u64;
        }
        all
    }

    pub(crate) fn collect(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.next(|bytes| all.extend_from_slice(bytes)).is_some() {}
        all
    }
}

fn line(reader: &mut BufReader<Box<dyn Wire>>) -> io::Result<String> {
    let mut line = Vec::new();
    let mut limited = reader.take(64 << 10);
    limited.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.pop_if(|last| *last == b'\r');
    String::from_utf8(line).map_err(io::Error::other)
}

const PATIENCE: Duration = Duration::from_secs(60);
