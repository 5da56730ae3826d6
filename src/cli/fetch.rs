//! `xcwado fetch`: retrieves the selection of a manifest into files. It skips existing files, so it
//! resumes an interrupted run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::Full;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use url::{Host, Url};

use crate::body;
use crate::credentials::TokenSource;
use crate::dicom::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::ihe::HomeCommunityId;
use crate::manifest::Id;
use crate::network::Network;
use crate::resource::Target;
use crate::source::client::{AuthorizationSettings, Client, Settings};
use crate::source::wado_rs::WadoRs;
use crate::source::{Arrival, Arrivals, InstanceRequest, Kind, Representation, Source, Terms};
use crate::start::{Failure, block_on};

pub(super) const EXAMPLES: &str = "Examples:
  xcwado fetch manifest.dcm -o images --gateway http://127.0.0.1:8080
  xcwado fetch http://127.0.0.1:8080/manifests/0123456789abcdef0123456789abcdef -o images
  xcwado fetch https://gateway.example/link/TOKEN -o images";

// Of a summary that lists 200,000 instances.
const LARGEST_SUMMARY: usize = 64 << 20;
const ATTEMPTS: u32 = 5;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A manifest file, or the link of a manifest that a gateway has
    #[arg(value_name = "FILE|URL")]
    manifest: String,
    /// Where the images go: DIR/study/series/instance.dcm
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Only this series; may be given several times
    #[arg(long, value_name = "UID")]
    series: Vec<String>,
    /// The gateway that a manifest file is registered at
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    gateway: String,
    /// The community that a manifest file comes from, if that is not the gateway's own
    #[arg(long, value_name = "OID")]
    home_community_id: Option<String>,
    /// Authorities that may have signed the gateway's certificate, in PEM; the system's otherwise
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// A file with the bearer token for the gateway
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A gateway's summary of a manifest.
#[derive(Debug, Deserialize)]
struct Summary {
    id: String,
    studies: Vec<StudySummary>,
}

#[derive(Debug, Deserialize)]
struct StudySummary {
    study_instance_uid: String,
    series: Vec<SeriesSummary>,
}

#[derive(Debug, Deserialize)]
struct SeriesSummary {
    series_instance_uid: String,
    #[serde(default)]
    sop_instance_uids: Vec<String>,
}

/// One series to fetch.
#[derive(Debug)]
struct SeriesRequest {
    study: StudyInstanceUid,
    series: SeriesInstanceUid,
    instances: BTreeSet<SopInstanceUid>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    block_on(async {
        tokio::select! {
            done = fetch(arguments) => done,
            _ = tokio::signal::ctrl_c() => {
                Err(Failure("interrupted; run it again to go on where it stopped".into()))
            }
        }
    })
}

async fn fetch(arguments: &Arguments) -> Result<(), Failure> {
    let only = wanted_series(arguments)?;
    let token = arguments.token_file.clone().map(TokenSource::File);
    let settings = Settings {
        authorities: arguments.authorities.clone(),
        authorization: token.map(AuthorizationSettings::Token),
        // The user has named the gateway.
        allow_networks: Network::everything().into(),
        ..Settings::default()
    };
    refuse_in_clear(arguments)?;
    let client = Client::new("gateway", &settings).map_err(Failure::new)?;
    let link = link(arguments, &client).await?;
    let summary: Summary = json(
        &client,
        &format!("{link}?instances=true"),
        Method::GET,
        Vec::new(),
    )
    .await?;
    let root = Url::parse(&format!("{link}/dicomweb")).map_err(Failure::new)?;
    let wanted = wanted(&summary, &only)?;
    let total: usize = wanted.iter().map(|series| series.instances.len()).sum();
    let kind = Kind::WadoRs(Box::new(WadoRs::new(root, client)));
    let gateway = Source::new("gateway", kind, Terms::default());
    let progress = progress(total);
    let mut missing = 0;
    for series in wanted {
        missing += Download::new(&gateway, &arguments.output, series, &progress)
            .run()
            .await?;
    }
    progress.finish_and_clear();
    println!(
        "{} of {total} instances are in {}",
        total - missing,
        arguments.output.display()
    );
    if missing == 0 {
        Ok(())
    } else {
        Err(Failure(format!(
            "{missing} instances could not be retrieved"
        )))
    }
}

/// A token goes over TLS, or stays on this machine.
fn refuse_in_clear(arguments: &Arguments) -> Result<(), Failure> {
    let given = [&arguments.manifest, &arguments.gateway].map(|text| Url::parse(text));
    let is_clear = |url: &Url| match url.host() {
        Some(Host::Ipv4(ip)) => url.scheme() == "http" && !ip.is_loopback(),
        Some(Host::Ipv6(ip)) => url.scheme() == "http" && !ip.is_loopback(),
        Some(Host::Domain(name)) => url.scheme() == "http" && name != "localhost",
        None => false,
    };
    if arguments.token_file.is_some() && given.into_iter().flatten().any(|url| is_clear(&url)) {
        let told = "--token-file: the token would be sent in clear: use https";
        return Err(Failure(told.to_owned()));
    }
    Ok(())
}

