//! However a message is cut into chunks, its parts are the same, and no larger than it.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use xcwado::multipart::{Boundary, Error, Event, Limits, PartHead, Splitter};

fuzz_target!(|input: &[u8]| {
    let Some((&first, message)) = input.split_first() else {
        return;
    };
    let chunk_size = usize::from(first).max(1);
    let whole = split(message, message.len().max(1));
    assert_eq!(split(message, chunk_size), whole);
    let bodies: usize = whole.parts.iter().map(|part| part.body.len()).sum();
    assert!(bodies <= message.len());
});

#[derive(Debug, PartialEq)]
struct Received {
    parts: Vec<Part>,
    outcome: Result<(), Error>,
}

#[derive(Debug, PartialEq)]
struct Part {
    head: PartHead,
    body: Vec<u8>,
    is_whole: bool,
}

fn split(message: &[u8], chunk_size: usize) -> Received {
    let mut parts = Vec::new();
    let outcome = split_into(&mut parts, message, chunk_size);
    Received { parts, outcome }
}

fn split_into(parts: &mut Vec<Part>, message: &[u8], chunk_size: usize) -> Result<(), Error> {
    let boundary = Boundary::parse("XYZ").expect("a boundary");
    // Small enough for the fuzzer to reach.
    let limits = Limits {
        part_head: 64,
        preamble: 64,
    };
    let mut splitter = Splitter::new(&boundary, limits);
    for chunk in message.chunks(chunk_size) {
        splitter.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = splitter.next()? {
            add(parts, event);
        }
    }
    splitter.finish()
}

fn add(parts: &mut Vec<Part>, event: Event) {
    match event {
        Event::Part(head) => {
            assert!(parts.last().is_none_or(|part| part.is_whole));
            parts.push(Part {
                head,
                body: Vec::new(),
                is_whole: false,
            });
        }
        Event::Data(slice) => {
            assert!(!slice.is_empty());
            open_part(parts).body.extend_from_slice(&slice);
        }
        Event::PartEnd => open_part(parts).is_whole = true,
    }
}

fn open_part(parts: &mut [Part]) -> &mut Part {
    let part = parts.last_mut().expect("a part before its content");
    assert!(!part.is_whole);
    part
}
