//! The registry of configured locations and communities, and the lookups in it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use url::Url;

use super::address::Address;
use super::location::LocationSettings;
use super::offers::Offers;
use super::other::{Community, CommunitySettings};
use super::problem::{Problem, Problems};
use crate::ihe::{HomeCommunityId, Location, RetrieveLocationUid};
use crate::metrics::Metrics;
use crate::resource::Offer;
use crate::source::client::Client;
use crate::source::xc_wado::RespondingGateway;
use crate::source::{Source, of_all_users};

/// The settings of a registry.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Our community.
    pub home_community_id: &'a HomeCommunityId,
    /// Its locations.
    pub locations: &'a [LocationSettings],
    /// The other communities.
    pub communities: &'a [CommunitySettings],
    /// Whether we retrieve from other communities.
    pub initiating: bool,
    /// Whether a location may have a name that is not an OID.
    pub opaque_location_ids: bool,
    /// Whether a Retrieve URL alone may name a location of another community.
    pub retrieve_url_alone: bool,
}

/// The identifier that selected a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By Retrieve Location UID.
    RetrieveLocationUid,
    /// By Retrieve URL.
    RetrieveUrl,
    /// By Retrieve AE Title.
    RetrieveAeTitle,
    /// By its community.
    HomeCommunityId,
}

/// Why a request selects no location of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotLocated {
    /// It names nothing known.
    Unknown,
    /// It names an address outside the allow-list.
    NotAllowed,
}

/// A location of ours.
#[derive(Debug)]
pub struct Site {
    /// Its source.
    pub source: Arc<Source>,
    /// The transactions that it offers itself.
    pub offers: Offers,
}

/// All configured locations and communities.
#[derive(Debug)]
pub struct Registry {
    home_community_id: HomeCommunityId,
    sites: Vec<Site>,
    by_uid: HashMap<RetrieveLocationUid, usize>,
    by_address: Vec<(Address, usize)>,
    by_ae_title: HashMap<Box<str>, usize>,
    communities: HashMap<HomeCommunityId, Community>,
    /// The owners of locations in other communities.
    owners: HashMap<RetrieveLocationUid, HomeCommunityId>,
    pub(super) initiating: bool,
    pub(super) opaque_location_ids: bool,
    pub(super) retrieve_url_alone: bool,
}

impl Registry {
    /// Opens every location and community. This indexes the folders, so it takes time for large
    /// ones.
    ///
    /// # Errors
    /// Every problem.
    pub fn open(settings: &Settings<'_>) -> Result<Self, Vec<Problem>> {
        let mut builder = RegistryBuilder {
            registry: Self::empty(settings),
            addresses: Vec::new(),
            servers: Vec::new(),
            aliases: HashSet::new(),
        };
        let mut all = Vec::new();
        for location in settings.locations {
            let mut problems = Problems::of("location", location.position, &mut all);
            if settings.locations.len() > 1 && location.alias.is_none() {
                problems.add("alias", "set an alias: there are several locations");
            }
            builder.add_location(location, &mut problems);
        }
        for community in settings.communities {
            let mut problems = Problems::of("community", community.position, &mut all);
            if settings.communities.len() > 1 && community.alias.is_none() {
                problems.add("alias", "set an alias: there are several communities");
            }
            builder.add_community(community, &mut problems);
        }
        let registry = builder.finish();
        if all.is_empty() {
            Ok(registry)
        } else {
            Err(all)
        }
    }

    fn empty(settings: &Settings<'_>) -> Self {
        Self {
            home_community_id: settings.home_community_id.clone(),
            sites: Vec::new(),
            by_uid: HashMap::new(),
            by_address: Vec::new(),
            by_ae_title: HashMap::new(),
            communities: HashMap::new(),
            owners: HashMap::new(),
            initiating: settings.initiating,
            opaque_location_ids: settings.opaque_location_ids,
            retrieve_url_alone: settings.retrieve_url_alone,
        }
    }

    /// Our community.
    #[must_use]
    pub fn home_community_id(&self) -> &HomeCommunityId {
        &self.home_community_id
    }

