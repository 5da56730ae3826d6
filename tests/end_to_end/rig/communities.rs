//! Two communities, each with a gateway in a process of its own and mutual TLS between them.

use http::StatusCode;
use tempfile::TempDir;

use crate::rig::authority::Authority;
use crate::rig::origin::Origin;
use crate::rig::program::Program;
use crate::rig::study::{Study, location_uid};
use crate::rig::{AS_STORED, HERE, sorted};

pub(crate) const THERE: &str = "1.3.6.1.4.1.99999.2";

/// Locations of ours and of the other community.
pub(crate) const OURS: u32 = 10;

pub(crate) const THEIRS: u32 = 20;

/// The two gateways.
pub(crate) struct Communities {
    /// The initiating gateway, which viewers use.
    pub(crate) here: Program,
    /// The responding gateway.
    pub(crate) there: Program,
    _authority: Authority,
}

/// Settings beyond the defaults of the two gateways.
#[derive(Default)]
pub(crate) struct Difference<'a> {
    /// `[[location]]` of ours.
    pub(crate) here: &'a str,
    /// `[[location]]` of the other community.
    pub(crate) there: &'a str,
    /// Further keys of our `[[community]]`.
    pub(crate) of_there: &'a str,
    /// Retrieve Location UIDs of the other community, as our settings list them.
    pub(crate) theirs: &'a [&'a str],
}

impl Communities {
    pub(crate) async fn new(difference: Difference<'_>) -> Self {
        let Difference {
            here,
            there,
            of_there,
            theirs,
        } = difference;
        let authority = Authority::new();
        let (ours, server) = (authority.issue("a.example"), authority.issue("127.0.0.1"));
        let there = format!(
            "{}[[community]]\nalias = \"a\"\nhome_community_id = \"{HERE}\"\n\
             certificate_names = [\"a.example\"]\n{there}",
            server.gateway_listen(&authority)
        );
        let there = Program::serve_as(THERE, &there).await;
        let gateway = there.gateways.expect("a listener for partners");
        let here = format!(
            "[[community]]\nalias = \"b\"\nhome_community_id = \"{THERE}\"\n\
             gateway_url = \"https://{gateway}/wado-rs/\"\nretrieve_location_uids = {theirs:?}\n\
             {of_there}\n[community.http]\nauthorities = {:?}\n{}{here}",
            authority.file(),
            ours.settings()
        );
        Self {
            here: Program::serve(&here).await,
            there,
            _authority: authority,
        }
    }

    /// Our gateway with a folder, the other with a server; each holds its series of `study`.
    pub(crate) async fn with(study: &Study, of_there: &str) -> (Self, Origin, TempDir) {
        let directory = tempfile::tempdir().expect("a directory");
        for (at, series) in study.series.iter().enumerate() {
            let location = series.locations[0].retrieve_location_uid.as_deref();
            if location == Some(&location_uid(OURS)) {
                study.write(at, directory.path());
            }
        }
        let origin = Origin::of(study).await;
        let here = format!(
            "[[location]]\nalias = \"archive\"\nretrieve_location_uid = \"{}\"\nfolder = {:?}\n",
            location_uid(OURS),
            directory.path()
        );
        let communities = Self::new(Difference {
            here: &here,
            there: &origin.location(THEIRS),
            of_there,
            theirs: &[&location_uid(THEIRS)],
        })
        .await;
        (communities, origin, directory)
    }
}

/// Retrieves study, series and instances, and compares them byte for byte.
pub(crate) async fn everything_comes_as_stored(program: &Program, root: &str, study: &Study) {
    let retrieve = async |path: &str| {
        let answer = program.get(&format!("{root}{path}"), &[AS_STORED]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        answer.instances()
    };
    assert_eq!(retrieve(&study.path()).await, study.bytes());
    for (at, series) in study.series.iter().enumerate() {
        let bytes = series.instances.iter().map(|i| i.bytes.clone());
        assert_eq!(retrieve(&study.series_path(at)).await, sorted(bytes));
    }
    for instance in study.instances() {
        assert_eq!(retrieve(&instance.path()).await, [instance.bytes]);
    }
}
