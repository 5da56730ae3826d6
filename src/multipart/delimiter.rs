//! Finds the boundaries in a stream of chunks.

use bytes::{Buf, Bytes};
use memchr::{memmem, memrchr};

use super::Boundary;

/// The most blanks of transport padding between a boundary and the end of its line. The scanner
/// buffers them until the line ends, hence a limit; more blanks are text.
pub(super) const LONGEST_PADDING: usize = 256;

/// Finds delimiters (RFC 2046 5.1.1: a line end, two hyphens, the boundary, blanks, a line end).
///
/// A partial delimiter at the end of a chunk is remembered as a count of matched bytes, so each
/// byte is read a bounded number of times however the chunks are cut.
#[derive(Debug)]
pub(super) struct Scanner {
    /// CR LF - - boundary.
    delimiter: Bytes,
    with_crlf: memmem::Finder<'static>,
    with_lf: memmem::Finder<'static>,
    before: LineEnd,
    candidate: Option<Candidate>,
}

/// A token that the scanner has taken from the front of the input.
#[derive(Debug)]
pub(super) enum Token {
    /// Bytes outside of delimiters; at least one.
    Text(Bytes),
    /// A delimiter before a part, with its line end.
    Delimiter(LineEnd),
    /// The delimiter after the last part, up to its two hyphens.
    Close,
}

/// The end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    CrLf,
    Lf,
}

impl Scanner {
    /// A scanner at the start of a line, which accepts a bare LF as line end.
    pub(super) fn new(boundary: &Boundary) -> Self {
        let delimiter = Bytes::from(format!("\r\n--{}", boundary.as_str()));
        Self {
            with_crlf: memmem::Finder::new(&delimiter).into_owned(),
            with_lf: memmem::Finder::new(&delimiter[AT_LF..]).into_owned(),
            delimiter,
            before: LineEnd::Lf,
            candidate: Some(Candidate::starting(AT_HYPHENS)),
        }
    }

    /// Sets the line end before delimiters: CRLF, or with `LineEnd::Lf` either.
    pub(super) fn expect_before(&mut self, line_end: LineEnd) {
        self.before = line_end;
    }

    /// Declares that the input is at the start of a line, where a delimiter may follow.
    pub(super) fn start_line(&mut self) {
        self.candidate = Some(Candidate::starting(AT_HYPHENS));
    }

    /// Takes a token from the front of `input`; `None` if more input is needed.
    pub(super) fn scan(&mut self, input: &mut Bytes) -> Option<Token> {
        while !input.is_empty() {
            let token = match self.candidate.take() {
                Some(candidate) => self.decide(candidate, input),
                None => self.search(input),
            };
            if token.is_some() {
                return token;
            }
        }
        None
    }

    /// The buffered bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.candidate.as_ref().map_or(0, Candidate::held)
    }

    fn decide(&mut self, mut candidate: Candidate, input: &mut Bytes) -> Option<Token> {
        match candidate.feed(input, &self.delimiter) {
            None => {
                self.candidate = Some(candidate);
                None
            }
            Some(Verdict::Delimiter(line_end)) => Some(Token::Delimiter(line_end)),
            Some(Verdict::Close) => Some(Token::Close),
            Some(Verdict::Text) => candidate.into_text(&self.delimiter),
        }
    }

    fn search(&mut self, input: &mut Bytes) -> Option<Token> {
        let start = self.position(input);
        let text = input.split_to(start);
        self.candidate = input.first().map(|&first| {
            let line_end = if first == b'\r' { AT_CR } else { AT_LF };
            Candidate::starting(line_end)
        });
        (!text.is_empty()).then_some(Token::Text(text))
    }

    // The start of a delimiter or a partial one; else the end of the chunk.
    fn position(&self, chunk: &[u8]) -> usize {
        match self.before {
            LineEnd::CrLf => self.with_crlf.find(chunk),
            LineEnd::Lf => self.with_lf.find(chunk).map(|lf| with_cr(chunk, lf)),
        }
        .or_else(|| self.partial_position(chunk))
        .unwrap_or(chunk.len())
    }

    // CR and LF occur only at the front of a delimiter, so only the last one in a chunk can begin
    // it.
    fn partial_position(&self, chunk: &[u8]) -> Option<usize> {
        let line_end = match self.before {
            LineEnd::CrLf => memrchr(b'\r', self.tail(chunk))?,
            LineEnd::Lf => {
                let tail = self.tail(chunk);
                memrchr(b'\n', tail)
                    .map(|lf| with_cr(tail, lf))
                    .max(memrchr(b'\r', tail))?
            }
        };
        let start = chunk.len() - self.tail(chunk).len() + line_end;
        let delimiter = match chunk[start] {
            b'\r' => &self.delimiter[AT_CR..],
            _ => &self.delimiter[AT_LF..],
        };
        delimiter.starts_with(&chunk[start..]).then_some(start)
    }

    // The end of a chunk that can be a partial delimiter.
    fn tail<'a>(&self, chunk: &'a [u8]) -> &'a [u8] {
        &chunk[chunk.len().saturating_sub(self.delimiter.len())..]
    }
}

