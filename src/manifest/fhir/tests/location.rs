//! Endpoints become locations; repeated series and instances become one.

use super::*;
use crate::community::NotAnAddress;
use crate::manifest::Names;

#[test]
fn resolves_references_to_endpoints() {
    // name, fullUrl of the study, fullUrl and id of the endpoint, reference
    for (name, study, endpoint, id, reference) in [
        ("exact", "urn:uuid:s", "urn:uuid:e", "", "urn:uuid:e"),
        (
            "pseudo URN",
            "urn:ImagingStudy/1",
            "urn:Endpoint/w--2",
            "w--2",
            "urn:Endpoint/w--2",
        ),
        (
            "not a UUID",
            "urn:uuid:s",
            "urn:uuid:e-001",
            "",
            "urn:uuid:e-001",
        ),
        (
            "relative to the base",
            "https://a/f/ImagingStudy/1",
            "https://a/f/Endpoint/w",
            "",
            "Endpoint/w",
        ),
        (
            "relative fullUrl",
            "ImagingStudy/1",
            "Endpoint/w",
            "",
            "Endpoint/w",
        ),
        (
            "last two segments",
            "https://a/ImagingStudy/1",
            "Endpoint/w",
            "",
            "https://b/Endpoint/w",
        ),
        ("type and id", "urn:uuid:s", "urn:uuid:e", "w", "Endpoint/w"),
    ] {
        let bundle = with("/entry/0/fullUrl", json!(study));
        let bundle = set(bundle, "/entry/1/fullUrl", json!(endpoint));
        let bundle = set(bundle, &format!("{ENDPOINT}/id"), json!(id));
        let bundle = set(
            bundle,
            &format!("{SERIES}/endpoint"),
            json!([{ "reference": reference }]),
        );
        assert_eq!(series(&bundle).locations.len(), 1, "{name}");
        assert_eq!(manifest(&bundle).warnings, [], "{name}");
    }
}

#[test]
fn resolves_a_contained_endpoint_only_in_its_own_study() {
    let reference = json!([{ "reference": "#w" }]);
    let bundle = with(&format!("{SERIES}/endpoint"), reference);
    // The Bundle has an Endpoint of this id, but it is not contained.
    assert_eq!(series(&bundle).locations, []);
    let contained =
        json!([{ "resourceType": "Device" }, wado("w", "https://c.example/rs", "1.2.41")]);
    let bundle = set(bundle, &format!("{STUDY}/contained"), contained);
    assert_eq!(
        series(&bundle).locations,
        [location(Some("1.2.41"), Some("https://c.example/rs"))]
    );
}

#[test]
fn a_series_whose_endpoint_is_missing_stays_without_location() {
    let bundle = with(
        &format!("{SERIES}/endpoint"),
        json!([{ "reference": "Endpoint/other" }]),
    );
    let bundle = set(
        bundle,
        &format!("{STUDY}/endpoint"),
        json!([{ "reference": "Endpoint/w" }]),
    );
    let manifest = manifest(&bundle);
    let series = &manifest.studies[0].series[0];
    assert_eq!((series.locations.len(), series.instances.len()), (0, 1));
    assert_eq!(
        defects(&manifest),
        [Defect::UnresolvedReference("endpoint"), Defect::NoLocation]
    );
}

#[test]
fn a_series_without_endpoints_inherits_those_of_the_study() {
    for own in [
        json!(null),
        json!([]),
        json!([{ "reference": "Endpoint/v" }]),
    ] {
        let bundle = with(&format!("{SERIES}/endpoint"), own);
        let viewer = json!({
            "resourceType": "Endpoint",
            "id": "v",
            "connectionType": { "code": "web-viewer" },
            "address": "https://v.example/?token=1",
        });
        let bundle = set(bundle, "/entry/-", json!({ "resource": viewer }));
        let references = json!([{ "reference": "Endpoint/v" }, { "reference": "Endpoint/w" }]);
        let bundle = set(bundle, &format!("{STUDY}/endpoint"), references);
        let manifest = manifest(&bundle);
        assert_eq!(manifest.studies[0].series[0].locations.len(), 1);
        assert_eq!(
            manifest.studies[0].viewer_urls,
            ["https://v.example/?token=1".into()]
        );
        assert_eq!(manifest.warnings, []);
    }
}

