//! The one streaming body type: bytes that arrive, and how they end.
//!
//! A body either ends or fails. One whose producer goes away without a word fails: what is
//! delivered as complete is complete.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Sleep;

use crate::budget;
use crate::dicom::walk::NotWhole;

/// Why a body broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source sent nothing for as long as settings allow.
    #[error("the source went silent")]
    Silent,
    /// The source sends less in a second than settings allow.
    #[error("the source sends too slowly")]
    TooSlow,
    /// The connection to the source broke.
    #[error("the connection to the source broke")]
    Disconnected,
    /// The source's answer ended before its end.
    #[error("the source's answer ended early")]
    Truncated,
    /// The source's answer breaks its format.
    #[error("the source's answer is malformed: {0}")]
    Malformed(&'static str),
    /// The bytes of an instance end before its data set does. Nothing else of an answer is wrong.
    #[error("an instance is not whole: {0}")]
    NotWhole(#[from] NotWhole),
    /// One answer held two instances with the same UID and different bytes.
    #[error("the source gave one instance with different bytes")]
    Conflicting,
    /// Instances that were promised did not arrive.
    #[error("{0} of the selected instances did not arrive")]
    Missing(usize),
    /// A file could not be read.
    #[error("a file of the source could not be read")]
    Unreadable,
    /// There was no memory for what comes next.
    #[error(transparent)]
    Memory(#[from] budget::Error),
    /// Whoever produced the bytes is gone.
    #[error("the producer of the bytes is gone")]
    Abandoned,
}

/// A server drops what it has not flushed when a body fails, the head of the answer included. The
/// pause lets it flush, so that a client sees a good beginning and a bad end.
const FLUSH: Duration = Duration::from_millis(20);

// 4 KiB reads cost fifteen times the processor time of these.
const CHUNK: usize = 256 << 10;

/// A stream of bytes that ends, or fails.
pub struct Body {
    kind: Kind,
    /// Exact number of bytes, where known.
    length: Option<u64>,
    /// Where it is, if it is that of a file.
    file: Option<Span>,
    watches: Vec<Watch>,
}

/// Bytes that can be read from any place on, as those of a file.
pub trait Content: fmt::Debug + Send + Sync {
    /// At least one and at most `most` bytes from `at` on. Blocks.
    ///
    /// # Errors
    /// If they cannot be read, or are not what they should be.
    fn read(&self, at: u64, most: usize) -> io::Result<Bytes>;

    /// The bytes from `at` on, from elsewhere: they cannot be read here.
    fn elsewhere(self: Arc<Self>, at: u64) -> Elsewhere;
}

/// What gives a body that another one goes on with.
pub type Elsewhere = Pin<Box<dyn Future<Output = Result<Body, Error>> + Send>>;

impl Content for File {
    fn read(&self, at: u64, most: usize) -> io::Result<Bytes> {
        let mut chunk = vec![0; most.min(CHUNK)];
        self.read_exact_at(&mut chunk, at)?;
        Ok(chunk.into())
    }

    fn elsewhere(self: Arc<Self>, _at: u64) -> Elsewhere {
        Box::pin(std::future::ready(Err(Error::Unreadable)))
    }
}

/// A place in a file.
struct Span {
    file: Arc<dyn Content>,
    /// Where the body begins.
    offset: u64,
    /// How much of it is behind.
    read: u64,
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All of it was read.
    Complete,
    /// It broke off.
    Failed(Error),
    /// Its reader left before the end.
    ReaderLeft,
}

/// Who is told of the bytes that are read, and once of the end.
struct Watch {
    read: u64,
    on_chunk: Box<dyn Fn(usize) + Send>,
    on_end: Option<Box<dyn FnOnce(u64, End) + Send>>,
}

enum Kind {
    Full(Option<Bytes>),
    Channel(mpsc::Receiver<Message>),
    Generated {
        producer: Producer,
        emitted: mpsc::Receiver<Bytes>,
    },
    /// It is about to fail with this.
    Failing(Error, Pin<Box<Sleep>>),
    Ended,
}

type Producer = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

enum Message {
    Chunk(Bytes),
    End,
    Failed(Error),
}

/// The writing end of [`Body::channel`].
#[derive(Debug)]
pub struct Sender(mpsc::Sender<Message>);

/// The writing end of [`Body::generate`].
#[derive(Debug)]
pub struct Emitter(mpsc::Sender<Bytes>);

/// The reader of a body has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader has left")]
pub struct ReaderLeft;

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        Self::new(Kind::Full((!bytes.is_empty()).then_some(bytes)), length)
    }

    /// Bytes that another task sends, at most `chunks` of them ahead of the reader.
    #[must_use]
    pub fn channel(chunks: usize, length: Option<u64>) -> (Sender, Self) {
        let (sender, receiver) = mpsc::channel(chunks);
        (Sender(sender), Self::new(Kind::Channel(receiver), length))
    }

    /// `length` bytes of a file, from `offset` on. Where they cannot be read it goes on with what the
    /// content has elsewhere.
    #[must_use]
    pub fn file(file: Arc<dyn Content>, offset: u64, length: u64) -> Self {
        let of = Arc::clone(&file);
        let mut body = Self::generate(Some(length), move |out| async move {
            let mut read = 0;
            while read < length {
                let (file, at) = (Arc::clone(&of), offset + read);
                let wanted = usize::try_from(length - read).unwrap_or(CHUNK).min(CHUNK);
                let reading = spawn_blocking(move || file.read(at, wanted));
                let Ok(chunk) = reading.await.map_err(|_panic| Error::Abandoned)? else {
                    let rest = Arc::clone(&of).elsewhere(at).await?;
                    return rest.emit_to(&out, length - read).await;
                };
                read += chunk.len() as u64;
                out.emit(chunk).await?;
            }
            Ok(())
        });
        body.file = Some(Span {
            file,
            offset,
            read: 0,
        });
        body
    }

    /// Passes over the next bytes without reading them, which only works in a file; whether it did.
    /// Beyond the end of a file there is nothing.
    pub fn pass_over(&mut self, length: u64) -> bool {
        let (Some(span), Some(whole)) = (&self.file, self.length) else {
            return false;
        };
        let passed = span.read.saturating_add(length);
        let Some(rest) = whole.checked_sub(passed) else {
            return false;
        };
        let (file, offset) = (Arc::clone(&span.file), span.offset);
        self.kind = Self::file(Arc::clone(&file), offset + passed, rest).into_kind();
        self.file = Some(Span {
            file,
            offset,
            read: passed,
        });
        true
    }

    /// Emits the next `length` bytes of it.
    async fn emit_to(mut self, out: &Emitter, length: u64) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let Some(mut chunk) = self.chunk().await? else {
                return Err(Error::Truncated);
            };
            chunk.truncate(within(left, chunk.len()));
            left -= chunk.len() as u64;
            if !chunk.is_empty() {
                out.emit(chunk).await?;
            }
        }
        Ok(())
    }

    fn into_kind(mut self) -> Kind {
        std::mem::replace(&mut self.kind, Kind::Ended)
    }

    /// `length` of the bytes that are still to be read, after `skipped` of them. Watches see that the
    /// reader left.
    #[must_use]
    pub fn slice(mut self, skipped: u64, length: u64) -> Self {
        if let Some(span) = self.file.take() {
            return Self::file(span.file, span.offset + span.read + skipped, length);
        }
        Self::generate(Some(length), move |out| async move {
            let mut skipped = skipped;
            while skipped > 0 {
                let Some(mut chunk) = self.chunk().await? else {
                    return Err(Error::Truncated);
                };
                let passed = within(skipped, chunk.len());
                skipped -= passed as u64;
                chunk.advance(passed);
                if !chunk.is_empty() {
                    self = self.after(chunk);
                }
            }
            self.emit_to(&out, length).await
        })
    }

    /// Bytes that `write` emits, which runs while the body is read and in no task of its own.
    pub fn generate<F, P>(length: Option<u64>, write: F) -> Self
    where
        F: FnOnce(Emitter) -> P,
        P: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (emitter, emitted) = mpsc::channel(1);
        let producer = Box::pin(write(Emitter(emitter)));
        Self::new(Kind::Generated { producer, emitted }, length)
    }

    /// These bytes, then this body. Its length is not known any more.
    #[must_use]
    pub fn after(mut self, bytes: Bytes) -> Self {
        Self::generate(None, |out| async move {
            out.emit(bytes).await?;
            while let Some(chunk) = self.chunk().await? {
                out.emit(chunk).await?;
            }
            Ok(())
        })
    }

    fn new(kind: Kind, length: Option<u64>) -> Self {
        Self {
            kind,
            length,
            file: None,
            watches: Vec::new(),
        }
    }

    /// This body, with somebody told of every chunk that is read and, once, of the number of bytes
    /// read and how it ended.
    #[must_use]
    pub fn watched(
        mut self,
        on_chunk: impl Fn(usize) + Send + 'static,
        on_end: impl FnOnce(u64, End) + Send + 'static,
    ) -> Self {
        let (on_chunk, on_end) = (Box::new(on_chunk), Box::new(on_end));
        self.watches.push(Watch {
            read: 0,
            on_chunk,
            on_end: Some(on_end),
        });
        self
    }

    /// The exact number of bytes, where known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// Why it broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        std::future::poll_fn(|context| self.poll_chunk(context))
            .await
            .transpose()
    }

    /// Gives all of it to the reader of another body.
    ///
    /// # Errors
    /// Why it broke off, or that the reader has left.
    pub async fn give(mut self, out: &Emitter) -> Result<(), Error> {
        while let Some(chunk) = self.chunk().await? {
            out.emit(chunk).await?;
        }
        Ok(())
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let next = match &mut self.kind {
            Kind::Full(bytes) => Poll::Ready(next_of(bytes).map(Ok)),
            Kind::Channel(receiver) => receiver.poll_recv(context).map(received),
            Kind::Generated { producer, emitted } => poll_generated(producer, emitted, context),
            Kind::Failing(error, pause) => pause
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(error.clone()))),
            Kind::Ended => Poll::Ready(None),
        };
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.kind = Kind::Ended;
        }
        if let (Poll::Ready(Some(Ok(bytes))), Some(span)) = (&next, &mut self.file) {
            span.read += bytes.len() as u64;
        }
        if let Poll::Ready(read) = &next {
            for watch in &mut self.watches {
                watch.observe(read.as_ref());
            }
        }
        next
    }
}

