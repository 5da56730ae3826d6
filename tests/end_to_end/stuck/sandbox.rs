//! A decoder reaches nothing but its pipes, and one that tries costs its own picture only.

use std::fs;
use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;

use crate::rig::origin::Origin;
use crate::rig::pixels::{native, number, pixel_data, study};
use crate::rig::program::{Program, send_signal};
use crate::rig::study::{EXPLICIT, text};

const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
const PATIENCE: Duration = Duration::from_secs(60);

async fn program(origin: &Origin) -> Program {
    let rendering = "[rendering]\nprocesses = 1\nseconds = 600\n";
    Program::serve(&format!("{rendering}{}", origin.location(10))).await
}

#[tokio::test]
async fn a_decoder_that_renders_is_confined() {
    let study = study(&[(EXPLICIT, native(1, 8, &[7; 8]))]);
    let origin = Origin::of(&study).await;
    let program = program(&origin).await;
    let root = program.register("", study.fhir()).await.root;
    let path = format!("{root}{}/rendered", study.instances()[0].path());
    let rendered = program.get(&path, &[]).await;
    assert_eq!(rendered.status, StatusCode::OK, "{rendered:?}");
    let [pid] = program.decoders()[..] else {
        panic!("{:?} instead of one decoder", program.decoders());
    };
    // While it renders: it stands still in the middle of a picture.
    send_signal(pid, "-STOP");
    let again = format!("{path}?viewport=9,9");
    let rendering = program.get(&again, &[]);
    tokio::pin!(rendering);
    let early = timeout(Duration::from_millis(300), &mut rendering).await;
    assert!(early.is_err(), "it is being rendered");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Threads:\t1"] {
        assert!(
            status.lines().any(|found| found == line),
            "{line} in {status}"
        );
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a process");
    for limit in ["Max open files", "Max file size", "Max core file size"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit));
        let words: Vec<_> = line.expect(limit).split_whitespace().collect();
        assert_eq!(words[..2], ["0", "0"], "{limit}");
    }
    send_signal(pid, "-CONT");
    assert_eq!(rendering.await.status, StatusCode::OK);
    let log = program.log();
    let told: Vec<_> = log
        .iter()
        .filter(|line| line.to_string().contains("confined"))
        .collect();
    // /proc does not show Landlock; the decoder has told the gateway of it.
    let text = "decoders are confined by seccomp and Landlock";
    assert!(
        matches!(told[..], [line] if line["message"] == text),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_system_call_that_decoders_do_not_make_costs_one_picture() {
    let study = study(&[(EXPLICIT, native(1, 8, &[7; 8]))]);
    let origin = Origin::of(&study).await;
    let mut program = program(&origin).await;
    let root = program.register("", study.fhir()).await.root;
    let path = format!("{root}{}/rendered", study.instances()[0].path());
    assert_eq!(program.get(&path, &[]).await.status, StatusCode::OK);
    let [pid] = program.decoders()[..] else {
        panic!("{:?} instead of one decoder", program.decoders());
    };
    send_signal(pid, "-STOP");
    let busy = format!("{path}?viewport=9,9");
    let answer = {
        let rendering = program.get(&busy, &[]);
        tokio::pin!(rendering);
        let early = timeout(Duration::from_millis(300), &mut rendering).await;
        assert!(early.is_err(), "it is being rendered");
        // The signal by which the kernel ends a process for a system call.
        send_signal(pid, "-SYS");
        send_signal(pid, "-CONT");
        rendering.await
    };
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.problem().contains("sandbox"), "{answer:?}");
    let is_meant = |text: &str| text.contains("system call");
    let said = program.said(|line| line["message"].as_str().is_some_and(is_meant));
    let line = timeout(PATIENCE, said).await.expect("it is in the log");
    assert_eq!(line["level"], "ERROR");
    // Another decoder takes the next picture.
    let path = format!("{path}?viewport=10,10");
    assert_eq!(program.get(&path, &[]).await.status, StatusCode::OK);
}

/// The JPEG decoder starts threads for pictures that are larger than those of other tests.
#[tokio::test]
async fn threads_of_a_decoder_are_in_its_sandbox_too() {
    const SIDE: u16 = 512;
    let pixels: Vec<u8> = (0..usize::from(SIDE) * usize::from(SIDE) * 3)
        .map(|place| (place * 31 % 251) as u8)
        .collect();
    let jpeg = |is_progressive| {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.set_progressive(is_progressive);
        let encoded = encoder.encode(&pixels, SIDE, SIDE, jpeg_encoder::ColorType::Rgb);
        encoded.expect("a picture");
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        colour(SIDE, &bytes)
    };
    let study = study(&[(JPEG_BASELINE, jpeg(false)), (JPEG_BASELINE, jpeg(true))]);
    let origin = Origin::of(&study).await;
    let program = program(&origin).await;
    let root = program.register("", study.fhir()).await.root;
    for _twice in 0..2 {
        for instance in study.instances() {
            let path = format!("{root}{}/rendered", instance.path());
            let answer = program.get(&path, &[]).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
    }
    assert_eq!(program.decoders().len(), 1, "the first one has survived");
}

fn colour(side: u16, jpeg: &[u8]) -> Vec<u8> {
    let mut bytes = [
        number(0x0028_0002, 3),
        text(0x0028_0004, b"CS", "YBR_FULL_422"),
        number(0x0028_0006, 0),
        number(0x0028_0010, side),
        number(0x0028_0011, side),
        number(0x0028_0100, 8),
        number(0x0028_0101, 8),
        number(0x0028_0103, 0),
    ]
    .concat();
    bytes.extend(pixel_data(&[], &[jpeg]));
    bytes
}
