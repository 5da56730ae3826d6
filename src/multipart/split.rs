//! Splits a `multipart/related` message into parts while it arrives.
//!
//! Tolerated beyond RFC 2046:
//! - The first boundary needs no line end before it at the very start. Lines before it (the
//!   preamble) and bytes after the closing boundary (the epilogue) are ignored.
//! - Lines of a part's head, and boundary lines, may end in a bare LF.
//! - A bare LF *before* a boundary counts only if the first boundary line ended in a bare LF: such
//!   a sender writes LF everywhere, and then CRLF and LF both count (a CR there is never body).
//!   After a first boundary line with CRLF, a bare LF and a boundary are body.
//! - Up to 256 blanks after a boundary are transport padding. A boundary followed by anything other
//!   than padding and a line end, or two hyphens, is body. The two hyphens alone close a message,
//!   whatever follows them.
//! - Parts may lack header fields (a blank line comes first), bodies or both; a blank line with a
//!   boundary line right after it is an empty part. A message may have no parts.
//! - Field names may be in any case, with blanks around the colon; lines may be folded or hold
//!   bytes beyond ASCII.
//!
//! Refused: a line in a part's head that is not a field, a head or a preamble beyond its limit, and
//! the end of the input before the closing boundary.
//!
//! Memory: the current chunk, and of earlier chunks either at most `Limits::part_head` bytes or a
//! partial delimiter (boundary, CRLF, two hyphens, padding, CR). Bodies are slices of the chunks,
//! except for a few bytes that resembled a boundary across two chunks.

use bytes::Bytes;

use super::Boundary;
use super::delimiter::{Scanner, Token};
use super::error::Error;
use super::part_head::PartHead;

/// Splits one message. Push a chunk, take events until there are none, push the next.
///
/// ```
/// use bytes::Bytes;
/// use xcwado::multipart::{Boundary, Event, Limits, Splitter};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut splitter = Splitter::new(&Boundary::parse("XYZ")?, Limits::default());
/// let mut sizes = Vec::new();
/// for chunk in ["--XYZ\r\nContent-Type: text/pl", "ain\r\n\r\nbody\r\n--X", "YZ--"] {
///     splitter.push(Bytes::from(chunk));
///     while let Some(event) = splitter.next()? {
///         match event {
///             Event::Part(head) => assert_eq!(head.content_type(), Some("text/plain")),
///             Event::Data(slice) => sizes.push(slice.len()),
///             Event::PartEnd => {}
///         }
///     }
/// }
/// splitter.finish()?;
/// assert_eq!(sizes, [4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Splitter {
    scanner: Scanner,
    limits: Limits,
    state: State,
    input: Bytes,
    /// The lines of the current part's head that have arrived.
    head: Vec<u8>,
}

/// Limits on the bytes outside of bodies, which have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes in the head of a part, with its line ends and the blank line.
    pub part_head: usize,
    /// The most bytes before the first boundary, without the line end that belongs to it.
    pub preamble: usize,
}

/// An event in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part(PartHead),
    /// The next bytes of the part's body; never empty.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
}

impl Splitter {
    /// A splitter for one message.
    #[must_use]
    pub fn new(boundary: &Boundary, limits: Limits) -> Self {
        Self {
            scanner: Scanner::new(boundary),
            limits,
            state: State::Preamble { skipped: 0 },
            input: Bytes::new(),
            head: Vec::new(),
        }
    }

    /// Adds the next chunk of the message. Call it when [`Splitter::next`] has returned `Ok(None)`;
    /// earlier, the chunk is copied behind the rest of the one before.
    pub fn push(&mut self, chunk: Bytes) {
        match self.state {
            State::Closed | State::Failed(_) => {}
            State::Preamble { .. } | State::Head | State::Body if self.input.is_empty() => {
                self.input = chunk;
            }
            State::Preamble { .. } | State::Head | State::Body => {
                self.input = Bytes::from([&self.input[..], &chunk].concat());
            }
        }
    }

