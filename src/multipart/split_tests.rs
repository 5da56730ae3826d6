use std::time::{Duration, Instant};

use super::super::properties::{Part, split, split_with};
use super::*;

const CHUNK_SIZES: [usize; 3] = [1, 7, 4096];

fn part(content_type: &str, body: &str) -> Part {
    (Some(content_type.to_owned()), body.as_bytes().to_vec())
}

fn bare(body: &str) -> Part {
    (None, body.as_bytes().to_vec())
}

#[test]
fn splits_what_senders_write() {
    let long_padding = format!("--XYZ{}\r\n\r\na\r\n--XYZ--", " \t".repeat(128));
    let too_long_padding = format!("\r\n--XYZ{}\r\nb", " ".repeat(257));
    let with_too_long_padding = format!("--XYZ\r\n\r\na{too_long_padding}\r\n--XYZ--");
    #[rustfmt::skip]
    let rows: &[(&str, &str, Vec<Part>)] = &[
        ("by the book",
         "--XYZ\r\nContent-Type: a/b\r\n\r\none\r\n--XYZ\r\nContent-Type: c/d\r\n\r\ntwo\r\n--XYZ--\r\n",
         vec![part("a/b", "one"), part("c/d", "two")]),
        ("preamble and epilogue",
         "Read me\r\n--XYZW\r\nnot --XYZ yet\r\n\r\n--XYZ\r\nContent-Type: a/b\r\n\r\none\r\n--XYZ--\r\n\r\n--XYZ\r\n\r\nno part",
         vec![part("a/b", "one")]),
        ("line end before the first boundary", "\r\n--XYZ\r\n\r\none\r\n--XYZ--\r\n", vec![bare("one")]),
        ("LF in head and boundary lines only",
         "--XYZ\nContent-Type: a/b\n\none\r\n--XYZ\nContent-Type: c/d\n\ntwo\r\n--XYZ--\n",
         vec![part("a/b", "one"), part("c/d", "two")]),
        ("LF everywhere",
         "preamble\n--XYZ\nContent-Type: a/b\n\none\n\n--XYZ\n\n--XYZ\n\nt\nwo\n--XYZ--\n",
         vec![part("a/b", "one\n"), bare(""), bare("t\nwo")]),
        ("LF everywhere, near-boundaries",
         "--XYZ\n\n\n\n--XY\n\r\n--XYZW\r\r\n--XYZ-\n\n--XYZ--",
         vec![bare("\n\n--XY\n\r\n--XYZW\r\r\n--XYZ-\n")]),
        ("LF before a boundary among CRLF is body",
         "--XYZ\r\n\r\none\n--XYZ\ntwo\n--XYZ--\n\r\n--XYZ--",
         vec![bare("one\n--XYZ\ntwo\n--XYZ--\n")]),
        ("LF after later boundaries among CRLF",
         "--XYZ\r\n\r\none\r\n--XYZ\nContent-Type: a/b\n\ntwo\n\r\n--XYZ--",
         vec![bare("one"), part("a/b", "two\n")]),
        ("padding after boundaries",
         "--XYZ  \t\r\n\r\none\r\n--XYZ \n\r\ntwo\r\n--XYZ-- \t \r\n",
         vec![bare("one"), bare("two")]),
        ("longest padding", &long_padding, vec![bare("a")]),
        ("more than the longest padding", &with_too_long_padding, vec![bare(&format!("a{too_long_padding}"))]),
        ("no parts", "--XYZ--", vec![]),
        ("no parts after a preamble", "nothing\r\n--XYZ--\r\n", vec![]),
        ("parts without head", "--XYZ\r\n\r\none\r\n--XYZ\r\n\r\ntwo\r\n--XYZ--", vec![bare("one"), bare("two")]),
        ("empty parts",
         "--XYZ\r\nContent-Type: a/b\r\n\r\n\r\n--XYZ\r\n\r\n\r\n--XYZ--",
         vec![part("a/b", ""), bare("")]),
        ("empty parts that share a line end with the boundary",
         "--XYZ\r\nContent-Type: a/b\r\n\r\n--XYZ\r\n\r\n--XYZ--",
         vec![part("a/b", ""), bare("")]),
        ("shorter near-boundary", "--XYZ\r\n\r\na\r\n--XY\r\nb\r\n--XYZ--", vec![bare("a\r\n--XY\r\nb")]),
        ("longer near-boundary", "--XYZ\r\n\r\na\r\n--XYZfoo\r\n--XYZ--", vec![bare("a\r\n--XYZfoo")]),
        ("near-boundary right after the head", "--XYZ\r\n\r\n--XYZfoo\r\n--XYZ--", vec![bare("--XYZfoo")]),
        ("near-boundary with padding", "--XYZ\r\n\r\na\r\n--XYZ \tfoo\r\n--XYZ--", vec![bare("a\r\n--XYZ \tfoo")]),
        ("hyphen apart", "--XYZ\r\n\r\na\r\n--XYZ -\r\n--XYZ -- \r\n--XYZ-\r\n--XYZ--",
         vec![bare("a\r\n--XYZ -\r\n--XYZ -- \r\n--XYZ-")]),
        ("CR that ends no line", "--XYZ\r\n\r\n\r\n--XYZ\r\r\n--XYZ \rb\r\n--XYZ--", vec![bare("\r\n--XYZ\r\r\n--XYZ \rb")]),
        ("boundary not at the start of a line", "--XYZ\r\n\r\na--XYZ\r\nb\r--XYZ--\r\n--XYZ--", vec![bare("a--XYZ\r\nb\r--XYZ--")]),
        ("line ends before a boundary", "--XYZ\r\n\r\n\r\n\r\r\r\n--XYZ\r\n\r\n\r\r\n--XYZ--", vec![bare("\r\n\r\r"), bare("\r")]),
        ("other case", "--XYZ\r\n\r\na\r\n--xyz--\r\n--XYZ--", vec![bare("a\r\n--xyz--")]),
        ("junk after the closing hyphens", "--XYZ\r\n\r\na\r\n--XYZ--junk", vec![bare("a")]),
        ("name and value without a blank, folded",
         "--XYZ\r\ncontent-type:a/b;\r\n c=d\r\n\r\none\r\n--XYZ--",
         vec![part("a/b; c=d", "one")]),
    ];
    for (name, message, expected) in rows {
        for size in CHUNK_SIZES {
            let parts = split("XYZ", message.as_bytes().chunks(size));
            assert_eq!(parts.as_ref(), Ok(expected), "{name}, chunks of {size}");
        }
    }
}