// A CR before the LF is part of the line end.
fn with_cr(text: &[u8], lf: usize) -> usize {
    match text[..lf].last() {
        Some(b'\r') => lf - 1,
        _ => lf,
    }
}

/// The beginning of a possible delimiter.
#[derive(Debug)]
struct Candidate {
    /// The offset in the delimiter at which it began: `AT_CR`, `AT_LF` or `AT_HYPHENS`.
    start: usize,
    /// The offset in the delimiter that it has reached.
    matched: usize,
    /// The bytes behind the boundary: blanks and CR, or one hyphen.
    rest: Vec<u8>,
}

enum Verdict {
    Delimiter(LineEnd),
    Close,
    Text,
}

impl Candidate {
    fn starting(start: usize) -> Self {
        Self {
            start,
            matched: start,
            rest: Vec::new(),
        }
    }

    // Takes bytes up to a verdict. The byte that makes them text stays in the input: it may begin
    // the next candidate.
    fn feed(&mut self, input: &mut Bytes, delimiter: &[u8]) -> Option<Verdict> {
        for (taken, &byte) in input.iter().enumerate() {
            match self.step(byte, delimiter) {
                None => {}
                Some(Verdict::Text) => {
                    input.advance(taken);
                    return Some(Verdict::Text);
                }
                Some(verdict @ (Verdict::Delimiter(_) | Verdict::Close)) => {
                    input.advance(taken + 1);
                    return Some(verdict);
                }
            }
        }
        input.clear();
        None
    }

    fn step(&mut self, byte: u8, delimiter: &[u8]) -> Option<Verdict> {
        if let Some(&expected) = delimiter.get(self.matched) {
            self.matched += usize::from(byte == expected);
            return (byte != expected).then_some(Verdict::Text);
        }
        match (self.rest.last(), byte) {
            (Some(b'-'), b'-') => return Some(Verdict::Close),
            (Some(b'\r'), b'\n') => return Some(Verdict::Delimiter(LineEnd::CrLf)),
            (None | Some(b' ' | b'\t'), b'\n') => return Some(Verdict::Delimiter(LineEnd::Lf)),
            (None, b'-') | (None | Some(b' ' | b'\t'), b'\r') => {}
            (None | Some(b' ' | b'\t'), b' ' | b'\t') if self.rest.len() < LONGEST_PADDING => {}
            _ => return Some(Verdict::Text),
        }
        self.rest.push(byte);
        None
    }

    fn into_text(self, delimiter: &Bytes) -> Option<Token> {
        let boundary = delimiter.slice(self.start..self.matched);
        let text = match self.rest.as_slice() {
            [] => boundary,
            rest => Bytes::from([&boundary, rest].concat()),
        };
        (!text.is_empty()).then_some(Token::Text(text))
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.matched - self.start + self.rest.len()
    }
}

// Offsets in a delimiter.
const AT_CR: usize = 0;
const AT_LF: usize = 1;
const AT_HYPHENS: usize = 2;
