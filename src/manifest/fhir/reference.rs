//! References between the resources of one Bundle. The resolver never fetches a resource.

use std::collections::HashMap;
use std::hash::Hash;

use super::concept::{Identifier, Reference};
use super::endpoint::Endpoint;
use super::patient::PatientMembers;
use super::resource::{Entries, Entry, Order, Practitioner};

/// The referenced resources of a Bundle, or those contained in one resource.
pub(super) struct Directory<'a> {
    endpoints: Index<'a, Endpoint>,
    patients: Index<'a, PatientMembers>,
    orders: Index<'a, Order>,
    practitioners: Index<'a, Practitioner>,
    all_patients: &'a [Entry<PatientMembers>],
}

/// Resolves the references of one resource.
pub(super) struct Resolver<'a> {
    bundle: &'a Directory<'a>,
    contained: &'a Directory<'a>,
    referrer: Option<&'a str>,
}

/// The resources of one type, by every name that a reference may use.
struct Index<'a, T> {
    resource_type: &'static str,
    by_full_url: HashMap<&'a str, &'a T>,
    /// By the id at the end of the fullUrl. `None`: ambiguous, as in `by_id`.
    by_tail: HashMap<&'a str, Option<&'a T>>,
    by_id: HashMap<&'a str, Option<&'a T>>,
    by_identifier: HashMap<IdentifierKey<'a>, Option<&'a T>>,
    all: Vec<&'a T>,
}

/// An identifier and its issuer, or an identifier of any issuer.
#[derive(PartialEq, Eq, Hash)]
enum IdentifierKey<'a> {
    Of(Option<&'a str>, &'a str),
    Any(&'a str),
}

impl<'a> Directory<'a> {
    /// Indexes the resources in one pass.
    pub(super) fn new(entries: &'a Entries) -> Self {
        Self {
            endpoints: Index::new("Endpoint", &entries.endpoints)
                .with_identifiers(|endpoint| &endpoint.identifiers),
            patients: Index::new("Patient", &entries.patients),
            orders: Index::new("ServiceRequest", &entries.orders)
                .with_identifiers(|order| &order.identifier.items),
            practitioners: Index::new("Practitioner", &entries.practitioners)
                .with_identifiers(|practitioner| &practitioner.identifier.items),
            all_patients: &entries.patients,
        }
    }
}

impl<'a> Resolver<'a> {
    /// A resolver for a resource of `bundle` with fullUrl `referrer` and with `contained`
    /// resources.
    pub(super) fn new(
        bundle: &'a Directory<'a>,
        contained: &'a Directory<'a>,
        referrer: Option<&'a str>,
    ) -> Self {
        Self {
            bundle,
            contained,
            referrer,
        }
    }

    /// The endpoint of a reference, or the only one with its identifier.
    pub(super) fn endpoint(&self, reference: &Reference) -> Option<&'a Endpoint> {
        self.resolve(reference, |directory| &directory.endpoints)
    }

    pub(super) fn patient(&self, reference: &str) -> Option<&'a PatientMembers> {
        self.directory(reference)
            .patients
            .resolve(reference, self.referrer)
    }

    /// The order of a reference, or the only one with its identifier.
    pub(super) fn order(&self, reference: &Reference) -> Option<&'a Order> {
        self.resolve(reference, |directory| &directory.orders)
    }

    /// The practitioner of a reference, or the only one with its identifier.
    pub(super) fn practitioner(&self, reference: &Reference) -> Option<&'a Practitioner> {
        self.resolve(reference, |directory| &directory.practitioners)
    }

    fn resolve<T>(
        &self,
        reference: &Reference,
        of: impl Fn(&'a Directory<'a>) -> &'a Index<'a, T>,
    ) -> Option<&'a T> {
        if let Some(reference) = reference.reference.as_deref() {
            let index = of(self.directory(reference));
            return index.resolve(reference, self.referrer);
        }
        let identifier = reference.identifier.as_deref()?;
        let contained = of(self.contained).identified(identifier);
        contained.or_else(|| of(self.bundle).identified(identifier))
    }

    /// The patient of the Bundle, if there is only one.
    pub(super) fn only_patient(&self) -> Option<&'a PatientMembers> {
        match self.bundle.all_patients {
            [patient] => Some(&patient.resource),
            _ => None,
        }
    }

    /// The patient with this identifier, of the Bundle or contained, if there is only one.
    pub(super) fn identified_patient(&self, identifier: &Identifier) -> Option<&'a PatientMembers> {
        let is_same_issuer = |id: &Identifier| {
            id.issuer == identifier.issuer || id.issuer.is_none() || identifier.issuer.is_none()
        };
        let has_it = |patient: &&Entry<PatientMembers>| {
            let mut ids = patient.resource.identifier.items.iter();
            ids.any(|id| id.value == identifier.value && is_same_issuer(id))
        };
        let all = self.contained.all_patients.iter();
        let mut patients = all.chain(self.bundle.all_patients).filter(has_it);
        match (patients.next(), patients.next()) {
            (Some(patient), None) => Some(&patient.resource),
            _ => None,
        }
    }

    fn directory(&self, reference: &str) -> &'a Directory<'a> {
        if reference.starts_with('#') {
            self.contained
        } else {
            self.bundle
        }
    }
}

