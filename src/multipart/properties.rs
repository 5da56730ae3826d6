//! Properties of every message in chunks of any size.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::delimiter::LONGEST_PADDING;
use super::{Boundary, Error, Event, Joiner, Limits, PartHead, Splitter};

/// The media type and the body of a part.
pub(super) type Part = (Option<String>, Vec<u8>);

pub(super) fn split<'a>(
    boundary: &str,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Part>, Error> {
    split_with(Limits::default(), boundary, chunks)
}

pub(super) fn split_with<'a>(
    limits: Limits,
    boundary: &str,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Part>, Error> {
    let mut received = Received::default();
    received.split(limits, boundary, chunks)?;
    Ok(received.parts)
}

#[derive(Debug, Default, PartialEq)]
struct Received {
    parts: Vec<Part>,
    ended: usize,
}

impl Received {
    // Also checks the order of events and the memory of the splitter.
    fn split<'a>(
        &mut self,
        limits: Limits,
        boundary: &str,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Error> {
        let delimiter = "\r\n--".len() + boundary.len() + LONGEST_PADDING + "\r".len();
        let boundary = Boundary::parse(boundary).expect("a boundary");
        let mut splitter = Splitter::new(&boundary, limits);
        for chunk in chunks {
            splitter.push(Bytes::copy_from_slice(chunk));
            while let Some(event) = splitter.next()? {
                self.add(event);
            }
            assert!(splitter.buffered() <= delimiter.max(limits.part_head));
            assert!(!splitter.is_closed() || self.ended == self.parts.len());
        }
        splitter.finish()
    }

    fn add(&mut self, event: Event) {
        match event {
            Event::Part(head) => {
                assert_eq!(self.ended, self.parts.len(), "a part within a part");
                let content_type = head.content_type().map(str::to_owned);
                self.parts.push((content_type, Vec::new()));
            }
            Event::Data(slice) => {
                assert!(!slice.is_empty(), "a slice of nothing");
                assert_eq!(self.ended + 1, self.parts.len(), "data outside of a part");
                let (_, body) = self.parts.last_mut().expect("a part");
                body.extend_from_slice(&slice);
            }
            Event::PartEnd => {
                self.ended += 1;
                assert_eq!(self.ended, self.parts.len(), "an end outside of a part");
            }
        }
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, body)| body.len()).sum()
    }
}

/// RFC 2046 5.1.1 once more, in the plainest way: on the whole message and without regard for time.
mod reference {
    use super::{LONGEST_PADDING, Part, PartHead};

    /// The kind of a delimiter.
    pub(super) enum Kind {
        Next { bare_lf: bool },
        Close,
    }

    /// The delimiter at the start of `text`, which has had its line end, and its length.
    pub(super) fn delimiter(text: &[u8], boundary: &str) -> Option<(Kind, usize)> {
        let rest = text
            .strip_prefix(b"--")?
            .strip_prefix(boundary.as_bytes())?;
        let before = text.len() - rest.len();
        if rest.starts_with(b"--") {
            return Some((Kind::Close, before + 2));
        }
        let is_blank = |b: &&u8| matches!(b, b' ' | b'\t');
        let padding = rest.iter().take_while(is_blank).count();
        let rest = &rest[padding..];
        let bare_lf = rest.starts_with(b"\n");
        let line_end = if bare_lf { 1 } else { 2 };
        let is_line = bare_lf || rest.starts_with(b"\r\n");
        (is_line && padding <= LONGEST_PADDING)
            .then_some((Kind::Next { bare_lf }, before + padding + line_end))
    }

    /// The parts of a message; `None` if it is none, or not whole.
    pub(super) fn split(message: &[u8], boundary: &str) -> Option<Vec<Part>> {
        let (_, mut kind, mut at) = next(message, 0, boundary, true)?;
        let lf_counts = matches!(kind, Kind::Next { bare_lf: true });
        let mut parts = Vec::new();
        while let Kind::Next { .. } = kind {
            let start = at + head_length(&message[at..])?;
            let head = PartHead::parse(&message[at..start]).ok()?;
            let end;
            (end, kind, at) = next(message, start, boundary, lf_counts)?;
            let body = message[start..end].to_vec();
            parts.push((head.content_type().map(str::to_owned), body));
        }
        Some(parts)
    }

    fn head_length(text: &[u8]) -> Option<usize> {
        let lines = text.split_inclusive(|&b| b == b'\n');
        let mut length = 0;
        for line in lines.filter(|line| line.ends_with(b"\n")) {
            length += line.len();
            if matches!(line, b"\n" | b"\r\n") {
                return Some(length);
            }
        }
        None
    }

    // The next delimiter from `from` on, which is at the start of a line: where the text before it
    // ends, what it is, and where it ends.
    fn next(text: &[u8], from: usize, boundary: &str, lf: bool) -> Option<(usize, Kind, usize)> {
        (from..text.len()).find_map(|at| {
            let rest = &text[at..];
            let line_ends: &[&[u8]] = if lf { &[b"\r\n", b"\n"] } else { &[b"\r\n"] };
            let line_end = line_ends
                .iter()
                .find(|end| rest.starts_with(end))
                .map(|end| end.len());
            let found = |skip: usize| {
                let (kind, length) = delimiter(&rest[skip..], boundary)?;
                Some((at, kind, at + skip + length))
            };
            if at == from {
                found(0).or_else(|| found(line_end?))
            } else {
                found(line_end?)
            }
        })
    }
}

