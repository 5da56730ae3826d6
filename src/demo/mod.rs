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
use crate::start::{Failure, block_on};
use community::{Addresses, Community, home_community_id, location_ids};
use model::{Location, Study};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The loopback port on which community A's gateway listens for viewers
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let root = tempfile::Builder::new().prefix("xcwado-demo-").tempdir();
    let root = root.map_err(Failure::new)?;
    let study = study::generate(root.path()).map_err(Failure::new)?;
    let manifests = write_manifests(&study, root.path())?;
    block_on(async {
        let a = Community::open(Location::A, root.path(), arguments.port)?;
        let b = Community::open(Location::B, root.path(), 0)?;
        let mut instructions = Instructions {
            study: &study,
            manifest: &manifests[0],
            a: a.addresses,
            b: b.addresses,
            a_directory: a.directory.clone(),
            b_directory: b.directory.clone(),
            id: None,
            protected: None,
        };
        let (a_peer, b_peer) = (a.as_peer(), b.as_peer());
        let (a, b) = (a.join(&b_peer)?, b.join(&a_peer)?);
        for manifest in &manifests {
            let bytes = std::fs::read(manifest).map_err(Failure::new)?;
            let id = a.register(&bytes, Location::B)?;
            instructions.id.get_or_insert(id);
            b.register(&bytes, Location::A)?;
        }
        let bytes = std::fs::read(&manifests[0]).map_err(Failure::new)?;
        instructions.protected = Some(a.protect(&bytes, Location::B)?);
        instructions.print();
        tokio::try_join!(a.serve(), b.serve()).map(|_both| ())
    })
}

/// Writes the manifest of the study in both formats.
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

/// The lines on the screen: the addresses of the demonstration, and commands to try.
struct Instructions<'a> {
    study: &'a Study,
    manifest: &'a Path,
    a: Addresses,
    b: Addresses,
    a_directory: PathBuf,
    b_directory: PathBuf,
    /// Of the manifest at A's gateway.
    id: Option<Id>,
    /// A manifest that rules protect, and the token of the link that opens it.
    protected: Option<(Id, String)>,
}

impl Instructions<'_> {
    fn print(&self) {
        let Some(slice) = self.slice() else { return };
        println!(
            "{overview}

Try, in another terminal:

{viewer}

{partner}

Stop with Ctrl-C; xcwado then deletes the study.",
            overview = self.overview(),
            viewer = self.viewer_commands(&slice),
            partner = self.partner_commands(&slice),
        );
    }

    fn overview(&self) -> String {
        let count = |location| {
            let series = self.study.series.iter();
            let series = series.filter(|series| series.location == location);
            series.map(|series| series.instances.len()).sum::<usize>()
        };
        format!(
            "A study of {instances} instances, {in_a} in community A and {in_b} in community B. Each has a gateway.

  viewer ──▶ gateway of A ══ mutual TLS, XC-WADO (RAD-160) ══▶ gateway of B ──▶ images of B
             {a_public}                               {b_gateways}

Settings and certificates:  {a_directory}
                            {b_directory}
Manifest, registered at both gateways:
                            {kos}  (Key Object Selection)
                            {fhir}  (FHIR Bundle)
DICOMweb root for viewers:  {root}
The same manifest, protected by rules:
                            {protected}  (401 without a right)
                            {link}  (the link that opens it)
For operators:              http://{operator}/metrics",
            instances = self.study.instance_count(),
            in_a = count(Location::A),
            in_b = count(Location::B),
            a_public = self.a.public,
            b_gateways = self.b.gateways,
            a_directory = self.a_directory.display(),
            b_directory = self.b_directory.display(),
            kos = self.manifest.display(),
            fhir = self.manifest.with_extension("json").display(),
            root = self.root(),
            protected = self.protected().0,
            link = self.protected().1,
            operator = self.a.operator,
        )
    }

    fn viewer_commands(&self, slice: &str) -> String {
        format!(
            "# list the instances that the manifest selects
curl {gateway}/manifests/{id}

# the protected manifest by its link
curl {link}/dicomweb/studies

# retrieve one slice of community B, through both gateways
curl -H 'Accept: application/dicom' -o slice.dcm {root}/{slice}

# retrieve the whole study, from both communities, in one response
curl -H 'Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*' -o study.multipart {root}/studies/{study_uid}

# retrieve the same slice without a manifest, at its XC-WADO address
curl -H 'Accept: application/dicom' -o same-slice.dcm {gateway}/wado-rs/{b_location}/{slice}",
            gateway = self.gateway(),
            id = self.id(),
            link = self.protected().1,
            root = self.root(),
            study_uid = self.study.uid,
            b_location = b_location(),
        )
    }

    fn partner_commands(&self, slice: &str) -> String {
        let command = std::env::current_exe().map_or_else(
            |_unknown| "xcwado".into(),
            |path| path.display().to_string(),
        );
        format!(
            "# act as a partner: the gateway of B admits the certificate of A's gateway and no other
curl --cacert {b_directory}/authority.pem --cert {a_directory}/gateway.pem --key {a_directory}/gateway.key -H 'Accept: application/dicom' -o partner-slice.dcm https://{b_gateways}/wado-rs/{b_location}/{slice}

# test every source and partner of A
{command} check --config {a_directory}/config.toml

# save the whole study as files
{command} fetch {kos} --home-community-id {b_home} -o demo-images --gateway {gateway}",
            a_directory = self.a_directory.display(),
            b_directory = self.b_directory.display(),
            b_gateways = self.b.gateways,
            b_location = b_location(),
            kos = self.manifest.display(),
            b_home = home_community_id(Location::B),
            gateway = self.gateway(),
        )
    }

    /// The path of an instance that only community B holds.
    fn slice(&self) -> Option<String> {
        let mut series = self.study.series.iter();
        let series = series.find(|series| series.location == Location::B)?;
        let instance = series.instances.get(series.instances.len() / 2)?;
        Some(format!(
            "studies/{}/series/{}/instances/{}",
            self.study.uid, series.uid, instance.uid
        ))
    }

    fn gateway(&self) -> String {
        format!("http://{}", self.a.public)
    }

    fn id(&self) -> String {
        self.id.map_or(String::new(), |id| id.to_string())
    }

    /// The addresses of the protected manifest and of its link.
    fn protected(&self) -> (String, String) {
        let gateway = self.gateway();
        let addresses = self.protected.as_ref().map(|(id, token)| {
            let link = format!("{gateway}/link/{token}");
            (format!("{gateway}/manifests/{id}"), link)
        });
        addresses.unwrap_or_default()
    }

    fn root(&self) -> String {
        format!("{}/manifests/{}/dicomweb", self.gateway(), self.id())
    }
}

fn b_location() -> String {
    format!(
        "homeCommunityId/{}/RetrieveLocationUID/{}",
        home_community_id(Location::B),
        location_ids(Location::B).retrieve_location_uid
    )
}
