//! Two communities: an initiating gateway for viewers, and a responding one with the source.

use crate::rig::authority::Authority;
use crate::rig::process::Server;
use crate::rig::settings::{LOCATION, OURS, Settings, THEIRS};
use crate::study::{Shape, manifest};

/// The connection between the two gateways, and their settings beyond the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Border {
    pub(crate) has_mutual_tls: bool,
    /// Of what is spoken over it.
    pub(crate) http_version: usize,
    /// For which it holds back what comes from either side, if it does.
    pub(crate) delay_ms: Option<u64>,
    /// A second, of what comes from the far side, if there is a delay; 0: any number.
    pub(crate) megabits: u64,
    /// What both gateways keep; nothing, unless said.
    pub(crate) cache: Option<&'static str>,
    /// Of the location, at once.
    pub(crate) connections: Option<usize>,
}

/// The two gateways.
pub(crate) struct Pair {
    pub(crate) initiating: Server,
    pub(crate) responding: Server,
    _line: Option<Server>,
    /// Keeps the files that the gateways look at.
    _authority: Authority,
}

impl Border {
    pub(crate) const PLAIN: Self = Self {
        has_mutual_tls: false,
        http_version: 1,
        delay_ms: None,
        megabits: 0,
        cache: None,
        connections: None,
    };
    pub(crate) const MUTUAL_TLS: Self = Self {
        has_mutual_tls: true,
        ..Self::PLAIN
    };
}

impl Pair {
    /// Two gateways, the far one before the source with this DICOMweb root.
    pub(crate) fn new(border: Border, root: &str) -> Self {
        Self::with(border, root, |settings| settings)
    }

    /// The same, with more in the settings of the near one.
    pub(crate) fn with(
        border: Border,
        root: &str,
        more: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        let authority = Authority::new();
        let responding = Server::gateway(&responding(border, &authority, root));
        let address = match border.has_mutual_tls {
            true => responding.gateways.expect("a listener for partners"),
            false => responding.address,
        };
        let line = border
            .delay_ms
            .map(|delay| Server::line(address, delay, border.megabits));
        let address = line.as_ref().map_or(address, |line| line.address);
        let scheme = if border.has_mutual_tls {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{address}/wado-rs/");
        let settings = initiating(border, &authority, &url);
        Self {
            initiating: Server::gateway(&more(settings)),
            responding,
            _line: line,
            _authority: authority,
        }
    }

    /// Registers a manifest at the initiating gateway, all of which the other community has; the
    /// path of its DICOMweb root.
    pub(crate) fn register(&self, shape: Shape) -> String {
        let manifest = manifest::fhir(shape, &[LOCATION]);
        self.initiating.register("application/fhir+json", &manifest)
    }
}

/// The root of RAD-160 for the location of a community.
pub(crate) fn rad_160(community: &str) -> String {
    format!("/wado-rs/homeCommunityId/{community}/RetrieveLocationUID/{LOCATION}")
}

fn responding(border: Border, authority: &Authority, root: &str) -> Settings {
    let settings = settings_of(THEIRS, border)
        .community(OURS)
        .line(&format!("certificate_names = [\"{OUR_NAME}\"]"))
        .location(LOCATION, root);
    let settings = match border.connections {
        Some(connections) => settings.number("connections", connections),
        None => settings,
    };
    match border.has_mutual_tls {
        true => settings.gateway_listen(&authority.issue(THEIR_NAME), &authority.file()),
        false => settings,
    }
}

fn initiating(border: Border, authority: &Authority, url: &str) -> Settings {
    let settings = settings_of(OURS, border)
        .community(THEIRS)
        .text("gateway_url", url)
        .line(&format!("retrieve_location_uids = [\"{LOCATION}\"]"))
        .number("http_version", border.http_version);
    match border.has_mutual_tls {
        true => settings
            .line("[community.http]")
            .identity(&authority.issue(OUR_NAME))
            .path("authorities", &authority.file()),
        false => settings,
    }
}

fn settings_of(community: &str, border: Border) -> Settings {
    match border.cache {
        Some(cache) => Settings::keeping(community, "", cache),
        None => Settings::of(community),
    }
}

const OUR_NAME: &str = "gateway.a.example";
const THEIR_NAME: &str = "gateway.b.example";
