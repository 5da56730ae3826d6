//! `xcwado demo`: two communities on this machine, each with its gateway and a part of a generated
//! study, mutual TLS between them.
#![expect(clippy::print_stdout, reason = "the demonstration prints what to try")]

mod certificates;
mod community;
mod dataset;
mod fhir;
mod font;
mod image;
mod kos;
mod model;
mod montage;
mod phantom;
mod study;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::manifest::Id;
use crate::start::Failure;
use crate::start::block_on;
use community::{Addresses, Community, home_community_id, location_ids};
use model::{Location, Study};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where community A's gateway listens for viewers, on this machine only
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let root = tempfile::Builder::new().prefix("xcwado-demo-").tempdir();
    let root = root.map_err(Failure::new)?;
    let study = study::generate(root.path()).map_err(Failure::new)?;
    let manifests = write_manifests(&study, root.path())?;
    block_on(async {
        let a = Community::open(Location::A, root.path(), arguments.port).await?;
        let b = Community::open(Location::B, root.path(), 0).await?;
        let mut printed = Printed {
            study: &study,
            manifest: &manifests[0],
            a: a.addresses,
            b: b.addresses,
            a_directory: a.directory.clone(),
            b_directory: b.directory.clone(),
            id: None,
        };
        let sides = (a.side(), b.side());
        let (a, b) = (a.join(&sides.1)?, b.join(&sides.0)?);
        for manifest in &manifests {
            let bytes = std::fs::read(manifest).map_err(Failure::new)?;
            let id = a.register(&bytes, Location::B)?;
            printed.id.get_or_insert(id);
            b.register(&bytes, Location::A)?;
        }
        printed.print();
        tokio::try_join!(a.serve(), b.serve()).map(|_both| ())
    })
}

/// The same study in both formats of a manifest.
fn write_manifests(study: &Study, directory: &Path) -> Result<[PathBuf; 2], Failure> {
    let ids = [Location::A, Location::B].map(location_ids);
    let files = [
        directory.join("manifest.dcm"),
        directory.join("manifest.json"),
    ];
    for (path, bytes) in files
        .iter()
        .zip([kos::write(study, &ids), fhir::write(study, &ids)])
    {
        std::fs::write(path, bytes)
            .map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    }
    Ok(files)
}

/// What the lines on the screen are made of.
struct Printed<'a> {
    study: &'a Study,
    manifest: &'a Path,
    a: Addresses,
    b: Addresses,
    a_directory: PathBuf,
    b_directory: PathBuf,
    /// Of the manifest at A's gateway.
    id: Option<Id>,
}

impl Printed<'_> {
    fn print(&self) {
        let gateway = format!("http://{}", self.a.public);
        let id = self.id.map_or(String::new(), |id| id.to_string());
        let root = format!("{gateway}/manifests/{id}/dicomweb");
        let count = |location| {
            let series = self.study.series.iter();
            let series = series.filter(|series| series.location == location);
            series.map(|series| series.instances.len()).sum::<usize>()
        };
        let command = std::env::current_exe().map_or_else(
            |_unknown| "xcwado".into(),
            |path| path.display().to_string(),
        );
        // A series that only the other community has.
        let series = self.study.series.iter();
        let mut series = series.filter(|series| series.location == Location::B);
        let Some(series) = series.next() else { return };
        let Some(instance) = series.instances.get(series.instances.len() / 2) else {
            return;
        };
        let study_uid = &self.study.uid;
        let b_location = format!(
            "homeCommunityId/{}/RetrieveLocationUID/{}",
            home_community_id(Location::B),
            location_ids(Location::B).retrieve_location_uid
        );
        println!(
            "A study of {instances} instances, {in_a} in community A and {in_b} in community B. Each has a gateway.

  viewer ──▶ gateway of A ══ mutual TLS, XC-WADO (RAD-160) ══▶ gateway of B ──▶ images of B
             {a_public}                               {b_gateways}

Settings and certificates:  {a_directory}
                            {b_directory}
Its manifest, known to both gateways:
                            {kos}  (Key Object Selection)
                            {fhir}  (FHIR Bundle)
DICOMweb root for viewers:  {root}
For operators:              http://{operator}/metrics

Try, in another terminal:

# what the manifest selects
curl {gateway}/manifests/{id}

# one slice of community B, through both gateways
curl -H 'Accept: application/dicom' -o slice.dcm {root}/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}

# the whole study, out of both communities, in one answer
curl -H 'Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*' -o study.multipart {root}/studies/{study_uid}

# the same slice without a manifest, by the address that XC-WADO gives it
curl -H 'Accept: application/dicom' -o same-slice.dcm {gateway}/wado-rs/{b_location}/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}

# what partners see: the gateway of B, asked with the certificate of A's; nobody else gets in
curl --cacert {b_directory}/authority.pem --cert {a_directory}/gateway.pem --key {a_directory}/gateway.key -H 'Accept: application/dicom' -o partner-slice.dcm https://{b_gateways}/wado-rs/{b_location}/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}

# every source and gateway of A, tried
{command} check --config {a_directory}/config.toml

# the whole study, as files
{command} fetch {kos} --home-community-id {b_home} -o demo-images --gateway {gateway}

Stop with Ctrl-C; the study is deleted then.",
            instances = self.study.instance_count(),
            in_a = count(Location::A),
            in_b = count(Location::B),
            a_public = self.a.public,
            b_gateways = self.b.gateways,
            a_directory = self.a_directory.display(),
            b_directory = self.b_directory.display(),
            kos = self.manifest.display(),
            fhir = self.manifest.with_extension("json").display(),
            operator = self.a.operator,
            b_home = home_community_id(Location::B),
            series_uid = series.uid,
            instance_uid = instance.uid,
        );
    }
}