impl<'a, T> Index<'a, T> {
    fn new(resource_type: &'static str, entries: &'a [Entry<T>]) -> Self {
        let mut index = Self {
            resource_type,
            by_full_url: HashMap::new(),
            by_tail: HashMap::new(),
            by_id: HashMap::new(),
            by_identifier: HashMap::new(),
            all: entries.iter().map(|entry| &entry.resource).collect(),
        };
        for entry in entries {
            index.add(entry);
        }
        index
    }

    /// Indexes the identifiers of all resources too.
    fn with_identifiers(mut self, identifiers: impl Fn(&'a T) -> &'a [Identifier]) -> Self {
        for &resource in &self.all {
            for identifier in identifiers(resource) {
                let (issuer, value) = (identifier.issuer.as_deref(), &*identifier.value);
                for key in [IdentifierKey::Of(issuer, value), IdentifierKey::Any(value)] {
                    add_unique(&mut self.by_identifier, key, resource);
                }
            }
        }
        self
    }

    /// The only resource with this identifier. An issuer counts if both have one.
    fn identified(&self, identifier: &Identifier) -> Option<&'a T> {
        let value = &*identifier.value;
        let found = match identifier.issuer.as_deref() {
            Some(issuer) => self
                .by_identifier
                .get(&IdentifierKey::Of(Some(issuer), value))
                .or_else(|| self.by_identifier.get(&IdentifierKey::Of(None, value))),
            None => self.by_identifier.get(&IdentifierKey::Any(value)),
        };
        found.copied().flatten()
    }

    /// The target of `reference` in a resource with fullUrl `referrer`.
    ///
    /// Tries in turn: the literal fullUrl (so URNs of any syntax work); a relative reference under
    /// the referrer's base (FHIR R4 2.36.4.1); the last two segments of a fullUrl; type and id. The
    /// last two count only if they match a single resource.
    fn resolve(&self, reference: &str, referrer: Option<&str>) -> Option<&'a T> {
        if let Some(id) = reference.strip_prefix('#') {
            return self.by_id.get(id).copied().flatten();
        }
        let named = self
            .by_full_url
            .get(reference)
            .or_else(|| self.below(referrer?, reference));
        named.copied().or_else(|| {
            let id = self.tail(reference)?;
            self.by_tail
                .get(id)
                .or_else(|| self.by_id.get(id))
                .copied()
                .flatten()
        })
    }

    fn add(&mut self, entry: &'a Entry<T>) {
        if let Some(full_url) = entry.full_url.as_deref() {
            self.by_full_url.entry(full_url).or_insert(&entry.resource);
            if let Some(id) = self.tail(full_url) {
                add_unique(&mut self.by_tail, id, &entry.resource);
            }
        }
        if let Some(id) = entry.id.as_deref() {
            add_unique(
                &mut self.by_id,
                id.strip_prefix('#').unwrap_or(id),
                &entry.resource,
            );
        }
    }

    fn below(&self, referrer: &str, reference: &str) -> Option<&&'a T> {
        let (base, _type, _id) = last_two(referrer)?;
        self.by_full_url.get(&*format!("{base}{reference}"))
    }

    /// The id in `…Type/id`, if the type matches.
    fn tail<'u>(&self, url: &'u str) -> Option<&'u str> {
        let (_base, r#type, id) = last_two(url)?;
        (r#type == self.resource_type).then_some(id)
    }
}

