//! A client that costs little: the kernel drops the bodies that it receives.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};

/// One connection without TLS, used for one request after the other.
pub(crate) struct Client {
    stream: TcpStream,
    /// Heads, and the lines between chunks. It is small, so that bodies stay in the kernel.
    buffer: Vec<u8>,
    read: usize,
    filled: usize,
    /// What the kernel may write to, and does not.
    dropped: Vec<u8>,
}

/// How a body ends.
enum Framing {
    Length(u64),
    Chunked,
}

impl Client {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Self {
            stream,
            buffer: vec![0; 2 << 10],
            read: 0,
            filled: 0,
            dropped: vec![0; 256 << 10],
        }
    }

    /// Reads an answer, which has to be whole; the length of its body.
    pub(crate) fn get(&mut self, path: &str, accept: &str) -> u64 {
        self.try_get(path, accept).expect("a whole answer")
    }

    fn try_get(&mut self, path: &str, accept: &str) -> io::Result<u64> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        match self.head()? {
            Framing::Length(length) => self.discard(length),
            Framing::Chunked => self.chunks(),
        }
    }

    /// The connection alone, without its buffers.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn head(&mut self) -> io::Result<Framing> {
        let status = self.line()?;
        if status.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(status));
        }
        let mut framing = Framing::Length(0);
        loop {
            let field = self.line()?.to_ascii_lowercase();
            match field.split_once(':') {
                Some(("content-length", length)) => {
                    let length = length.trim().parse().map_err(io::Error::other)?;
                    framing = Framing::Length(length);
                }
                Some(("transfer-encoding", _)) => framing = Framing::Chunked,
                Some(_) => {}
                None => return Ok(framing),
            }
        }
    }

    fn chunks(&mut self) -> io::Result<u64> {
        let mut all = 0;
        loop {
            let size = u64::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
            all += self.discard(size)?;
            self.line()?;
            if size == 0 {
                return Ok(all);
            }
        }
    }

    fn discard(&mut self, length: u64) -> io::Result<u64> {
        let buffered = (self.filled - self.read).min(usize::try_from(length).unwrap_or(usize::MAX));
        self.read += buffered;
        let mut left = length - buffered as u64;
        while left > 0 {
            let most = self
                .dropped
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let (_, received) = recv(&self.stream, &mut self.dropped[..most], RecvFlags::TRUNC)?;
            if received == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= received as u64;
        }
        Ok(length)
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        loop {
            let buffered = &self.buffer[self.read..self.filled];
            if let Some(length) = memchr::memchr(b'\n', buffered) {
                line.extend_from_slice(&buffered[..length]);
                self.read += length + 1;
                line.pop_if(|last| *last == b'\r');
                return String::from_utf8(line).map_err(io::Error::other);
            }
            line.extend_from_slice(buffered);
            self.filled = self.stream.read(&mut self.buffer)?;
            self.read = 0;
            if self.filled == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
