//! What sources offer besides instances: they show it when they are asked, and partners tell it.
//!
//! A source that has never given a resource and refuses it once does not offer it. One that has
//! given it before refuses an object: only several refusals in a row say that it has changed.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Recent;

use super::kept::key;
use super::{Job, Retriever};
use crate::cache::Key;
use crate::hop::Hop;
use crate::resource::Offer;
use crate::source::{Kind, Representation, Source};

/// The time after which a source may have changed.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
const MOST: u64 = 10_000;
/// Refusals in a row, of a source that has given the resource before, after which it is not asked.
const REFUSALS: u8 = 3;
/// The time in which a source that has not answered is not asked again what it offers.
const ASKED: Duration = Duration::from_secs(60);
/// The time in which a second request for something of an instance fetches the instance. Without
/// this rule an instance that is looked at again and again would never be here.
const AGAIN: Duration = Duration::from_secs(120);

/// What has been found out about all sources.
#[derive(Debug)]
pub(super) struct SourceOffers {
    findings: Recent<(Arc<str>, Offer), Finding>,
    /// What partners have told; `None` of those that tell nothing.
    told: Recent<Arc<str>, Option<Arc<[Offer]>>>,
    /// Partners that were asked lately.
    asked: Recent<Arc<str>, ()>,
    /// Sources that are asked for a kind of resource for the first time.
    tried: Recent<(Arc<str>, Offer), ()>,
    /// Instances of which something was passed through.
    passed: Recent<Key, ()>,
}

/// What the answers of a source show of one kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// It has given the resource, and then refused it so many times in a row.
    Given { refusals: u8 },
    /// It does not offer the resource.
    Refused,
}

/// Whether a source is to be asked for a kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offering {
    /// It is a partner that says so, and has not refused.
    Told,
    /// It has given the resource before.
    Shown,
    /// It has not been asked for the resource lately.
    Unknown,
    /// It has refused, or its protocol has no such resource.
    Refused,
}

impl SourceOffers {
    pub(super) fn new() -> Self {
        let findings = Recent::builder().max_capacity(MOST);
        let passed = Recent::builder().max_capacity(MOST);
        let told = Recent::builder().max_capacity(MOST);
        let asked = Recent::builder().max_capacity(MOST);
        let tried = Recent::builder().max_capacity(MOST);
        Self {
            tried: tried.time_to_live(ASKED).build(),
            told: told.time_to_live(REMEMBERED).build(),
            asked: asked.time_to_live(ASKED).build(),
            findings: findings.time_to_live(REMEMBERED).build(),
            passed: passed.time_to_live(AGAIN).build(),
        }
    }
}

impl Finding {
    fn after_refusal(before: Option<Self>) -> Self {
        match before {
            Some(Self::Given { refusals }) if refusals + 1 < REFUSALS => Self::Given {
                refusals: refusals + 1,
            },
            Some(Self::Given { .. } | Self::Refused) | None => Self::Refused,
        }
    }
}

impl Retriever {
    /// Whether a source is to be asked for a kind of resource, as far as its answers show.
    #[must_use]
    pub fn offering(&self, source: &Source, offer: Offer) -> Offering {
        match source.kind {
            Kind::WadoRs(_) | Kind::XcWado(_) => {}
            Kind::WadoUri(_) | Kind::Folder(_) => return Offering::Refused,
        }
        let finding = self.offers.findings.get(&(source.key(), offer));
        let told = self.offers.told.get(&source.key()).flatten();
        match (finding, told) {
            (Some(Finding::Refused), _) => Offering::Refused,
            (_, Some(told)) if told.contains(&offer) => Offering::Told,
            (_, Some(_)) => Offering::Refused,
            (Some(Finding::Given { .. }), None) => Offering::Shown,
            (None, None) => Offering::Unknown,
        }
    }

    /// Asks a partner what it offers, unless it was asked lately. Nothing waits for the answer.
    pub fn ask_offers(&self, source: &Arc<Source>, hop: &Arc<Hop>) {
        let Kind::XcWado(_) = source.kind else {
            return;
        };
        let (place, offers) = (source.key(), &self.offers);
        if offers.told.contains_key(&place) || offers.asked.contains_key(&place) {
            return;
        }
        offers.asked.insert(place, ());
        let (retriever, source, hop) = (self.clone(), Arc::clone(source), Arc::clone(hop));
        tokio::spawn(async move { retriever.hear_offers(&source, &hop).await });
    }

    async fn hear_offers(&self, source: &Source, hop: &Hop) {
        let Kind::XcWado(location) = &source.kind else {
            return;
        };
        let told = match location.offers(hop).await {
            Ok(offers) => Some(offers.into()),
            Err(error) if error.is_refusal() => None,
            Err(_unknown) => return,
        };
        self.offers.told.insert(source.key(), told);
    }

    /// Whether a source may be asked for a kind of resource now: as long as nothing is known of it,
    /// by one request at a time. The others need not wait for what it shows.
    #[must_use]
    pub fn may_try(&self, source: &Source, offer: Offer) -> bool {
        self.offering(source, offer) != Offering::Unknown || {
            let tried = self.offers.tried.entry((source.key(), offer));
            tried.or_insert(()).is_fresh()
        }
    }

    /// Remembers that a source has given a kind of resource, or has refused it.
    pub fn learn_offer(&self, source: &Source, offer: Offer, is_given: bool) {
        let findings = &self.offers.findings;
        let about = (source.key(), offer);
        let finding = if is_given {
            Finding::Given { refusals: 0 }
        } else {
            // Who says that it offers something refuses an object.
            let is_told = self.offering(source, offer) == Offering::Told;
            let told = is_told.then_some(Finding::Given { refusals: 0 });
            Finding::after_refusal(findings.get(&about).or(told))
        };
        self.offers.tried.invalidate(&about);
        if finding == Finding::Refused {
            let (location, resource) = (&*source.alias, offer.name());
            tracing::info!(
                location,
                resource,
                "a source does not offer a resource: it is derived"
            );
        }
        findings.insert(about, finding);
    }

    /// Whether something of the one instance of a job was passed through lately.
    #[must_use]
    pub fn has_passed(&self, job: &Job) -> bool {
        let passed = &self.offers.passed;
        passed_key(job).is_some_and(|key| passed.contains_key(&key))
    }

    /// Remembers that something of the one instance of a job was passed through.
    pub fn note_passed(&self, job: &Job) {
        if let Some(key) = passed_key(job) {
            self.offers.passed.insert(key, ());
        }
    }
}

fn passed_key(job: &Job) -> Option<Key> {
    let uid = job.only.as_ref()?;
    let form = Representation::AsStored;
    Some(key(&job.source, &job.listing, uid, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_is_enough_of_a_source_that_has_given_nothing() {
        assert_eq!(Finding::after_refusal(None), Finding::Refused);
        let refused = Finding::after_refusal(Some(Finding::Refused));
        assert_eq!(refused, Finding::Refused);
    }

    #[test]
    fn a_source_that_has_given_the_resource_may_refuse_some_objects() {
        let mut finding = Finding::Given { refusals: 0 };
        for refusals in 1..REFUSALS {
            finding = Finding::after_refusal(Some(finding));
            assert_eq!(finding, Finding::Given { refusals });
        }
        assert_eq!(Finding::after_refusal(Some(finding)), Finding::Refused);
    }
}