#[test]
fn refuses_what_is_not_whole_or_has_no_bound() {
    let limits = Limits {
        part_head: 20,
        preamble: 10,
    };
    let head_too_large = Err(Error::PartHeadTooLarge { limit: 20 });
    let preamble_too_large = Err(Error::PreambleTooLarge { limit: 10 });
    #[rustfmt::skip]
    let rows: &[(&str, &str, Result<usize, Error>)] = &[
        ("nothing", "", Err(Error::Truncated)),
        ("no boundary", "preamble", Err(Error::Truncated)),
        ("half a boundary", "--XY", Err(Error::Truncated)),
        ("no head", "--XYZ\r\n", Err(Error::Truncated)),
        ("half a head", "--XYZ\r\nA: b\r\n", Err(Error::Truncated)),
        ("no body", "--XYZ\r\nA: b\r\n\r\n", Err(Error::Truncated)),
        ("no closing boundary", "--XYZ\r\n\r\none", Err(Error::Truncated)),
        ("half a closing boundary", "--XYZ\r\n\r\none\r\n--XYZ-", Err(Error::Truncated)),
        ("part begun", "--XYZ\r\n\r\none\r\n--XYZ\r\n", Err(Error::Truncated)),
        ("largest preamble", "0123456789\r\n--XYZ--", Ok(0)),
        ("preamble too large", "0123456789a\r\n--XYZ--", preamble_too_large),
        ("preamble of near-boundaries", "\r\n--XY\r\n--XY\r\n--XYZ--", preamble_too_large),
        ("largest head", "--XYZ\r\nA: 3456789012345\r\n\r\n\r\n--XYZ--", Ok(1)),
        ("head too large", "--XYZ\r\nA: 34567890123456\r\n\r\n\r\n--XYZ--", head_too_large),
        ("head of many lines", "--XYZ\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n--XYZ--", head_too_large),
        ("head without end", "--XYZ\r\nA: 345678901234567890", head_too_large),
        ("second head too large", "--XYZ\r\n\r\n\r\n--XYZ\r\nA: 345678901234567890", head_too_large),
        ("no field", "--XYZ\r\nDICM\r\n\r\n\r\n--XYZ--", Err(Error::MalformedPartHead)),
        ("boundary in a head", "--XYZ\r\n--XYZ--\r\n\r\n", Err(Error::MalformedPartHead)),
    ];
    for (name, message, expected) in rows {
        for size in CHUNK_SIZES {
            let parts = split_with(limits, "XYZ", message.as_bytes().chunks(size));
            let count = parts.map(|parts| parts.len());
            assert_eq!(&count, expected, "{name}, chunks of {size}");
        }
    }
}

fn splitter() -> Splitter {
    let boundary = Boundary::parse("XYZ").expect("a boundary");
    Splitter::new(&boundary, Limits::default())
}

fn events(splitter: &mut Splitter) -> Vec<Event> {
    std::iter::from_fn(|| splitter.next().expect("a well-formed message")).collect()
}