    /// The source for a location in a manifest from `community`, and the identifier that selected
    /// it. The Retrieve Location UID is first: of a location of ours, or of one configured for
    /// another community. Then the manifest's own community, if it is another one; then Retrieve
    /// URL and AE title.
    #[must_use]
    pub fn resolve(
        &self,
        meant: &[Location],
        community: Option<&HomeCommunityId>,
    ) -> Option<(Arc<Source>, Via)> {
        let ours =
            |site: Option<usize>, via| Some((Arc::clone(&self.sites.get(site?)?.source), via));
        let by_uid = ours(
            meant.iter().find_map(|l| self.site_of(l)),
            Via::RetrieveLocationUid,
        );
        let other = community.filter(|id| **id != self.home_community_id);
        by_uid
            .or_else(|| {
                let mut listed = meant.iter().filter_map(|l| self.listed_elsewhere(l));
                Some((listed.next()?, Via::RetrieveLocationUid))
            })
            .or_else(|| {
                let community = self.communities.get(other?)?;
                let mut behind = meant.iter().filter_map(|l| self.behind(community, l));
                Some((behind.next()?, Via::HomeCommunityId))
            })
            .or_else(|| {
                let urls = meant.iter().filter_map(|l| l.retrieve_url.as_deref());
                let mut sites = urls.filter_map(|url| self.covering(&Address::parse(url).ok()?));
                ours(sites.next(), Via::RetrieveUrl)
            })
            .or_else(|| {
                // An AE title is unique only within its community.
                let titles = meant.iter().filter_map(|l| l.retrieve_ae_title.as_deref());
                let mut sites = titles.filter_map(|title| self.by_ae_title.get(title).copied());
                ours(
                    sites.next().filter(|_| other.is_none()),
                    Via::RetrieveAeTitle,
                )
            })
    }

    /// The location of ours in a partner's request.
    ///
    /// # Errors
    /// [`NotLocated`].
    pub fn site(&self, asked: &Location) -> Result<&Site, NotLocated> {
        let url = asked.retrieve_url.as_deref();
        let covering = url.and_then(|url| self.covering(&Address::parse(url).ok()?));
        let by_uid = self.site_of(asked);
        if by_uid.is_some() && url.is_some() && covering != by_uid {
            tracing::info!("the retrieveURL of a request selects another location than its path");
        }
        let site = by_uid.or(covering).and_then(|at| self.sites.get(at));
        site.ok_or(if url.is_some() {
            NotLocated::NotAllowed
        } else {
            NotLocated::Unknown
        })
    }

    /// The addresses that select a location of ours.
    #[must_use]
    pub fn addresses(&self, of: &Site) -> Vec<Url> {
        let is_meant = |at: usize| {
            self.sites
                .get(at)
                .is_some_and(|site| std::ptr::eq(site, of))
        };
        let addresses = self.by_address.iter().filter(|(_, at)| is_meant(*at));
        addresses
            .map(|(address, _)| address.url().clone())
            .collect()
    }

    /// Whether a source offers a transaction itself, according to the settings; `None` if they leave
    /// it to the source.
    #[must_use]
    pub fn offers(&self, source: &Source, offer: Offer) -> Option<bool> {
        let mut sites = self.sites.iter();
        let site = sites.find(|site| site.source.alias == source.alias);
        let mut communities = self.communities.values();
        let offers = site.map(|site| &site.offers).or_else(|| {
            let behind = |community: &&Community| {
                let gateway = community.gateway.as_ref();
                gateway.is_some_and(|gateway| gateway.alias() == &*source.alias)
            };
            communities.find(behind).map(|community| &community.offers)
        });
        offers.map_or(Some(false), |offers| offers.list(offer))
    }

    /// Whether a key (see [`Source::key`]) belongs to a configured source, or to a location behind
    /// a configured gateway.
    #[must_use]
    pub fn knows(&self, key: &str) -> bool {
        let shared = of_all_users(key);
        let is_of_user = shared.len() < key.len();
        let is_ours =
            |site: &Site| *site.source.key() == *shared && site.source.is_per_user() == is_of_user;
        let address = key.split_once('-').map_or(key, |(address, _)| address);
        let is_of = |gateway: &RespondingGateway| {
            gateway.key() == address && gateway.is_per_user() == is_of_user
        };
        let mut gateways = self.communities().filter_map(|c| c.gateway.as_ref());
        self.sites.iter().any(is_ours) || gateways.any(is_of)
    }

