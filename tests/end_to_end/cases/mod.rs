//! The small inputs of `../shared/cases`, each with the answer that is right.

mod addresses;
mod doubtful;
mod handed_out;
mod manifest_reading;
mod manifests;
mod not_located;
mod pictures;
mod reading;
mod warnings;

use std::path::PathBuf;

use crate::rig::tools::left_out;
use crate::rig::{Answer, Rig};

/// One of the folders of small inputs, unless this checkout stands alone.
fn shared_cases(folder: &str) -> Option<PathBuf> {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    let found = cases.join(folder).canonicalize().ok();
    if found.is_none() {
        left_out("small inputs", "../shared/cases is missing");
    }
    found
}

/// The small instances behind a gateway. The number of each gives its UIDs.
struct Instances {
    rig: Rig,
    root: String,
}

impl Instances {
    async fn open() -> Option<Self> {
        Self::of("instances").await
    }

    async fn open_arguable() -> Option<Self> {
        Self::of("instances/arguable").await
    }

    async fn of(folder: &str) -> Option<Self> {
        let folder = shared_cases(folder)?;
        let rig = Rig::start(&format!(
            "[[location]]\nretrieve_location_uid = \"1.3.6.1.4.1.99999.1.10\"\n\
             retrieve_urls = [\"http://files.example/rs\"]\nfolder = {folder:?}\n"
        ));
        let manifest = std::fs::read(folder.join("manifest.json")).expect("a manifest");
        let root = rig.register(manifest).await.root;
        Some(Self { rig, root })
    }

    /// Asks for a sub-resource, `""` for the instance itself.
    async fn get(&self, number: u32, rest: &str, accept: &str) -> Answer {
        self.get_with(number, rest, &[("accept", accept)]).await
    }

    async fn get_with(&self, number: u32, rest: &str, fields: &[(&str, &str)]) -> Answer {
        let uid = format!("2.25.79.{number}");
        let path = format!("studies/{uid}.1/series/{uid}.2/instances/{uid}.3{rest}");
        self.rig.get(&format!("{}{path}", self.root), fields).await
    }
}