impl Watch {
    fn observe(&mut self, read: Option<&Result<Bytes, Error>>) {
        match read {
            Some(Ok(bytes)) => {
                self.read += bytes.len() as u64;
                (self.on_chunk)(bytes.len());
            }
            Some(Err(error)) => self.end(End::Failed(error.clone())),
            None => self.end(End::Complete),
        }
    }

    fn end(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            on_end(self.read, end);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            // Whoever knows the length does not ask for the end.
            let is_whole = self.length == Some(watch.read);
            watch.end(if is_whole {
                End::Complete
            } else {
                End::ReaderLeft
            });
        }
    }
}

/// A number of bytes, of so many that are there.
fn within(wanted: u64, there: usize) -> usize {
    usize::try_from(wanted).map_or(there, |wanted| wanted.min(there))
}

/// The next of bytes that are all here. A connection holds what it has been given until it is sent, so it
/// is given little at once.
fn next_of(all: &mut Option<Bytes>) -> Option<Bytes> {
    let left = all.as_mut()?;
    if left.len() > CHUNK {
        return Some(left.split_to(CHUNK));
    }
    all.take()
}

fn received(message: Option<Message>) -> Option<Result<Bytes, Error>> {
    match message {
        Some(Message::Chunk(bytes)) => Some(Ok(bytes)),
        Some(Message::End) => None,
        Some(Message::Failed(error)) => Some(Err(error)),
        None => Some(Err(Error::Abandoned)),
    }
}