    /// The next event, or `None` if another chunk is needed or the message is closed.
    ///
    /// # Errors
    /// All of [`Error`] but [`Error::Truncated`]; later calls repeat it.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator does not fail, nor does it continue after None"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        let event = match self.state {
            State::Preamble { skipped } => self.skip_preamble(skipped),
            State::Head => self.read_head(),
            State::Body => Ok(self.read_body()),
            State::Closed => Ok(None),
            State::Failed(error) => Err(error),
        };
        event.inspect_err(|error| self.stop(State::Failed(*error)))
    }

    /// Whether the next event needs another chunk, apart from a few bytes that may be the
    /// beginning of a boundary.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.input.is_empty() && !self.is_closed()
    }

    /// Whether the closing boundary has arrived. Later bytes are ignored.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Checks at the end of the input, after the last event, that the message is complete.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the closing boundary is missing, or the error of `next`.
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Closed => Ok(()),
            State::Failed(error) => Err(error),
            State::Preamble { .. } | State::Head | State::Body => Err(Error::Truncated),
        }
    }

    fn skip_preamble(&mut self, mut skipped: usize) -> Result<Option<Event>, Error> {
        let limit = self.limits.preamble;
        while let Some(token) = self.scanner.scan(&mut self.input) {
            match token {
                Token::Text(text) if text.len() > limit - skipped => {
                    return Err(Error::PreambleTooLarge { limit });
                }
                Token::Text(text) => skipped += text.len(),
                Token::Delimiter(line_end) => {
                    self.scanner.expect_before(line_end);
                    self.state = State::Head;
                    return self.read_head();
                }
                Token::Close => {
                    self.stop(State::Closed);
                    return Ok(None);
                }
            }
        }
        self.state = State::Preamble { skipped };
        Ok(None)
    }

    fn read_head(&mut self) -> Result<Option<Event>, Error> {
        while !self.input.is_empty() {
            self.take_line()?;
            if is_complete(&self.head) {
                let head = PartHead::parse(&std::mem::take(&mut self.head))?;
                self.scanner.start_line();
                self.state = State::Body;
                return Ok(Some(Event::Part(head)));
            }
        }
        Ok(None)
    }

    // Takes a line of a part's head, or its beginning.
    fn take_line(&mut self) -> Result<(), Error> {
        let line = match memchr::memchr(b'\n', &self.input) {
            Some(lf) => lf + 1,
            None => self.input.len(),
        };
        let limit = self.limits.part_head;
        if line > limit - self.head.len() {
            return Err(Error::PartHeadTooLarge { limit });
        }
        self.head.extend_from_slice(&self.input.split_to(line));
        Ok(())
    }

    fn read_body(&mut self) -> Option<Event> {
        match self.scanner.scan(&mut self.input)? {
            Token::Text(slice) => return Some(Event::Data(slice)),
            Token::Delimiter(_) => self.state = State::Head,
            Token::Close => self.stop(State::Closed),
        }
        Some(Event::PartEnd)
    }

    fn stop(&mut self, state: State) {
        self.state = state;
        self.input = Bytes::new();
        self.head = Vec::new();
    }

    /// The buffered bytes, with the rest of the current chunk.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.input.len() + self.head.len() + self.scanner.held()
    }
}

impl Default for Limits {
    /// 16 KiB for the head of a part, 64 KiB for the preamble.
    fn default() -> Self {
        Self {
            part_head: 16 << 10,
            preamble: 64 << 10,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before the first boundary; `skipped` is in bytes.
    Preamble {
        skipped: usize,
    },
    Head,
    Body,
    Closed,
    Failed(Error),
}

// Whether the head ends in a blank line. Called after each line, so no earlier line is blank.
fn is_complete(head: &[u8]) -> bool {
    matches!(head, b"\n" | b"\r\n") || head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
