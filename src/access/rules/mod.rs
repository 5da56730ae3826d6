//! What a client may do: the first rule that concerns a request decides; without one, it is
//! forbidden.

mod settings;
#[cfg(test)]
mod tests;

pub use settings::{Effect, Manifests, RuleSettings, Transaction};

use super::claims::{Claims, Code};
use super::{Caller, Grant};
use crate::community::{Problem, Problems};
use crate::dicom::PatientIds;
use crate::library::{Clause, View, Whose};

/// The rules, in the order of the settings.
#[derive(Debug, Clone)]
pub struct Rules(Vec<RuleSettings>);

/// A rule, and what it says of a request.
#[derive(Debug)]
pub struct Explained<'a> {
    /// The rule.
    pub rule: &'a RuleSettings,
    /// The first condition that the request does not meet.
    pub unmet: Option<Unmet>,
    /// The manifests that it is about.
    pub covers: View,
}

/// A condition of a rule that a request does not meet, by its key in the settings.
pub type Unmet = &'static str;

impl Rules {
    /// Checks the rules. `issuers`: the names of the configured issuers.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn new(rules: &[RuleSettings], issuers: &[&str]) -> Result<Self, Vec<Problem>> {
        let mut all = Vec::new();
        for (position, rule) in rules.iter().enumerate() {
            check(rule, issuers, &mut Problems::of("rule", position, &mut all));
        }
        match all.is_empty() {
            true => Ok(Self(rules.to_vec())),
            false => Err(all),
        }
    }

    /// The manifests that a transaction of a client concerns.
    #[must_use]
    pub fn view(&self, caller: &Caller, transaction: Transaction) -> View {
        if let Caller::Link(grant) = caller {
            return self.view_of_link(caller, grant, transaction);
        }
        let rules = self.concerning(caller, transaction);
        let clauses = rules.filter_map(|rule| {
            Some(Clause {
                whose: whose(caller, rule.manifests)?,
                is_visible: rule.effect == Effect::Allow,
            })
        });
        View::of(clauses.collect())
    }

    /// A link shows its manifest, unless a rule for links says otherwise.
    fn view_of_link(&self, caller: &Caller, grant: &Grant, transaction: Transaction) -> View {
        let deciding = self.concerning(caller, transaction).next();
        let is_permitted = match deciding {
            Some(rule) => rule.effect == Effect::Allow,
            None => true,
        };
        match is_permitted {
            true => view_of_link(grant, transaction),
            false => View::nothing(),
        }
    }

    /// Whether a transaction of RAD-160 is permitted at a location.
    #[must_use]
    pub fn permit(
        &self,
        caller: &Caller,
        transaction: Transaction,
        location: Option<&str>,
    ) -> bool {
        let mut rules = self.concerning(caller, transaction);
        let deciding = rules.find(|rule| rule.is_for(location));
        deciding.is_some_and(|rule| rule.effect == Effect::Allow)
    }

    fn concerning(
        &self,
        caller: &Caller,
        transaction: Transaction,
    ) -> impl Iterator<Item = &RuleSettings> {
        let rules = self.0.iter();
        rules.filter(move |rule| unmet(rule, caller, transaction).is_none())
    }

    /// Each rule, and what it says of a request.
    pub fn explained(
        &self,
        caller: &Caller,
        transaction: Transaction,
    ) -> impl Iterator<Item = Explained<'_>> {
        let rules = self.0.iter();
        rules.map(move |rule| {
            let whose = whose(caller, rule.manifests).into_iter();
            let clauses = whose.map(|whose| Clause {
                whose,
                is_visible: true,
            });
            Explained {
                rule,
                unmet: unmet(rule, caller, transaction),
                covers: View::of(clauses.collect()),
            }
        })
    }
}

/// What a link shows where there are no rules.
#[must_use]
pub fn view_of_link(grant: &Grant, transaction: Transaction) -> View {
    use Transaction::{List, Render, Retrieve, Search};
    if !matches!(transaction, List | Search | Retrieve | Render) {
        return View::nothing();
    }
    View::of(vec![Clause {
        whose: Whose::Only(grant.manifest),
        is_visible: true,
    }])
}

fn check(rule: &RuleSettings, issuers: &[&str], problems: &mut Problems<'_>) {
    for issuer in &rule.issuers {
        if !issuers.contains(&issuer.as_str()) {
            problems.add("issuers", format!("no [[issuer]] has the name {issuer}"));
        }
    }
    if rule.transactions.is_empty() {
        problems.add("transactions", "name at least one");
    }
    let is_of_xc_wado = rule.transactions.iter().all(|one| one.is_xc_wado());
    if !rule.locations.is_empty() && !is_of_xc_wado {
        let problem = "locations are for xc_wado_initiating and xc_wado_responding only";
        problems.add("locations", problem);
    }
    if rule.anyone && has_conditions(rule) {
        let problem = "a client that is not identified meets no other condition on its identity";
        problems.add("anyone", problem);
    }
}