fn add_unique<'a, K: Eq + Hash, T>(map: &mut HashMap<K, Option<&'a T>>, key: K, value: &'a T) {
    map.entry(key)
        .and_modify(|known| *known = known.filter(|known| std::ptr::eq(*known, value)))
        .or_insert(Some(value));
}

/// Base (with its delimiter), type and id of a URL, without a version; accepts `urn:Type/id` too.
fn last_two(url: &str) -> Option<(&str, &str, &str)> {
    let url = url
        .split_once("/_history/")
        .map_or(url, |(unversioned, _version)| unversioned);
    let (front, id) = url.rsplit_once('/')?;
    let start = front.rfind(['/', ':']).map_or(0, |at| at + 1);
    Some((&front[..start], &front[start..], id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[(&str, &str)]) -> Vec<Entry<usize>> {
        let option = |text: &str| (!text.is_empty()).then(|| text.into());
        let entry = |(position, (full_url, id)): (usize, &(&str, &str))| Entry {
            position,
            full_url: option(full_url),
            id: option(id),
            resource: position,
        };
        names.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn resolves_every_kind_of_reference() {
        // name, (fullUrl, id) of the endpoints, reference, fullUrl of the referrer, which it means
        type Case<'a> = (
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a str,
            &'a str,
            Option<usize>,
        );
        let cases: &[Case<'_>] = &[
            (
                "exact",
                &[("urn:uuid:a", ""), ("urn:uuid:b", "")],
                "urn:uuid:b",
                "",
                Some(1),
            ),
            (
                "pseudo URN",
                &[("urn:Endpoint/w--2", "w--2")],
                "urn:Endpoint/w--2",
                "urn:ImagingStudy/1",
                Some(0),
            ),
            (
                "not a UUID",
                &[("urn:uuid:x-001", "")],
                "urn:uuid:x-001",
                "",
                Some(0),
            ),
            (
                "relative to the referrer's base",
                &[
                    ("https://b/Endpoint/X", "X"),
                    ("https://a/f/Endpoint/X", "X"),
                ],
                "Endpoint/X",
                "https://a/f/ImagingStudy/1",
                Some(1),
            ),
            (
                "relative fullUrl",
                &[("Endpoint/X", "")],
                "https://a/Endpoint/X",
                "",
                Some(0),
            ),
            (
                "relative fullUrl, versioned",
                &[("Endpoint/X", "")],
                "Endpoint/X/_history/2",
                "",
                Some(0),
            ),
            (
                "relative to a URN",
                &[("urn:Endpoint/X", "")],
                "Endpoint/X",
                "urn:ImagingStudy/1",
                Some(0),
            ),
            (
                "type and id",
                &[("urn:uuid:a", "X")],
                "Endpoint/X",
                "urn:uuid:s",
                Some(0),
            ),
            (
                "no fullUrl at all",
                &[("", "X")],
                "https://a/Endpoint/X",
                "",
                Some(0),
            ),
            ("fragment", &[("", "ep1")], "#ep1", "", Some(0)),
            ("fragment, id with #", &[("", "#ep1")], "#ep1", "", Some(0)),
            (
                "ambiguous",
                &[("urn:uuid:a", "X"), ("urn:uuid:b", "X")],
                "Endpoint/X",
                "",
                None,
            ),
            (
                "ambiguous tail",
                &[("https://a/Endpoint/X", ""), ("https://b/Endpoint/X", "")],
                "Endpoint/X",
                "",
                None,
            ),
            ("other type", &[("urn:uuid:a", "X")], "Patient/X", "", None),
            ("nothing", &[("urn:uuid:a", "X")], "urn:uuid:c", "", None),
            ("no reference", &[("urn:uuid:a", "X")], "", "", None),
        ];
        for (name, names, reference, referrer, expected) in cases {
            let entries = entries(names);
            let index = Index::new("Endpoint", &entries);
            let referrer = (!referrer.is_empty()).then_some(*referrer);
            assert_eq!(
                index.resolve(reference, referrer).copied(),
                *expected,
                "{name}"
            );
        }
    }
}
