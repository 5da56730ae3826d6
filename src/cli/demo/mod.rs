//! `xcwado demo`: a gateway over two folders that hold a generated study between them.

mod dataset;
mod fhir;
mod font;
mod image;
mod kos;
mod model;
mod montage;
mod phantom;
mod study;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use url::Url;

use super::Failure;
use super::start::{Parts, block_on, listen};
use crate::community::LocationSettings;
use crate::config::Config;
use crate::gateway::XcWadoSettings;
use crate::ihe::HomeCommunityId;
use crate::manifest::{Id, Registration, store};
use crate::{retrieve, server};
use model::{Location, LocationIds, Study};

const HOME: &str = "1.3.6.1.4.1.99999.1";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to listen, on this machine only
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// Where the manifests say that the images are. Nobody dials these addresses: they select one of
/// the two folders.
fn location_ids() -> [LocationIds; 2] {
    ["10", "11"].map(|last| LocationIds {
        retrieve_location_uid: format!("{HOME}.{last}"),
        retrieve_url: format!("https://pacs-{last}.demo.example/dicom-web/"),
    })
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("xcwado-demo-").tempdir();
    let directory = directory.map_err(Failure::new)?;
    let study = study::generate(directory.path()).map_err(Failure::new)?;
    let config = config(arguments, directory.path(), &study)?;
    let parts = Parts::open(&config)?;
    block_on(async {
        let mut listeners = listen(&config).await;
        if let Err(Failure(what)) = &mut listeners {
            what.push_str("; choose another --port");
        }
        let listeners = listeners?;
        let address = listeners.public.local_addr().map_err(Failure::new)?;
        let operator = listeners.operator.local_addr().map_err(Failure::new)?;
        let files = write_manifests(&study, directory.path())?;
        let id = register(&parts, &files)?;
        print(&Printed {
            study: &study,
            file: &files[0],
            id,
            address,
            operator,
        });
        parts.serve(&config, listeners).await
    })
}

fn config(arguments: &Arguments, directory: &Path, study: &Study) -> Result<Config, Failure> {
    let address = SocketAddr::from(([127, 0, 0, 1], arguments.port));
    let listen = server::Settings {
        address,
        operator_address: SocketAddr::from(([127, 0, 0, 1], 0)),
        drain_seconds: 2,
        ..server::Settings::default()
    };
    Ok(Config {
        home_community_id: HomeCommunityId::parse(HOME).map_err(Failure::new)?,
        public_url: Url::parse(&format!("http://{address}")).map_err(Failure::new)?,
        data_directory: directory.join("var"),
        listen,
        gateway_listen: None,
        communities: Vec::new(),
        manifests: store::Settings::default(),
        retrieve: retrieve::Settings::default(),
        xc_wado: XcWadoSettings::default(),
        locations: locations(directory, study),
    })
}

fn locations(directory: &Path, study: &Study) -> Vec<LocationSettings> {
    let mut all: Vec<Location> = study.series.iter().map(|series| series.location).collect();
    all.sort_by_key(|location| location.index());
    all.dedup_by_key(|location| location.index());
    let ids = location_ids();
    all.iter()
        .zip(ids)
        .map(|(location, ids)| LocationSettings {
            alias: Some(location.folder().to_owned()),
            retrieve_location_uid: Some(ids.retrieve_location_uid),
            retrieve_urls: vec![ids.retrieve_url],
            ..LocationSettings::folder(directory.join(location.folder()))
        })
        .collect()
}

/// The same study in both formats of a manifest.
fn write_manifests(study: &Study, directory: &Path) -> Result<[std::path::PathBuf; 2], Failure> {
    let ids = location_ids();
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

/// Registers both; gives the id of the first.
fn register(parts: &Parts, files: &[std::path::PathBuf; 2]) -> Result<Id, Failure> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let register = |path: &Path| {
        let bytes = std::fs::read(path).map_err(Failure::new)?;
        let registered = parts
            .manifests
            .register(&bytes, Registration::default(), now);
        registered
            .map(|(manifest, _is_new)| manifest.id)
            .map_err(Failure::new)
    };
    let id = register(&files[0])?;
    register(&files[1])?;
    Ok(id)
}

/// What the lines on the screen are made of.
struct Printed<'a> {
    study: &'a Study,
    file: &'a Path,
    id: Id,
    address: SocketAddr,
    operator: SocketAddr,
}

fn print(printed: &Printed<'_>) {
    let Printed {
        study,
        file,
        id,
        address,
        operator,
    } = printed;
    let gateway = format!("http://{address}");
    let root = format!("{gateway}/manifests/{id}/dicomweb");
    let command = std::env::current_exe().map_or_else(
        |_unknown| "xcwado".into(),
        |path| path.display().to_string(),
    );
    let other = file.with_extension("json");
    let series = &study.series[0];
    let instance = &series.instances[series.instances.len() / 2];
    println!(
        "A study of {instances} instances is split over two folders. Its manifest is registered as
  {kos}  (Key Object Selection)
  {fhir}  (FHIR Bundle)

DICOMweb root for viewers:  {root}
For operators:              http://{operator}/metrics

Try, in another terminal:

# what the manifest selects
curl {gateway}/manifests/{id}

# one slice, as a file
curl -H 'Accept: application/dicom' -o slice.dcm {root}/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}

# the whole study, out of both folders, in one answer
curl -H 'Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*' -o study.multipart {root}/studies/{study_uid}

# the whole study, as files
{command} fetch {kos} -o demo-images --gateway {gateway}

Stop with Ctrl-C; the study is deleted then.",
        instances = study.instance_count(),
        kos = file.display(),
        fhir = other.display(),
        study_uid = study.uid,
        series_uid = series.uid,
        instance_uid = instance.uid,
    );
}