/// Whether a rule has a condition on who asks.
fn has_conditions(rule: &RuleSettings) -> bool {
    is_about_tokens(rule) || !rule.communities.is_empty() || rule.link || rule.certificate
}

fn is_about_tokens(rule: &RuleSettings) -> bool {
    [
        &rule.issuers,
        &rule.subjects,
        &rule.clients,
        &rule.scopes,
        &rule.roles,
        &rule.organisations,
    ]
    .into_iter()
    .any(|list| !list.is_empty())
}

/// The first condition that a request does not meet.
fn unmet(rule: &RuleSettings, caller: &Caller, transaction: Transaction) -> Option<Unmet> {
    if !rule.transactions.contains(&transaction) {
        return Some("transactions");
    }
    unmet_by(rule, caller)
}

fn unmet_by(rule: &RuleSettings, caller: &Caller) -> Option<Unmet> {
    let is_kind = |is_met: bool, key| (!is_met).then_some(key);
    match caller {
        _ if rule.anyone => None,
        Caller::Subject(claims) => unmet_by_claims(rule, claims),
        Caller::Link(grant) => {
            let purposes = grant.purpose.iter().map(|purpose| (None, &**purpose));
            is_kind(rule.link && !is_about_tokens(rule), "link")
                .or_else(|| is_kind(names_any(&rule.purposes, purposes), "purposes"))
        }
        Caller::Partner(partner) => {
            let is_named = rule.communities.contains(&partner.home_community_id);
            let is_met = is_named || !has_conditions(rule);
            is_kind(is_met, "communities").or_else(|| is_kind(rule.purposes.is_empty(), "purposes"))
        }
        Caller::Member { with_certificate } => {
            let is_certified = *with_certificate && !is_about_tokens(rule);
            let is_met = is_certified && !rule.link && rule.communities.is_empty();
            is_kind(is_met, "anyone").or_else(|| is_kind(rule.purposes.is_empty(), "purposes"))
        }
    }
}

fn unmet_by_claims(rule: &RuleSettings, claims: &Claims) -> Option<Unmet> {
    let community = claims.home_community_id.as_ref();
    let of_community = rule.communities.is_empty()
        || community.is_some_and(|community| rule.communities.contains(community));
    let scopes = claims.scopes.iter().map(|scope| &**scope);
    let organisations = claims.organisations.iter().map(|name| &**name);
    let conditions = [
        ("link", !rule.link),
        ("certificate", !rule.certificate),
        ("issuers", has(&rule.issuers, Some(&claims.issuer))),
        ("subjects", has(&rule.subjects, Some(&claims.subject))),
        ("clients", has(&rule.clients, claims.client_id.as_deref())),
        ("scopes", has_any(&rule.scopes, scopes)),
        ("roles", names_any(&rule.roles, codes(&claims.roles))),
        ("organisations", has_any(&rule.organisations, organisations)),
        ("communities", of_community),
        (
            "purposes",
            names_any(&rule.purposes, codes(&claims.purposes)),
        ),
    ];
    let unmet = conditions.into_iter().find(|(_, is_met)| !is_met);
    unmet.map(|(key, _)| key)
}

impl RuleSettings {
    /// Whether it is for a location, by its Retrieve Location UID.
    #[must_use]
    pub fn is_for(&self, location: Option<&str>) -> bool {
        has(&self.locations, location)
    }
}

/// Whether a list has a value; an empty one has all.
fn has(list: &[String], value: Option<&str>) -> bool {
    list.is_empty() || value.is_some_and(|value| list.iter().any(|one| one == value))
}

fn has_any<'a>(list: &[String], mut values: impl Iterator<Item = &'a str>) -> bool {
    list.is_empty() || values.any(|value| list.iter().any(|one| one == value))
}

fn codes(codes: &[Code]) -> impl Iterator<Item = (Option<&str>, &str)> {
    let codes = codes.iter();
    codes.map(|code| (code.system.as_deref(), &*code.code))
}

/// Whether a list names a code: by itself, or with its code system before it.
fn names_any<'a>(
    list: &[String],
    mut codes: impl Iterator<Item = (Option<&'a str>, &'a str)>,
) -> bool {
    let names = |one: &String, system: Option<&str>, code: &str| match one.rsplit_once('|') {
        Some((of, wanted)) => system == Some(of) && wanted == code,
        None => one == code,
    };
    list.is_empty() || codes.any(|(system, code)| list.iter().any(|one| names(one, system, code)))
}

/// The manifests of a rule for a client; `None`: it has none of this kind.
fn whose(caller: &Caller, manifests: Manifests) -> Option<Whose> {
    match (manifests, caller) {
        (Manifests::All, _) => Some(Whose::All),
        (Manifests::Own, _) => Some(Whose::OwnedBy(caller.owner())),
        (Manifests::Patient, Caller::Subject(claims)) => about(&claims.patient),
        (Manifests::Patient, Caller::Link(_) | Caller::Partner(_) | Caller::Member { .. }) => None,
    }
}

fn about(patient: &PatientIds) -> Option<Whose> {
    let patient = patient.with_universal_issuers();
    (!patient.is_empty()).then_some(Whose::About(patient))
}
