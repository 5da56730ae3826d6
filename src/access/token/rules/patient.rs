//! The patient whom a token is about: `person_id` of IUA, and `patient` of SMART.

use url::Url;

use super::super::json::Object;
use super::super::refused::Refused;
use super::iua::Extension;
use super::{Rules, text};
use crate::dicom::{PatientId, PatientIds};

impl Rules {
    /// The identifiers of the patient.
    pub(super) fn patient(
        &self,
        claims: &Object,
        iua: &Extension<'_>,
    ) -> Result<PatientIds, Refused> {
        let persons = iua.texts("person_id")?;
        let mut ids = persons
            .into_iter()
            .map(|text| patient_id(text).ok_or(Refused::Claim))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(issuer) = &self.patient_issuer
            && let Some(id) = text(claims, "patient")?
        {
            ids.push(PatientId::new(id, Some(issuer)).ok_or(Refused::Claim)?);
        }
        Ok(ids.into())
    }
}

/// An identifier as HL7 CX (`id^^^&oid&ISO`), as a FHIR token (`system|value`), as a URL that
/// searches for such a token, as the URL of a FHIR Patient, or without an issuer.
fn patient_id(text: &str) -> Option<PatientId> {
    let text = text.trim();
    if text.contains('^') {
        return cx(text);
    }
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if let Some(url) = &url
        && let Some((_name, token)) = url
            .query_pairs()
            .find(|(name, _value)| name == "identifier")
    {
        return identifier(&token);
    }
    if text.contains('|') {
        return identifier(text);
    }
    match url {
        Some(_) => resource(text),
        None => PatientId::new(text, None),
    }
}

/// HL7 V2 CX: the identifier, two components that do not identify, and the assigning authority: its
/// name, its universal identifier and the type of that. An escaped character is in no Patient ID.
fn cx(text: &str) -> Option<PatientId> {
    let mut components = text.split('^');
    let value = components.next()?;
    let authority = components.nth(2).unwrap_or_default();
    let mut parts = authority.split('&');
    let name = parts.next();
    let universal = parts.next().filter(|universal| !universal.is_empty());
    let is_plain = !text.contains('\\') && !text.contains('~');
    is_plain
        .then(|| PatientId::of_attributes(value, universal, [name, None]))
        .flatten()
}

fn identifier(token: &str) -> Option<PatientId> {
    let (system, value) = token.rsplit_once('|')?;
    PatientId::new(value, Some(system))
}

/// `https://server/fhir/Patient/1`: the URL up to the identifier names its issuer.
fn resource(url: &str) -> Option<PatientId> {
    let (issuer, value) = url.rsplit_once('/')?;
    let is_patient = issuer.ends_with("/Patient") && !value.contains(['?', '#']);
    is_patient
        .then(|| PatientId::new(value, Some(issuer)))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Comparison;

    #[test]
    fn an_identifier_has_its_issuer_in_every_form() {
        let one = |text: &str| PatientIds::from(vec![patient_id(text).expect("an identifier")]);
        let known = PatientIds::from(vec![
            PatientId::new("0815", Some("1.2.3")).expect("an identifier"),
        ]);
        for text in [
            "0815^^^&1.2.3&ISO",
            "0815^^^HOSPITAL&1.2.3&ISO",
            "0815^^^&1.2.3&ISO^PI",
            " 0815^^^&1.2.3&ISO ",
            "urn:oid:1.2.3|0815",
            "https://fhir.example/Patient?identifier=urn:oid:1.2.3%7C0815",
        ] {
            assert_eq!(one(text).compare(&known), Comparison::Same, "{text}");
        }
        for text in [
            "0815",
            "0815^^^HOSPITAL",
            "https://fhir.example/Patient/0815",
        ] {
            assert_ne!(one(text).compare(&known), Comparison::Same, "{text}");
        }
        for text in [
            "0815^^^&1.2.4&ISO",
            "urn:oid:1.2.4|0815",
            "0816^^^&1.2.3&ISO",
        ] {
            assert_eq!(one(text).compare(&known), Comparison::Different, "{text}");
        }
        for text in [
            "",
            "^^^&1.2.3&ISO",
            "urn:oid:1.2.3|",
            "https://fhir.example/",
            "https://fhir.example/Patient/",
            "https://fhir.example/Observation/5",
            "08\\T\\15^^^&1.2.3&ISO",
            "0815^^^&1.2.3&ISO~0816^^^&1.2.3&ISO",
        ] {
            assert_eq!(patient_id(text), None, "{text}");
        }
    }
}
