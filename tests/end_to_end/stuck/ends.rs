//! A decoder process ends with its gateway, and one that ended while it was idle is replaced.

use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{sleep, timeout};

use crate::rig::origin::Origin;
use crate::rig::pixels::{native, study};
use crate::rig::program::{Program, send_signal};
use crate::rig::study::EXPLICIT;

const PATIENCE: Duration = Duration::from_secs(60);

struct Case {
    program: Program,
    path: String,
    _origin: Origin,
}

impl Case {
    async fn new() -> Self {
        let study = study(&[(EXPLICIT, native(1, 8, &[7; 8]))]);
        let origin = Origin::of(&study).await;
        let settings = format!(
            "[rendering]\nprocesses = 1\nseconds = 600\n{}",
            origin.location(10)
        );
        let program = Program::serve(&settings).await;
        let root = program.register("", study.fhir()).await.root;
        let path = format!("{root}{}/rendered", study.instances()[0].path());
        let case = Self {
            program,
            path,
            _origin: origin,
        };
        assert_eq!(case.render(0).await, StatusCode::OK);
        case
    }

    async fn render(&self, number: usize) -> StatusCode {
        // Not the picture that a client has already.
        let path = format!("{}?viewport={},8", self.path, number + 8);
        self.program.get(&path, &[]).await.status
    }

    fn decoder(&self) -> u32 {
        let [pid] = self.program.decoders()[..] else {
            panic!("{:?} instead of one decoder", self.program.decoders());
        };
        pid
    }
}

#[tokio::test]
async fn a_decoder_that_ended_while_it_was_idle_costs_nobody_a_422() {
    let case = Case::new().await;
    for number in 0..10 {
        send_signal(case.decoder(), "-KILL");
        assert_eq!(case.render(number).await, StatusCode::OK, "{number}");
    }
}

#[tokio::test]
async fn a_busy_decoder_ends_when_the_gateway_is_killed() {
    let mut case = Case::new().await;
    let decoder = case.decoder();
    // One that stands still is as busy as one that never comes to an end.
    send_signal(decoder, "-STOP");
    let rendering = timeout(Duration::from_millis(300), case.render(1)).await;
    assert!(rendering.is_err(), "it is being decoded");
    case.program.kill();
    let gone = async {
        while is_alive(decoder) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = timeout(PATIENCE, gone).await;
    if gone.is_err() {
        send_signal(decoder, "-KILL");
    }
    assert!(gone.is_ok(), "the decoder outlives its gateway");
}

/// Whether a process is there, and is more than an entry that nobody has collected.
fn is_alive(pid: u32) -> bool {
    let stat = Path::new("/proc").join(pid.to_string()).join("stat");
    let stat = std::fs::read_to_string(stat).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