#[test]
fn an_identifier_refers_to_the_only_endpoint_that_has_it() {
    let id = |system: Option<&str>| match system {
        Some(system) => json!({ "system": system, "value": "ep-1" }),
        None => json!({ "value": "ep-1" }),
    };
    let (here, there) = (Some("https://h.example"), Some("https://other.example"));
    for (of_reference, of_endpoint, is_found) in [
        (here, here, true),
        (here, None, true),
        (None, here, true),
        (here, there, false),
    ] {
        let reference = json!([{ "type": "Endpoint", "identifier": id(of_reference) }]);
        let bundle = with(&format!("{SERIES}/endpoint"), reference);
        let one = set(
            bundle,
            &format!("{ENDPOINT}/identifier"),
            json!([id(of_endpoint)]),
        );
        assert_eq!(series(&one).locations.len(), usize::from(is_found));
        let mut twin = wado("z", "https://z.example/rs", "1.2.42");
        twin["identifier"] = json!([id(of_endpoint)]);
        let two = set(one, "/entry/-", json!({ "resource": twin }));
        assert_eq!(series(&two).locations, [], "which of the two is unknown");
    }
}

#[test]
fn keeps_the_order_of_several_endpoints() {
    let bundle = with(
        "/entry/-",
        json!({ "resource": wado("z", "https://z.example/rs", "1.2.42") }),
    );
    let references = json!([{ "reference": "Endpoint/z" }, { "reference": "Endpoint/w" }, { "reference": "Endpoint/z" }]);
    let bundle = set(bundle, &format!("{SERIES}/endpoint"), references);
    assert_eq!(
        series(&bundle).locations,
        [
            location(Some("1.2.42"), Some("https://z.example/rs")),
            location(Some("1.2.40"), Some("https://h.example/rs")),
        ]
    );
}

#[test]
fn knows_a_placeholder_from_an_address() {
    for address in [
        "http://notspecified",
        "http://NOTSPECIFIED/",
        "http://notapplicable",
        "http://doesnotexist",
        "",
    ] {
        let bundle = with(&format!("{ENDPOINT}/address"), json!(address));
        assert_eq!(
            series(&bundle).locations,
            [location(Some("1.2.40"), None)],
            "{address}"
        );
    }
    let absent = json!({ "extension": [{
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
        "valueCode": "unknown",
    }] });
    let bundle = with(&format!("{ENDPOINT}/_address"), absent);
    assert_eq!(series(&bundle).locations, [location(Some("1.2.40"), None)]);
    let bundle = with(&format!("{ENDPOINT}/address"), json!(null));
    assert_eq!(series(&bundle).locations, [location(Some("1.2.40"), None)]);
}

#[test]
fn reads_a_retrieve_location_uid_in_every_spelling() {
    let names = [
        "MadoRetrieveLocationUIDExtension",
        "XcWadoLocationUIDExtension",
        "XcWadoRetrieveLocationUIDExtension",
    ];
    let values = [
        ("valueString", json!("1.2.41")),
        ("valueString", json!("oid:1.2.41")),
        ("valueUri", json!("urn:oid:1.2.41")),
        ("valueOid", json!("urn:oid:1.2.41")),
        (
            "valueIdentifier",
            json!({ "system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.41" }),
        ),
    ];
    for name in names {
        for (form, value) in &values {
            let extension = json!([{ "url": "x/Other" }, { "url": format!("http://hl7.eu/fhir/imaging/{name}"), *form: value }]);
            let bundle = with(&format!("{ENDPOINT}/extension"), extension);
            assert_eq!(
                series(&bundle).locations[0].retrieve_location_uid,
                location(Some("1.2.41"), None).retrieve_location_uid,
                "{bundle}"
            );
        }
    }
}

#[test]
fn warns_of_a_location_uid_that_nobody_can_register() {
    for (value, warning) in [
        ("ACME", Defect::OpaqueLocation("ACME".into())),
        (
            "oid:213.323245.462.63.56",
            Defect::UnregistrableOid("213.323245.462.63.56".into()),
        ),
    ] {
        let bundle = with(
            &format!("{ENDPOINT}/extension"),
            json!([{ "url": RLU, "valueString": value }]),
        );
        assert_eq!(defects(&manifest(&bundle)), [warning]);
        assert_eq!(
            series(&bundle).locations,
            [location(Some(value), Some("https://h.example/rs"))]
        );
    }
}