    /// Another community, if configured.
    #[must_use]
    pub fn community(&self, id: &HomeCommunityId) -> Option<&Community> {
        self.communities.get(id)
    }

    /// The other communities.
    pub fn communities(&self) -> impl Iterator<Item = &Community> {
        self.communities.values()
    }

    /// Watches the credentials of every source and gateway.
    pub fn watch(&self, metrics: &Metrics) {
        for site in &self.sites {
            site.source.watch(metrics);
        }
        for gateway in self.communities().filter_map(|c| c.gateway.as_ref()) {
            gateway.watch(metrics);
        }
    }

    /// All upstream addresses, each with its client.
    #[must_use]
    pub fn servers(&self) -> Vec<(&Client, &Url)> {
        let sites = self.sites.iter().flat_map(|site| {
            let client = site.source.client();
            let bases = site.source.bases().into_iter();
            bases.filter_map(move |base| Some((client?, base)))
        });
        let gateways = self.communities().filter_map(|c| c.gateway.as_ref());
        let gateways = gateways.flat_map(|gateway| {
            let bases = gateway.bases();
            bases.map(|base| (gateway.client(), base))
        });
        sites.chain(gateways).collect()
    }

    /// Our locations, in the order of the settings.
    #[must_use]
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    fn site_of(&self, location: &Location) -> Option<usize> {
        let uid = location.retrieve_location_uid.as_ref()?;
        self.by_uid.get(uid).copied()
    }

    fn listed_elsewhere(&self, location: &Location) -> Option<Arc<Source>> {
        let owner = self.owners.get(location.retrieve_location_uid.as_ref()?)?;
        self.behind(self.communities.get(owner)?, location)
    }

    /// A location behind another community's gateway, if its identifiers are sufficient.
    fn behind(&self, community: &Community, location: &Location) -> Option<Arc<Source>> {
        let gateway = community.gateway.as_ref().filter(|_| self.initiating)?;
        let uid = location.retrieve_location_uid.clone();
        let uid = uid.filter(|uid| self.opaque_location_ids || !uid.is_opaque());
        // An identifier of a manifest is forwarded in its normal form, or not at all.
        let url = location.retrieve_url.as_deref();
        let url = url.and_then(|url| Some(Address::parse(url).ok()?.to_string().into()));
        let is_named = uid.is_some() || (self.retrieve_url_alone && url.is_some());
        is_named.then(|| {
            Arc::new(gateway.source(Location {
                retrieve_location_uid: uid,
                retrieve_url: url,
                retrieve_ae_title: None,
            }))
        })
    }

    fn covering(&self, asked: &Address) -> Option<usize> {
        let mut addresses = self.by_address.iter();
        addresses
            .find(|(address, _)| address.covers(asked))
            .map(|(_, at)| *at)
    }
}

/// Builds a registry.
struct RegistryBuilder {
    registry: Registry,
    addresses: Vec<(Address, usize)>,
    /// The address of each location that is a server.
    servers: Vec<Option<Address>>,
    aliases: HashSet<String>,
}

impl RegistryBuilder {
    fn add_location(&mut self, settings: &LocationSettings, problems: &mut Problems<'_>) {
        // The index of a failed location is reused: the registry is discarded then, but all
        // problems are reported.
        let index = self.registry.sites.len();
        if let Some(text) = &settings.retrieve_location_uid {
            self.add_uid(text, index, problems);
        }
        let server = settings.wado_rs_url.as_ref();
        let server = server.or(settings.wado_uri_url.as_ref());
        let server = server.and_then(|url| Address::parse(url).ok());
        self.servers.truncate(index);
        self.servers.push(server);
        for (key, text) in settings.addresses() {
            match Address::parse(text) {
                Err(error) => problems.add(key, format!("{text:?} is not an address: {error}")),
                Ok(address) => self.add_address(address, index, key, problems),
            }
        }
        for title in &settings.retrieve_ae_titles {
            let known = &mut self.registry.by_ae_title;
            if known.insert(title.as_str().into(), index).is_some() {
                let problem = format!("{title:?} belongs to two locations");
                problems.add("retrieve_ae_titles", problem);
            }
        }
        self.add_alias(settings.alias(), problems);
        if let Some(source) = settings.open(problems) {
            self.registry.sites.push(Site {
                source: Arc::new(source),
                offers: settings.offers.clone(),
            });
        }
    }

