//! One object of many frames, which a gateway holds in a folder.

use std::fs::File;
use std::io::Write;

use crate::caching::keeping::Times;
use crate::rig::client::Connection;
use crate::rig::process::Server;
use crate::rig::report::milliseconds;
use crate::rig::settings::{LOCATION, Settings, THEIRS};
use crate::study::dicom::Dataset;
use crate::study::{self, CT_IMAGE_STORAGE, STUDY, Shape, manifest};

const SHAPE: Shape = Shape {
    series: 1,
    instances: 1,
    bytes: 0,
};
/// 300 rows of 256 pixels of 16 bits.
const FRAME: usize = 300 * 256 * 2;
const ACCEPT: &str = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";

/// An object of a number of frames.
#[derive(Clone, Copy)]
pub(super) struct Object {
    pub(super) frames: usize,
}

/// A gateway with the object in a folder.
pub(super) fn holder(folder: &std::path::Path, object: Object) -> Server {
    object.write(&folder.join("large.dcm"));
    let near = Settings::keeping(THEIRS, "", "memory = \"32 MiB\"")
        .line("[[location]]")
        .text("retrieve_location_uid", LOCATION)
        .path("folder", folder);
    Server::gateway(&near)
}

pub(super) fn root(gateway: &Server) -> String {
    let manifest = manifest::fhir(SHAPE, &[LOCATION]);
    gateway.register("application/fhir+json", &manifest)
}

/// Its path at a gateway, which learns of it.
pub(super) fn path_at(gateway: &Server) -> String {
    path_below(&root(gateway))
}

pub(super) fn path_below(root: &str) -> String {
    let (series, instance) = (study::series_uid(0), study::instance_uid(0, 0));
    format!("{root}/studies/{STUDY}/series/{series}/instances/{instance}")
}

pub(super) fn frame_of(gateway: &Server, path: &str, frame: usize) -> Times {
    let mut connection = Connection::open(gateway.address, 256 << 10);
    let began = std::time::Instant::now();
    let answer = connection.get(&format!("{path}/frames/{frame}"), ACCEPT);
    assert_eq!(answer.status, 200, "frame {frame}");
    let first = milliseconds(began.elapsed());
    let body = answer.collect();
    // Each frame begins with its number.
    let number = u32::try_from(frame).expect("small").to_le_bytes();
    let at = memchr::memmem::find(&body, b"\r\n\r\n").expect("a part") + 4;
    assert_eq!(body[at..at + 4], number, "it is another frame");
    assert!(body.len() > FRAME);
    Times {
        first,
        last: milliseconds(began.elapsed()),
    }
}

impl Object {
    /// Its pixels.
    pub(super) fn bytes(self) -> usize {
        self.frames * FRAME
    }

    fn write(self, path: &std::path::Path) {
        let uid = study::instance_uid(0, 0);
        let head = Dataset::new()
            .text((0x0008, 0x0016), "UI", CT_IMAGE_STORAGE)
            .text((0x0008, 0x0018), "UI", &uid)
            .text((0x0020, 0x000D), "UI", STUDY)
            .text((0x0020, 0x000E), "UI", &study::series_uid(0))
            .unsigned((0x0028, 0x0002), 1)
            .text((0x0028, 0x0004), "CS", "MONOCHROME2")
            .text((0x0028, 0x0008), "IS", &self.frames.to_string())
            .unsigned((0x0028, 0x0010), 300)
            .unsigned((0x0028, 0x0011), 256)
            .unsigned((0x0028, 0x0100), 16)
            .unsigned((0x0028, 0x0101), 16)
            .unsigned((0x0028, 0x0102), 15)
            .unsigned((0x0028, 0x0103), 0)
            .announce((0x7FE0, 0x0010), "OW", self.frames * FRAME)
            .into_part10(CT_IMAGE_STORAGE, &uid);
        let mut file = std::io::BufWriter::new(File::create(path).expect("a file"));
        file.write_all(&head).expect("written");
        let mut frame = vec![0; FRAME];
        for number in 1..=self.frames {
            let number = u32::try_from(number).expect("small");
            frame[..4].copy_from_slice(&number.to_le_bytes());
            file.write_all(&frame).expect("written");
        }
        file.flush().expect("written");
    }
}
