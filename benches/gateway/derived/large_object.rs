//! Frames of an object of 1.5 GB and 10,000 frames: out of a folder, and through another gateway,
//! over HTTP, cold; and paging over an object of a tenth of that.

use super::object::{Object, frame_of, holder, path_below, root};
use super::paging;
use crate::rig::process::Server;
use crate::rig::report::{at_most, figure};
use crate::rig::settings::{LOCATION, OURS, Settings};

const FRAMES: usize = 10_000;
const MOST_MEBIBYTES: f64 = 64.0;

pub(crate) fn run() {
    let directory = tempfile::tempdir().expect("a directory");
    let near = holder(directory.path(), Object { frames: FRAMES });
    println!(" one object of 10,000 frames, 1.5 GB");
    let root = measure(&near, "out of a folder");
    let root = format!("http://{}{root}/", near.address);
    let cache = "memory = \"32 MiB\"\nflights = \"16 MiB\"\ndisk = \"4 GiB\"\nlook_ahead = \"off\"";
    let far = Settings::keeping(OURS, "", cache)
        .location(LOCATION, &root)
        .instances_only();
    measure(&Server::gateway(&far), "over HTTP");
    page();
}

fn page() {
    let directory = tempfile::tempdir().expect("a directory");
    let object = Object {
        frames: FRAMES / 10,
    };
    let near = holder(directory.path(), object);
    println!(" paging over 1,000 frames, 154 MB, over HTTP");
    paging::run(&near, &root(&near), object);
}

/// Asks for frames; gives the path of the root.
fn measure(gateway: &Server, how: &str) -> String {
    let root = root(gateway);
    let path = path_below(&root);
    gateway.forget_peak();
    for frame in [1, FRAMES, FRAMES / 2] {
        let times = frame_of(gateway, &path, frame);
        figure(&format!("{how}, frame {frame}"), times.last, "ms");
    }
    let most = gateway.memory().peak;
    at_most(
        &format!("{how}, resident memory"),
        most,
        MOST_MEBIBYTES,
        "MiB",
    );
    root
}