    fn add_uid(&mut self, text: &str, index: usize, problems: &mut Problems<'_>) {
        const KEY: &str = "retrieve_location_uid";
        if let Some(uid) = self.uid(KEY, text, problems)
            && self.registry.by_uid.insert(uid, index).is_some()
        {
            problems.add(KEY, format!("{text:?} belongs to two locations"));
        }
    }

    fn uid(
        &self,
        key: &'static str,
        text: &str,
        problems: &mut Problems<'_>,
    ) -> Option<RetrieveLocationUid> {
        match RetrieveLocationUid::parse(text) {
            Err(error) => problems.add(key, format!("{text:?} is {error}")),
            Ok(uid) if uid.is_opaque() && !self.registry.opaque_location_ids => {
                let switch = "xc_wado.opaque_location_ids = true allows that";
                problems.add(key, format!("{text:?} is not an OID; {switch}"));
            }
            Ok(uid) => return Some(uid),
        }
        None
    }

    fn add_address(
        &mut self,
        address: Address,
        index: usize,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) {
        let owner = self.addresses.iter().find(|(other, _)| *other == address);
        match owner.map(|(_, owner)| *owner) {
            Some(owner) if owner != index && !self.is_one_server(owner, index) => {
                problems.add(key, format!("{address} belongs to two locations"));
            }
            Some(_) => {}
            None => self.addresses.push((address, index)),
        }
    }

    /// Whether two locations are one server with two Retrieve Location UIDs, as in IHE's own
    /// example. Then an address selects the first, and either would do.
    fn is_one_server(&self, one: usize, other: usize) -> bool {
        let server = |index: usize| self.servers.get(index).and_then(Option::as_ref);
        let has_uid = |index: usize| self.registry.by_uid.values().any(|of| *of == index);
        server(one).is_some() && server(one) == server(other) && has_uid(one) && has_uid(other)
    }

    fn add_alias(&mut self, alias: String, problems: &mut Problems<'_>) {
        if !self.aliases.insert(alias.clone()) {
            problems.add("alias", format!("{alias:?} is used twice"));
        }
    }

    fn add_community(&mut self, settings: &CommunitySettings, problems: &mut Problems<'_>) {
        let id = &settings.home_community_id;
        self.add_alias(settings.alias(), problems);
        for text in &settings.retrieve_location_uids {
            self.add_foreign_uid(text, id, problems);
        }
        let community = settings.open(problems);
        if *id == self.registry.home_community_id {
            problems.add("home_community_id", "it is our own");
        } else if self
            .registry
            .communities
            .insert(id.clone(), community)
            .is_some()
        {
            problems.add("home_community_id", "it belongs to two communities");
        }
    }

    fn add_foreign_uid(&mut self, text: &str, id: &HomeCommunityId, problems: &mut Problems<'_>) {
        const KEY: &str = "retrieve_location_uids";
        let Some(uid) = self.uid(KEY, text, problems) else {
            return;
        };
        if self.registry.by_uid.contains_key(&uid) {
            problems.add(KEY, format!("{text:?} is a location of ours"));
        } else if self.registry.owners.insert(uid, id.clone()).is_some() {
            problems.add(KEY, format!("{text:?} is listed twice"));
        }
    }

    /// Another xcwado gives its manifests Retrieve URLs beside its DICOMweb root: such a location
    /// serves them too, unless the settings give them to another.
    fn add_handed_out(&mut self) {
        let addresses = self.addresses.iter();
        let handed_out =
            addresses.filter_map(|(address, at)| Some((address.of_handed_out_manifests()?, *at)));
        for (address, at) in handed_out.collect::<Vec<_>>() {
            if !self.addresses.iter().any(|(known, _)| *known == address) {
                self.addresses.push((address, at));
            }
        }
    }

    fn finish(mut self) -> Registry {
        self.add_handed_out();
        // The longest address is the closest match.
        self.addresses
            .sort_by_key(|(address, _)| std::cmp::Reverse(address.url().path().len()));
        self.registry.by_address = self.addresses;
        self.registry
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
