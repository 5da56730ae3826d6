//! The two communities of the demonstration. Each starts like any deployment: from a `config.toml`
//! and certificate files.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::certificates;
use super::model::{Location, LocationIds};
use crate::access::LinkTerms;
use crate::config::Config;
use crate::ihe::HomeCommunityId;
use crate::library::{Neighbours, View, now};
use crate::manifest::{Id, Owner, Registration, Submission};
use crate::request::link::LIFETIME;
use crate::start::{self, Failure, Services, Sockets};

/// A community with bound sockets.
#[derive(Debug)]
pub(super) struct Community {
    /// Its location.
    location: Location,
    /// The directory of its settings and certificates.
    pub(super) directory: PathBuf,
    sockets: Sockets,
    pub(super) addresses: Addresses,
}

/// The addresses on which its gateway listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) public: SocketAddr,
    pub(super) gateways: SocketAddr,
    pub(super) operator: SocketAddr,
}

/// A community that trusts its peer and is ready to serve.
pub(super) struct JoinedCommunity {
    config: Config,
    parts: Services,
    sockets: Sockets,
}

/// The homeCommunityId of the community with this location.
pub(super) fn home_community_id(location: Location) -> &'static str {
    match location {
        Location::A => "1.3.6.1.4.1.99999.1",
        Location::B => "1.3.6.1.4.1.99999.2",
    }
}

/// The name of its gateway in certificates.
fn gateway_name(location: Location) -> &'static str {
    match location {
        Location::A => "gateway.a.demo.example",
        Location::B => "gateway.b.demo.example",
    }
}

fn alias(location: Location) -> &'static str {
    match location {
        Location::A => "community-a",
        Location::B => "community-b",
    }
}

/// The identifiers of a location in manifests. Gateways use the URL only to select the location if
/// the UID does not; they never connect to it.
pub(super) fn location_ids(location: Location) -> LocationIds {
    let name = gateway_name(location).replace("gateway", "pacs");
    LocationIds {
        retrieve_location_uid: format!("{}.10", home_community_id(location)),
        retrieve_url: format!("https://{name}/dicom-web/"),
    }
}

impl Community {
    /// Writes its certificates and binds its sockets, the public one to `port`.
    pub(super) fn open(location: Location, root: &Path, port: u16) -> Result<Self, Failure> {
        let directory = root.join(alias(location));
        std::fs::create_dir_all(&directory).map_err(Failure::new)?;
        certificates::write(&directory, gateway_name(location))?;
        let public = bind(port)?;
        let (gateways, operator) = (bind(0)?, bind(0)?);
        let address = |socket: &TcpListener| socket.local_addr().map_err(Failure::new);
        let addresses = Addresses {
            public: address(&public)?,
            gateways: address(&gateways)?,
            operator: address(&operator)?,
        };
        let sockets = Sockets {
            public,
            gateways: Some(gateways),
            operator,
        };
        Ok(Self {
            location,
            directory,
            sockets,
            addresses,
        })
    }