fn poll_generated(
    producer: &mut Producer,
    emitted: &mut mpsc::Receiver<Bytes>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Error>>> {
    if let Poll::Ready(Some(bytes)) = emitted.poll_recv(context) {
        return Poll::Ready(Some(Ok(bytes)));
    }
    let outcome = producer.as_mut().poll(context);
    // What was emitted before the end comes first; the end is asked for again at the next poll.
    if let Ok(bytes) = emitted.try_recv() {
        if let Poll::Ready(outcome) = outcome {
            *producer = Box::pin(std::future::ready(outcome));
        }
        return Poll::Ready(Some(Ok(bytes)));
    }
    match outcome {
        Poll::Ready(Ok(())) => Poll::Ready(None),
        Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
        Poll::Pending => Poll::Pending,
    }
}

impl Sender {
    /// Sends bytes, waiting for room.
    ///
    /// # Errors
    /// [`ReaderLeft`] if nobody reads any more.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ReaderLeft> {
        self.message(Message::Chunk(bytes)).await
    }

    /// Ends the body well.
    ///
    /// # Errors
    /// [`ReaderLeft`] if nobody reads any more.
    pub async fn end(self) -> Result<(), ReaderLeft> {
        self.message(Message::End).await
    }

    /// Ends the body badly.
    pub async fn fail(self, error: Error) {
        // A reader that has left does not need to know.
        let _ = self.message(Message::Failed(error)).await;
    }

    async fn message(&self, message: Message) -> Result<(), ReaderLeft> {
        self.0.send(message).await.map_err(|_closed| ReaderLeft)
    }
}