#[test]
fn cuts_a_retrieve_url_before_its_study_and_ignores_a_foreign_one() {
    let bundle = with(
        &format!("{ENDPOINT}/address"),
        json!("https://h.example/rs/studies/1.2.3/series/1.2.4"),
    );
    assert_eq!(
        series(&bundle).locations,
        [location(Some("1.2.40"), Some("https://h.example/rs"))]
    );
    let bundle = with(
        &format!("{ENDPOINT}/address"),
        json!("https://h.example/rs/studies/1.2.9"),
    );
    assert_eq!(series(&bundle).locations, [location(Some("1.2.40"), None)]);
    assert_eq!(defects(&manifest(&bundle)), [Defect::ForeignAddress]);
}

#[test]
fn an_instance_is_kept_once_in_each_series() {
    let twice = json!({ "uid": "1.2.5", "sopClass": { "code": CT } });
    let bundle = with(&format!("{SERIES}/instance/-"), twice.clone());
    let other =
        json!({ "uid": "1.2.6", "endpoint": [{ "reference": "Endpoint/w" }], "instance": [twice] });
    let bundle = set(bundle, &format!("{STUDY}/series/-"), other);
    let manifest = manifest(&bundle);
    let listed: Vec<_> = manifest.studies[0]
        .series
        .iter()
        .map(|series| series.instances.len())
        .collect();
    assert_eq!(listed, [1, 1]);
    let expected = [Defect::Duplicates(1), Defect::InSeveralSeries(1)];
    assert_eq!(defects(&manifest), expected);
}

#[test]
fn a_series_listed_twice_becomes_one() {
    let again = json!({
        "uid": "1.2.4",
        "endpoint": [{ "reference": "Endpoint/w" }],
        "instance": [{ "uid": "1.2.7", "sopClass": { "code": CT } }],
    });
    let manifest = manifest(&with(&format!("{STUDY}/series/-"), again));
    assert_eq!(manifest.studies[0].series.len(), 1);
    assert_eq!(manifest.studies[0].series[0].instances.len(), 2);
    assert_eq!(manifest.studies[0].series[0].locations.len(), 1);
    assert_eq!(defects(&manifest), [Defect::Repeated("series")]);
}

#[test]
fn warns_when_counts_differ_from_what_is_listed() {
    let bundle = with(&format!("{STUDY}/numberOfSeries"), json!(2));
    let bundle = set(bundle, &format!("{STUDY}/numberOfInstances"), json!("5"));
    let bundle = set(bundle, &format!("{SERIES}/numberOfInstances"), json!(7));
    let differs = |what, declared| Defect::CountDiffers {
        what,
        declared,
        listed: 1,
    };
    let manifest = manifest(&bundle);
    assert_eq!(
        defects(&manifest),
        [
            differs("series", 2),
            differs("instances", 5),
            differs("instances", 7)
        ]
    );
    assert_eq!(manifest.studies[0].declared_series, Some(2));
    assert_eq!(manifest.studies[0].series[0].declared_instances, Some(7));
}

#[test]
fn an_address_that_selects_nothing_is_told_with_the_reason() {
    for (address, why) in [
        ("http://user:pw@h.example/rs", NotAnAddress::Credentials),
        (
            "https://h.example/\u{1b}[31m",
            NotAnAddress::ControlCharacters,
        ),
        ("file:///srv/images", NotAnAddress::Scheme),
        ("file:/srv/images", NotAnAddress::Scheme),
        (
            "https://h.example/wado?requestType=WADO",
            NotAnAddress::Query,
        ),
    ] {
        let manifest = manifest(&with(&format!("{ENDPOINT}/address"), json!(address)));
        let subject = Subject::Series(manifest.studies[0].series[0].uid.clone());
        let unusable = Warning::about(subject, Outcome::LeftOut, Defect::UnusableAddress(why));
        assert_eq!(manifest.warnings, [unusable], "{address}");
        let text = Names::of(&manifest.studies).text(&manifest.warnings[0]);
        assert!(!text.contains("pw@") && !text.contains('\u{1b}'), "{text}");
    }
}