const BOUNDARIES: [&str; 6] = ["XYZ", "-", "--", "a b", "X--X", "xcwado-0123456789abcdef"];

// Bytes, and text that resembles delimiters.
fn text(boundary: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let half = &boundary[..boundary.len().div_ceil(2)];
    let fragments = vec![
        "\r", "\n", "\r\n", "\r\n\r\n", "\n\n", "-", "--", " ", "\t", "x", "A: b", boundary, half,
    ];
    let lines = ["\r\n--", "\n--", "--"].map(|start| format!("{start}{boundary}"));
    let fragment = prop_oneof![
        4 => select(fragments).prop_map(|text: &str| text.as_bytes().to_vec()),
        4 => select(lines.to_vec()).prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..20),
        1 => select(vec![LONGEST_PADDING, LONGEST_PADDING + 1]).prop_map(|n| vec![b' '; n]),
    ];
    vec(fragment, 0..24).prop_map(|fragments| fragments.concat())
}

// RFC 2046 5.1: no line of a body may be a boundary line. The last one gets its end from what
// follows.
fn can_be_sent(body: &[u8], boundary: &str) -> bool {
    let within = [b"\r\n", body, b"\r\n"].concat();
    (0..body.len() + 2).all(|at| {
        let line = within[at..].strip_prefix(b"\r\n");
        line.is_none_or(|line| reference::delimiter(line, boundary).is_none())
    })
}

fn bodies() -> impl Strategy<Value = (&'static str, Vec<Vec<u8>>)> {
    select(&BOUNDARIES[..]).prop_flat_map(|boundary| {
        let body = text(boundary).prop_map(move |mut body| {
            while !can_be_sent(&body, boundary) {
                body.pop();
            }
            body
        });
        (Just(boundary), vec(body, 0..5))
    })
}

// Random text that resembles a message.
fn text_with_boundary() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    select(&BOUNDARIES[..]).prop_flat_map(|boundary| {
        let starts = [
            "",
            "--B\r\n\r\n",
            "--B\n\n",
            "\n--B\nContent-Type: a/b\r\n\n",
        ];
        let ends = ["", "\n--B--", "\r\n--B--", "\r\n--B--\r\n"];
        let message = (
            select(starts.to_vec()),
            text(boundary),
            select(ends.to_vec()),
        )
            .prop_map(move |(start, text, end)| {
                let [start, end] = [start, end].map(|t| t.replace('B', boundary));
                [start.as_bytes(), &text, end.as_bytes()].concat()
            });
        (Just(boundary), message)
    })
}

fn join(boundary: &str, bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut joiner = Joiner::new(Boundary::parse(boundary).expect("a boundary"));
    let mut message = Vec::new();
    for body in bodies {
        message.extend_from_slice(&joiner.part(&[("Content-Type", "application/dicom")]));
        message.extend_from_slice(body);
    }
    message.extend_from_slice(&joiner.close());
    message
}

fn cut<'a>(message: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts
        .iter()
        .map(|cut| cut.index(message.len() + 1))
        .collect();
    ends.push(message.len());
    ends.sort_unstable();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts
        .zip(&ends)
        .map(|(start, &end)| &message[start..end])
        .collect()
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop_oneof![vec(any::<Index>(), 0..6), vec(any::<Index>(), 100..300)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_joined_splits_into_the_same_parts((boundary, bodies) in bodies(), cuts in cuts()) {
        let message = join(boundary, &bodies);
        let content_type = Some("application/dicom".to_owned());
        let expected: Vec<Part> = bodies.into_iter().map(|body| (content_type.clone(), body)).collect();
        prop_assert_eq!(split(boundary, cut(&message, &cuts)), Ok(expected.clone()));
        prop_assert_eq!(split(boundary, message.chunks(1)), Ok(expected));
    }

    #[test]
    fn what_was_cut_off_is_never_whole((boundary, bodies) in bodies(), at in any::<Index>()) {
        let message = join(boundary, &bodies);
        let end = message.len() - "\r\n".len();
        let cut = &message[..at.index(end)];
        prop_assert_eq!(split(boundary, [cut]), Err(Error::Truncated));
        prop_assert_eq!(split(boundary, cut.chunks(1)), Err(Error::Truncated));
        prop_assert_eq!(split(boundary, [&message[..end]]).map(|parts| parts.len()), Ok(bodies.len()));
    }

    #[test]
    fn any_input_gives_the_same_however_it_is_cut((boundary, text) in text_with_boundary(), cuts in cuts()) {
        let limits = Limits { part_head: 40, preamble: 60 };
        let (mut whole, mut chunked) = (Received::default(), Received::default());
        let outcome = whole.split(limits, boundary, [text.as_slice()]);
        prop_assert_eq!(chunked.split(limits, boundary, cut(&text, &cuts)), outcome);
        prop_assert_eq!(&chunked, &whole);
        prop_assert!(whole.bytes() <= text.len());
    }

    #[test]
    fn any_input_splits_as_the_grammar_says((boundary, text) in text_with_boundary()) {
        let parts = split(boundary, [text.as_slice()]);
        prop_assert_eq!(parts.ok(), reference::split(&text, boundary));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..2000), cuts in cuts()) {
        let mut received = Received::default();
        let _ = received.split(Limits::default(), "X", cut(&bytes, &cuts));
        prop_assert!(received.bytes() <= bytes.len());
    }
}