fn wanted_series(arguments: &Arguments) -> Result<BTreeSet<SeriesInstanceUid>, Failure> {
    let read = |text: &String| {
        SeriesInstanceUid::parse(text).map_err(|error| Failure(format!("--series {text}: {error}")))
    };
    arguments.series.iter().map(read).collect()
}

/// The link of the manifest, which is registered first if it is a file. Links in responses are not
/// followed: the gateway is reached at the user's URL.
async fn link(arguments: &Arguments, client: &Client) -> Result<String, Failure> {
    let given = arguments.manifest.trim_end_matches('/');
    if given.starts_with("http://") || given.starts_with("https://") {
        return Ok(given.to_owned());
    }
    let manifest = fs::read(given)
        .await
        .map_err(|error| Failure(format!("{given}: {error}")))?;
    let manifests = format!("{}/manifests", arguments.gateway.trim_end_matches('/'));
    let community = arguments.home_community_id.as_deref();
    let community = community.map(HomeCommunityId::parse).transpose();
    let community = community.map_err(|error| Failure(format!("--home-community-id: {error}")))?;
    let query = community.map_or(String::new(), |id| format!("?homeCommunityId={id}"));
    let register = format!("{manifests}{query}");
    let summary: Summary = json(client, &register, Method::POST, manifest).await?;
    let id = Id::parse(&summary.id)
        .ok_or_else(|| Failure(format!("{manifests}: not the answer of a gateway")))?;
    Ok(format!("{manifests}/{id}"))
}

async fn json<T: for<'de> Deserialize<'de>>(
    client: &Client,
    link: &str,
    method: Method,
    body: Vec<u8>,
) -> Result<T, Failure> {
    let failed = |what: String| Failure(format!("{link}: {what}"));
    let uri: Uri = link
        .parse()
        .map_err(|_invalid| failed("it is not a URL".into()))?;
    let mut request = Request::new(Full::new(Bytes::from(body)));
    if method == Method::POST {
        let media_type = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, media_type);
    }
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    request
        .headers_mut()
        .insert(ACCEPT, HeaderValue::from_static("application/json"));
    let response = client
        .send(request)
        .await
        .map_err(|error| failed(gateway_says(&error)))?;
    let status = response.status;
    let text = response.body.collect(LARGEST_SUMMARY).await;
    let text = text.map_err(|error| failed(error.to_string()))?;
    if !status.is_success() {
        return Err(failed(format!("{status}: {}", detail(&text))));
    }
    serde_json::from_slice(&text)
        .map_err(|error| failed(format!("not the answer of a gateway: {error}")))
}

/// The sentence of a problem document.
fn detail(problem: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(problem).unwrap_or_default();
    problem["detail"]
        .as_str()
        .unwrap_or("no reason is given")
        .to_owned()
}

fn gateway_says(error: &crate::source::Error) -> String {
    error.to_string().replace("source", "gateway")
}

fn wanted(
    summary: &Summary,
    only: &BTreeSet<SeriesInstanceUid>,
) -> Result<Vec<SeriesRequest>, Failure> {
    let not_uids = |_not_a_uid| Failure("the gateway's answer names no UIDs".into());
    let mut wanted = Vec::new();
    for study in &summary.studies {
        for series in &study.series {
            let uid = SeriesInstanceUid::parse(&series.series_instance_uid).map_err(not_uids)?;
            if !only.is_empty() && !only.contains(&uid) {
                continue;
            }
            let instances = series
                .sop_instance_uids
                .iter()
                .map(|uid| SopInstanceUid::parse(uid));
            wanted.push(SeriesRequest {
                study: StudyInstanceUid::parse(&study.study_instance_uid).map_err(not_uids)?,
                series: uid,
                instances: instances.collect::<Result<_, _>>().map_err(not_uids)?,
            });
        }
    }
    let found: BTreeSet<_> = wanted.iter().map(|series| &series.series).collect();
    match only.iter().find(|uid| !found.contains(uid)) {
        Some(uid) => Err(Failure(format!(
            "--series {uid}: the manifest does not list it"
        ))),
        None => Ok(wanted),
    }
}

fn progress(total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} instances, {msg}")
        .expect("the template is valid");
    ProgressBar::new(total as u64).with_style(style)
}

/// One series on its way into a folder.
struct Download<'a> {
    gateway: &'a Source,
    folder: PathBuf,
    wanted: SeriesRequest,
    progress: &'a ProgressBar,
    bytes: u64,
}

