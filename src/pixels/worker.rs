//! The decoder process: it reads tasks from standard input and writes their output to standard
//! output, until its input ends.

use std::io::{self, Read, Write};

use rustix::process::{
    Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};
use serde::Serialize;

use super::{Error, Output, Sandbox, Task, codec, render};

/// The memory limit of a decoder: a frame, its samples, and working memory.
const MOST_MEMORY: u64 = 1 << 30;

/// A task or its reply: JSON, then the bytes of a frame or of the output.
pub(super) struct Message {
    pub(super) json: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// Enters the sandbox, tells the process `parent` about it, and serves the tasks of `parent`, one
/// after the other.
///
/// # Errors
/// If input or output fail, `parent` has exited, or the kernel refuses a limit.
pub fn run(parent: u32) -> io::Result<()> {
    // A busy decoder does not see the end of its input when the gateway is killed.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have exited before that call.
    let now = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now != Some(parent) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let limit = Rlimit {
        current: Some(MOST_MEMORY),
        maximum: Some(MOST_MEMORY),
    };
    setrlimit(Resource::As, limit)?;
    // A panic message is of no use to the parent, and may hold bytes of the frame.
    std::panic::set_hook(Box::new(|_quietly| {}));
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    write(&mut output, &Sandbox::enter()?, &[])?;
    while let Some(message) = read(&mut input)? {
        let (outcome, bytes) = match done(&message) {
            Ok((bytes, is_rgb)) => (Ok(is_rgb), bytes),
            Err(error) => (Err(error), Vec::new()),
        };
        write(&mut output, &outcome, &bytes)?;
    }
    Ok(())
}

fn write(output: &mut impl Write, said: &impl Serialize, bytes: &[u8]) -> io::Result<()> {
    let json = serde_json::to_vec(said)?;
    output.write_all(&header(json.len(), bytes.len()))?;
    output.write_all(&json)?;
    output.write_all(bytes)?;
    output.flush()
}

fn done(message: &Message) -> Result<(Vec<u8>, bool), Error> {
    let task: Task = serde_json::from_slice(&message.json).map_err(codec::damaged)?;
    let samples = codec::decode(task.compressed.as_deref(), &task.geometry, &message.bytes)?;
    match &task.output {
        Output::Samples => Ok((samples.bytes, samples.is_rgb)),
        Output::Picture(rendering) => {
            let picture = render::render(&samples, &task.geometry, rendering)?;
            Ok((picture, samples.is_rgb))
        }
    }
}

/// The header of a message: the lengths of its JSON and its bytes.
pub(super) fn header(json: usize, bytes: usize) -> [u8; 8] {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = [0; 8];
    header[..4].copy_from_slice(&number(json));
    header[4..].copy_from_slice(&number(bytes));
    header
}

/// The lengths in a header.
pub(super) fn lengths(header: [u8; 8]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = header;
    let number = |bytes| u32::from_le_bytes(bytes) as usize;
    (number([a, b, c, d]), number([e, f, g, h]))
}

fn read(input: &mut impl Read) -> io::Result<Option<Message>> {
    let mut head = [0; 8];
    match input.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let (json, bytes) = lengths(head);
    let mut message = Message {
        json: vec![0; json],
        bytes: vec![0; bytes],
    };
    input.read_exact(&mut message.json)?;
    input.read_exact(&mut message.bytes)?;
    Ok(Some(message))
}