impl Emitter {
    /// Gives bytes to the reader and waits until it wants more.
    ///
    /// # Errors
    /// [`Error::Abandoned`] if nobody reads any more.
    pub async fn emit(&self, bytes: Bytes) -> Result<(), Error> {
        self.0.send(bytes).await.map_err(|_closed| Error::Abandoned)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let has_paused = matches!(self.kind, Kind::Failing(..));
        let mut next = self.poll_chunk(context);
        if let (Poll::Ready(Some(Err(error))), false) = (&next, has_paused) {
            self.kind = Kind::Failing(error.clone(), Box::pin(tokio::time::sleep(FLUSH)));
            next = self.poll_chunk(context);
        }
        next.map(|next| next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Ended | Kind::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.kind, self.length) {
            (Kind::Ended | Kind::Full(None), _) => SizeHint::with_exact(0),
            (Kind::Full(Some(bytes)), _) => SizeHint::with_exact(bytes.len() as u64),
            // Only asked for before the first chunk.
            (Kind::Channel(_) | Kind::Generated { .. } | Kind::Failing(..), Some(length)) => {
                SizeHint::with_exact(length)
            }
            (Kind::Channel(_) | Kind::Generated { .. } | Kind::Failing(..), None) => {
                SizeHint::default()
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(body: Body, chunks: usize) -> (u64, End) {
        let (tell, told) = std::sync::mpsc::channel();
        let mut body = body.watched(
            |_| {},
            move |read, end| tell.send((read, end)).expect("heard"),
        );
        for _ in 0..chunks {
            let _ = futures_util::FutureExt::now_or_never(body.chunk());
        }
        drop(body);
        let first = told.try_recv().expect("told once");
        assert!(told.try_recv().is_err(), "told twice");
        first
    }

    #[test]
    fn a_watch_is_told_of_the_end_once() {
        assert_eq!(end_of(Body::full("abc"), 2), (3, End::Complete));
        assert_eq!(end_of(Body::full("abc"), 1), (3, End::Complete));
        assert_eq!(end_of(Body::full("abc"), 0), (0, End::ReaderLeft));
        let fails = Body::generate(None, |_out| async { Err(Error::Silent) });
        assert_eq!(end_of(fails, 2), (0, End::Failed(Error::Silent)));
    }

    #[tokio::test]
    async fn a_slice_is_what_it_says_of_whatever_it_is_cut_from() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        file.write_all_at(b"--abcdefgh", 0).expect("written");
        for skipped in 0..=8_u64 {
            for length in 0..=8 - skipped {
                let bytes = || Bytes::from("abcdefgh");
                let generated = Body::generate(Some(8), |out| async move {
                    for at in 0..4 {
                        out.emit(bytes().slice(2 * at..2 * at + 2)).await?;
                    }
                    Ok(())
                });
                let file = Body::file(file.clone(), 2, 8);
                for body in [Body::full(bytes()), file, generated] {
                    let slice = body.slice(skipped, length);
                    assert_eq!(slice.length(), Some(length));
                    let (from, to) = (skipped as usize, (skipped + length) as usize);
                    assert_eq!(read(slice).await, Ok(bytes()[from..to].to_vec()));
                }
            }
        }
        let short = Body::full("abc").slice(1, 3);
        assert_eq!(read(short).await, Err(Error::Truncated));
    }

    #[test]
    fn every_watch_is_told() {
        let (tell, told) = std::sync::mpsc::channel();
        let other = tell.clone();
        let body = Body::full("abc").watched(|_| {}, move |_, _| tell.send(1).expect("heard"));
        drop(body.watched(|_| {}, move |_, _| other.send(2).expect("heard")));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2]);
    }

    async fn read(mut body: Body) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_channel_that_ends_well_is_whole() {
        let (sender, body) = Body::channel(1, None);
        let reader = tokio::spawn(read(body));
        sender
            .send(Bytes::from_static(b"ab"))
            .await
            .expect("a reader");
        sender
            .send(Bytes::from_static(b"c"))
            .await
            .expect("a reader");
        sender.end().await.expect("a reader");
        assert_eq!(reader.await.expect("no panic"), Ok(b"abc".to_vec()));
    }

    #[tokio::test]
    async fn a_producer_that_vanishes_is_a_failure() {
        let (sender, body) = Body::channel(4, None);
        sender
            .send(Bytes::from_static(b"ab"))
            .await
            .expect("a reader");
        drop(sender);
        assert_eq!(read(body).await, Err(Error::Abandoned));
    }

    #[tokio::test]
    async fn a_generated_body_gives_everything_before_its_end() {
        let body = Body::generate(None, |out| async move {
            for chunk in ["a", "b", "c"] {
                out.emit(Bytes::from(chunk)).await?;
            }
            Ok(())
        });
        assert_eq!(read(body).await, Ok(b"abc".to_vec()));
    }

    #[tokio::test]
    async fn a_generated_body_gives_everything_before_its_failure() {
        let mut body = Body::generate(None, |out| async move {
            out.emit(Bytes::from("a")).await?;
            Err(Error::Silent)
        });
        assert_eq!(body.chunk().await, Ok(Some(Bytes::from("a"))));
        assert_eq!(body.chunk().await, Err(Error::Silent));
        assert_eq!(body.chunk().await, Ok(None));
    }
}