impl<'a> Download<'a> {
    fn new(
        gateway: &'a Source,
        output: &Path,
        wanted: SeriesRequest,
        progress: &'a ProgressBar,
    ) -> Self {
        let folder = output
            .join(wanted.study.as_str())
            .join(wanted.series.as_str());
        Self {
            gateway,
            folder,
            wanted,
            progress,
            bytes: 0,
        }
    }

    /// Fetches the missing instances; returns the number of those that are still missing.
    async fn run(mut self) -> Result<usize, Failure> {
        fs::create_dir_all(&self.folder)
            .await
            .map_err(|error| self.cannot_write(&error))?;
        self.skip_present().await;
        let mut pause = Duration::from_millis(200);
        for attempt in 1..=ATTEMPTS {
            if self.wanted.instances.is_empty() {
                break;
            }
            if attempt > 1 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let before = self.wanted.instances.len();
            self.attempt(attempt == 1).await?;
            // More attempts do not help if the gateway lacks the instances.
            if self.wanted.instances.len() == before && attempt >= 3 {
                break;
            }
        }
        Ok(self.wanted.instances.len())
    }

    async fn skip_present(&mut self) {
        for uid in self.wanted.instances.clone() {
            if fs::try_exists(self.path(&uid, "dcm"))
                .await
                .unwrap_or(false)
            {
                self.arrived(&uid);
            }
        }
    }

    /// Requests the whole series at first, then each missing instance on its own.
    async fn attempt(&mut self, whole: bool) -> Result<(), Failure> {
        let (study, series) = (self.wanted.study.clone(), self.wanted.series.clone());
        if whole && self.wanted.instances.len() > 4 {
            return self.ask(&Target::Series(study, series)).await;
        }
        for uid in self.wanted.instances.clone() {
            self.ask(&Target::Instance(study.clone(), series.clone(), uid))
                .await?;
        }
        Ok(())
    }

    async fn ask(&mut self, target: &Target) -> Result<(), Failure> {
        let ask = InstanceRequest {
            target,
            representation: Representation::AsStored,
            hop: None,
            had: None,
            is_repair: false,
        };
        match self.gateway.open(&ask).await {
            Ok(arrivals) => self.receive(arrivals).await,
            Err(error) => {
                self.progress.println(gateway_says(&error));
                Ok(())
            }
        }
    }

    async fn receive(&mut self, mut arrivals: Arrivals) -> Result<(), Failure> {
        loop {
            match arrivals.next().await {
                Ok(Some(Arrival::Instance(identity, _)))
                    if self.wanted.instances.contains(&identity.sop_instance) =>
                {
                    if !self.write(&identity.sop_instance, &mut arrivals).await? {
                        return Ok(());
                    }
                }
                Ok(Some(Arrival::NotWhole(_, error))) => self.progress.println(error.to_string()),
                Ok(Some(Arrival::Instance(..) | Arrival::Unidentified(_))) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.progress.println(error.to_string());
                    return Ok(());
                }
            }
        }
    }

    /// Writes an instance to a partial file and renames it once it is whole. `false`: the response
    /// broke off.
    async fn write(
        &mut self,
        uid: &SopInstanceUid,
        arrivals: &mut Arrivals,
    ) -> Result<bool, Failure> {
        let aside = self.path(uid, "part");
        let mut file = fs::File::create(&aside)
            .await
            .map_err(|error| self.cannot_write(&error))?;
        loop {
            match arrivals.chunk().await {
                Ok(Some(chunk)) => {
                    self.bytes += chunk.len() as u64;
                    file.write_all(&chunk)
                        .await
                        .map_err(|error| self.cannot_write(&error))?;
                }
                Ok(None) => break,
                Err(error) => {
                    self.progress.println(error.to_string());
                    return Ok(matches!(error, body::Error::NotWhole(_)));
                }
            }
        }
        file.flush()
            .await
            .map_err(|error| self.cannot_write(&error))?;
        let path = self.path(uid, "dcm");
        fs::rename(&aside, &path)
            .await
            .map_err(|error| self.cannot_write(&error))?;
        self.arrived(uid);
        Ok(true)
    }

    fn arrived(&mut self, uid: &SopInstanceUid) {
        self.wanted.instances.remove(uid);
        self.progress
            .set_message(format!("{} MiB", self.bytes >> 20));
        self.progress.inc(1);
    }

    fn path(&self, uid: &SopInstanceUid, extension: &str) -> PathBuf {
        self.folder.join(format!("{uid}.{extension}"))
    }

    fn cannot_write(&self, error: &std::io::Error) -> Failure {
        Failure(format!(
            "cannot write into {}: {error}",
            self.folder.display()
        ))
    }
}