    /// The path of its settings.
    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("config.toml")
    }

    /// Writes its settings, with `peer` as its partner, and loads them.
    pub(super) fn join(self, peer: &Peer) -> Result<JoinedCommunity, Failure> {
        let path = self.config();
        std::fs::write(&path, self.settings(peer)).map_err(Failure::new)?;
        let (config, parts) = Services::load(&path)?;
        Ok(JoinedCommunity {
            config,
            parts,
            sockets: self.sockets,
        })
    }

    /// The values that the other community's settings need.
    pub(super) fn as_peer(&self) -> Peer {
        Peer {
            location: self.location,
            gateways: self.addresses.gateways,
        }
    }

    fn settings(&self, peer: &Peer) -> String {
        let Addresses {
            public,
            gateways,
            operator,
        } = self.addresses;
        let ids = location_ids(self.location);
        format!(
            r#"# One of the two communities of the demonstration.
home_community_id = "{home}"

[listen]
address = "{public}"
operator_address = "{operator}"
drain_seconds = 2

# Lets a viewer on this machine display the phantom.
[cors]
origins = ["*"]

# Everybody on this machine may use what nobody in particular has registered. The protected manifest
# opens by its link only.
[[rule]]
name = "open"
anyone = true
transactions = ["register", "list", "search", "retrieve", "render", "link"]
manifests = "own"

[[rule]]
name = "between communities"
anyone = true
transactions = ["xc_wado_initiating", "xc_wado_responding"]

[gateway_listen]
address = "{gateways}"
certificate = "gateway.pem"
private_key = "gateway.key"
client_authorities = "../{peer_alias}/authority.pem"

[[location]]
alias = "{folder}"
retrieve_location_uid = "{location_uid}"
retrieve_urls = ["{retrieve_url}"]
folder = "../{folder}"

{peer_settings}"#,
            home = home_community_id(self.location),
            folder = self.location.folder(),
            location_uid = ids.retrieve_location_uid,
            retrieve_url = ids.retrieve_url,
            peer_alias = alias(peer.location),
            peer_settings = peer.settings(),
        )
    }
}

/// The values that a community's settings need for its partner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    location: Location,
    gateways: SocketAddr,
}

impl Peer {
    fn settings(&self) -> String {
        format!(
            r#"[[community]]
alias = "{alias}"
home_community_id = "{home}"
gateway_url = "https://{gateways}/wado-rs/"
certificate_names = ["{name}"]

[community.http]
authorities = "../{alias}/authority.pem"
certificate = "gateway.pem"
private_key = "gateway.key"
"#,
            alias = alias(self.location),
            home = home_community_id(self.location),
            gateways = self.gateways,
            name = gateway_name(self.location),
        )
    }
}

impl JoinedCommunity {
    /// Registers a manifest from the community with location `from`, for everybody on this machine.
    pub(super) fn register(&self, manifest: &[u8], from: Location) -> Result<Id, Failure> {
        self.register_for(None, manifest, from)
    }

    /// Registers the same for a subject whom nobody is, and makes a link; gives the id and the link's
    /// token.
    pub(super) fn protect(&self, manifest: &[u8], from: Location) -> Result<(Id, String), Failure> {
        let subject = Owner(*b"demo's protected");
        let manifest = self.register_for(Some(subject), manifest, from)?;
        let made = now();
        let terms = LinkTerms {
            manifest,
            series: Vec::new(),
            purpose: None,
            made,
            expires: made + LIFETIME,
            uses: None,
            has_code: false,
            owner: Some(subject),
        };
        let link = self.parts.links.make(terms, made).map_err(Failure::new)?;
        Ok((manifest, link.token))
    }

    fn register_for(
        &self,
        owner: Option<Owner>,
        manifest: &[u8],
        from: Location,
    ) -> Result<Id, Failure> {
        let community = HomeCommunityId::parse(home_community_id(from)).map_err(Failure::new)?;
        let registration = Registration {
            home_community_id: Some(community),
            owner,
            ..Registration::default()
        };
        let submission = Submission {
            registration,
            ..Submission::default()
        };
        let store = &self.parts.library;
        // The manifests of the demonstration cannot disagree, so nothing is compared.
        let (view, locate) = (&View::nothing(), &|_: &_, _: Option<&_>| None);
        let registered = store.register(manifest, submission, now(), &Neighbours { view, locate });
        let (manifest, _is_new) = registered.map_err(Failure::new)?;
        Ok(manifest.id)
    }

    /// Serves until a signal stops the process.
    pub(super) async fn serve(self) -> Result<(), Failure> {
        self.parts.serve(&self.config, self.sockets).await
    }
}

fn bind(port: u16) -> Result<TcpListener, Failure> {
    start::bind(([127, 0, 0, 1], port).into())
        .map_err(|error| Failure(format!("port {port}: {error}; choose another --port")))
}
