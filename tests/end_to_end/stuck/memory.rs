//! One budget bounds memory, whatever clients request and do not read.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::rig::pixels::{image, native, number, study};
use crate::rig::program::Program;
use crate::rig::study::{EXPLICIT, Study, long, text};
use crate::rig::{connect_as, open_as, request};

const RLE: &str = "1.2.840.10008.1.2.5";
const CLIENTS: u8 = 30;
const BUDGET: u64 = 128 << 20;
/// What the allocator does not give back, and what connections take.
const BESIDE: u64 = 80 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// A gateway before a folder with these instances, and a small one as the last.
struct Case {
    program: Program,
    study: Study,
    root: String,
    _folder: tempfile::TempDir,
}

impl Case {
    async fn of(syntax: &str, large: Vec<u8>) -> Self {
        let study = study(&[(syntax, large), (EXPLICIT, native(1, 8, &[7; 8]))]);
        let folder = tempfile::tempdir().expect("a folder");
        study.write(0, folder.path());
        let settings = format!(
            "[limits]\nmemory = \"128 MiB\"\nmemory_wait_seconds = 1\n\
             [rendering]\nseconds = 120\n[cache]\nmemory = \"1 MiB\"\nmetadata = \"1 MiB\"\n\
             [[location]]\nretrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\nfolder = \"{}\"\n",
            folder.path().display()
        );
        let program = Program::serve(&settings).await;
        let root = program.register("", study.fhir()).await.root;
        Self {
            program,
            study,
            root,
            _folder: folder,
        }
    }

    fn path(&self, instance: usize, rest: &str) -> String {
        format!(
            "{}{}/{rest}",
            self.root,
            self.study.instances()[instance].path()
        )
    }

    /// Asks, and reads nothing of the answer.
    async fn asked(&self, client: u8, path: &str, accept: &str) -> TcpStream {
        let address = self.program.public;
        let mut connection = connect_as(client, address).await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: {accept}\r\n\r\n");
        let sent = connection.write_all(head.as_bytes()).await;
        sent.expect("it is sent");
        connection
    }

    async fn resident(&self) -> u64 {
        self.program
            .metric("xcwado_process_resident_memory_bytes")
            .await as u64
    }

    async fn small_answers_pass(&self) {
        for rest in ["metadata", "rendered", "frames/1"] {
            let (path, address) = (self.path(1, rest), self.program.public);
            let request = request(Method::GET, &path, &[], address, Bytes::new());
            let answer = open_as(200, address, request).await.read().await;
            assert_eq!(answer.status, StatusCode::OK, "{rest}: {answer:?}");
        }
    }

    /// Thirty clients ask for something of the large instance and read nothing of it.
    async fn holds_within_the_budget(&self, rest: &str, accept: &str) {
        self.small_answers_pass().await;
        let path = self.path(0, rest);
        let before = self.resident().await;
        let mut peak = before;
        let mut connections = Vec::new();
        for client in 0..CLIENTS {
            connections.push(self.asked(client + 2, &path, accept).await);
        }
        let refused = r#"xcwado_refused_total{bound="memory"}"#;
        let began = Instant::now();
        // Until all of them have something or were refused: nothing is under way any more.
        let mut seen = (0.0, began);
        while seen.1.elapsed() < Duration::from_secs(5) && began.elapsed() < PATIENCE {
            peak = peak.max(self.resident().await);
            let now = self.program.metric(refused).await;
            if now > seen.0 {
                seen = (now, Instant::now());
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert!(
            seen.0 > 0.0,
            "the budget is smaller than what was asked for"
        );
        assert!(
            peak - before < BUDGET + BESIDE,
            "{} MiB more than {} MiB",
            (peak - before) >> 20,
            before >> 20
        );
        self.small_answers_pass().await;
        let mut statuses = Vec::new();
        for mut connection in connections {
            let mut line = [0; 12];
            connection.read_exact(&mut line).await.expect("a status");
            statuses.push(String::from_utf8_lossy(&line[9..]).into_owned());
        }
        assert!(
            statuses
                .iter()
                .all(|status| status == "200" || status == "503")
        );
        assert!(
            statuses.iter().any(|status| status == "200"),
            "{statuses:?}"
        );
        // All who held something have left.
        let given_back = async {
            while self.program.metric("xcwado_budget_bytes").await > 0.0 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let given_back = tokio::time::timeout(PATIENCE, given_back).await;
        given_back.expect("it is given back");
        let (path, address) = (self.path(0, rest), self.program.public);
        let fields = [("accept", accept)];
        let request = request(Method::GET, &path, &fields, address, Bytes::new());
        let answer = open_as(201, address, request).await.read().await;
        assert!(
            answer.status == 200 && answer.is_whole(),
            "{:?}",
            answer.status
        );
    }
}

#[tokio::test]
async fn decoded_frames_that_nobody_reads_stay_within_the_budget() {
    const SIDE: u16 = 4800;
    let pixels = usize::from(SIDE) * usize::from(SIDE);
    // PS3.5 G.3: one segment, of runs of 128 bytes.
    let mut frame = vec![1, 0, 0, 0, 64, 0, 0, 0];
    frame.resize(64, 0);
    frame.extend([0x81, 7].repeat(pixels / 128));
    let mut rest = [
        number(0x0028_0002, 1),
        text(0x0028_0004, b"CS", "MONOCHROME2"),
        number(0x0028_0010, SIDE),
        number(0x0028_0011, SIDE),
        number(0x0028_0100, 8),
        number(0x0028_0101, 8),
        number(0x0028_0103, 0),
    ]
    .concat();
    rest.extend(*b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0");
    rest.extend(u32::try_from(frame.len()).expect("short").to_le_bytes());
    rest.extend(frame);
    rest.extend(*b"\xFE\xFF\xDD\xE0\0\0\0\0");
    let case = Case::of(RLE, rest).await;
    case.holds_within_the_budget("frames/1", "application/octet-stream")
        .await;
}

#[tokio::test]
async fn metadata_that_nobody_reads_stay_within_the_budget() {
    let long_text = "What is written here fills a page. ".repeat((4 << 20) / 35 * 2);
    let rest = [
        image(1, 8),
        long(0x0040_A160, b"UT", long_text.as_bytes()),
        long(0x7FE0_0010, b"OW", &[7; 8]),
    ];
    let case = Case::of(EXPLICIT, rest.concat()).await;
    case.holds_within_the_budget("metadata", "application/dicom+json")
        .await;
}