#[test]
fn gives_events_as_early_as_it_can() {
    let mut splitter = splitter();
    let mut after = |chunk: &'static str| {
        splitter.push(Bytes::from(chunk));
        (events(&mut splitter), splitter.is_closed())
    };
    let head = Event::Part(PartHead::default());
    let data = |text: &'static str| Event::Data(Bytes::from(text));
    assert_eq!(after("--XYZ"), (vec![], false));
    assert_eq!(after("\r\n\r\n"), (vec![head.clone()], false));
    assert_eq!(after("one\r"), (vec![data("one")], false));
    assert_eq!(after("\n-"), (vec![], false));
    assert_eq!(after("two"), (vec![data("\r\n-"), data("two")], false));
    assert_eq!(after("\r\n--XYZ\r"), (vec![], false));
    assert_eq!(
        after("\n\r\nx"),
        (vec![Event::PartEnd, head, data("x")], false)
    );
    assert_eq!(after("\r\n--XYZ-"), (vec![], false));
    assert_eq!(after("-"), (vec![Event::PartEnd], true));
    assert_eq!(after("\r\nepilogue\r\n--XYZ\r\n\r\n"), (vec![], true));
}

#[test]
fn gives_slices_of_the_chunks_themselves() {
    let chunk = Bytes::from("--XYZ\r\n\r\na body\r\n--XYZ\r\n\r\nanother\r\n-");
    let mut splitter = splitter();
    splitter.push(chunk.clone());
    let slices: Vec<_> = events(&mut splitter)
        .into_iter()
        .filter_map(|event| match event {
            Event::Data(slice) => Some(slice),
            Event::Part(_) | Event::PartEnd => None,
        })
        .collect();
    assert_eq!(slices, ["a body", "another"]);
    assert!(
        slices
            .iter()
            .all(|slice| chunk.as_ptr_range().contains(&slice.as_ptr()))
    );
}

#[test]
fn loses_nothing_of_chunks_that_are_pushed_too_early() {
    let mut splitter = splitter();
    for chunk in ["--XYZ\r\n\r", "\none\r\n--", "XYZ--"] {
        splitter.push(Bytes::from(chunk));
    }
    assert_eq!(
        events(&mut splitter),
        [
            Event::Part(PartHead::default()),
            Event::Data(Bytes::from("one")),
            Event::PartEnd
        ]
    );
    assert_eq!(splitter.finish(), Ok(()));
}

#[test]
fn stays_with_its_first_error() {
    let mut splitter = splitter();
    splitter.push(Bytes::from("--XYZ\r\nno field\r\n\r\n"));
    for _ in 0..2 {
        assert_eq!(splitter.next(), Err(Error::MalformedPartHead));
        assert_eq!(splitter.finish(), Err(Error::MalformedPartHead));
        splitter.push(Bytes::from("\r\n--XYZ--"));
    }
    assert!(!splitter.is_closed());
    assert_eq!(splitter.buffered(), 0);
}

// A scan that starts over with each chunk, or at each line end, would take hours for these.
#[test]
fn takes_time_in_proportion_to_the_input() {
    let started = Instant::now();
    let frames = ["\r", "\r\n-", "\r\n--XYZ.", "\r\n--XYZ \r", "\n", "\0"];
    for (frame, line_end) in frames.iter().flat_map(|f| [(f, "\r\n"), (f, "\n")]) {
        let start = format!("--XYZ{line_end}{line_end}x");
        let body = frame.repeat(1_000_000 / frame.len()) + "x";
        for size in [1, 1000, 64 << 10] {
            let mut splitter = splitter();
            let mut received = 0;
            for text in [start.as_bytes(), body.as_bytes(), b"\r\n--XYZ--"] {
                received += push_all(&mut splitter, text, size);
            }
            assert_eq!(splitter.finish(), Ok(()), "{frame:?}");
            assert_eq!(received, body.len() + "x".len(), "{frame:?}");
        }
    }
    let tiny = "--XYZ\r\n\r\n1\r\n".repeat(100_000) + "--XYZ--";
    for size in [1, 1000, tiny.len()] {
        let mut splitter = splitter();
        assert_eq!(push_all(&mut splitter, tiny.as_bytes(), size), 100_000);
        assert_eq!(splitter.finish(), Ok(()));
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

fn push_all(splitter: &mut Splitter, text: &[u8], size: usize) -> usize {
    let text = Bytes::copy_from_slice(text);
    let mut received = 0;
    for start in (0..text.len()).step_by(size) {
        splitter.push(text.slice(start..text.len().min(start + size)));
        while let Some(event) = splitter.next().expect("a well-formed message") {
            if let Event::Data(slice) = event {
                received += slice.len();
            }
        }
    }
    received
}
