//! Holdings of several manifests that list one study.

use super::*;

const STUDY: &str = "1.2.1";

/// A manifest of one study: series, each with its instances, all at one place.
fn holding(place: &str, all: &[(&str, &[&str])]) -> Arc<Holding> {
    let series: Vec<_> = all
        .iter()
        .map(|(uid, instances)| {
            let instances: Vec<_> = instances
                .iter()
                .map(|uid| {
                    serde_json::json!({
                        "uid": uid,
                        "sopClass": { "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2" },
                    })
                })
                .collect();
            serde_json::json!({
                "uid": uid,
                "endpoint": [{ "reference": "urn:uuid:2" }],
                "instance": instances,
            })
        })
        .collect();
    let bundle = serde_json::json!({
        "resourceType": "Bundle", "type": "collection",
        "entry": [
            { "fullUrl": "urn:uuid:1", "resource": {
                "resourceType": "ImagingStudy", "status": "available",
                "identifier": [{ "system": "urn:dicom:uid", "value": format!("urn:oid:{STUDY}") }],
                "series": series,
            }},
            { "fullUrl": "urn:uuid:2", "resource": {
                "resourceType": "Endpoint", "status": "active",
                "connectionType": { "code": "dicom-wado-rs" },
                "address": format!("http://{place}/rs/"),
            }},
        ],
    });
    let manifest = crate::manifest::read(bundle.to_string().as_bytes()).expect("a manifest");
    Arc::new(Holding::new(manifest.studies, None))
}

fn united(holdings: &[Arc<Holding>], located: &str) -> Holding {
    let is_located = |locations: &[Location], _: Option<&HomeCommunityId>| {
        format!("{locations:?}").contains(located)
    };
    let study = StudyInstanceUid::parse(STUDY).expect("a uid");
    Holding::united(holdings, &study, is_located).expect("a study")
}

/// Where a study's instances are: `(place, instances)` for each listing.
fn selected(holding: &Holding, target: &Target) -> Option<Vec<(String, Vec<String>)>> {
    let selected = holding.select(target)?.into_iter().map(|selected| {
        let listed = selected.listing.instances.keys();
        let mut listed: Vec<_> = listed.map(ToString::to_string).collect();
        listed.sort();
        let place = format!("{:?}", selected.locations);
        let name = ["alpha", "beta"]
            .into_iter()
            .find(|name| place.contains(name));
        (name.unwrap_or_default().to_owned(), listed)
    });
    Some(selected.collect())
}

fn whole() -> Target {
    Target::Study(StudyInstanceUid::parse(STUDY).expect("a uid"))
}

fn parts(all: &[(&str, &[&str])]) -> Option<Vec<(String, Vec<String>)>> {
    let parts = all.iter().map(|(place, uids)| {
        let uids = uids.iter().map(|uid| (*uid).to_owned());
        ((*place).to_owned(), uids.collect())
    });
    Some(parts.collect())
}

#[test]
fn manifests_of_one_study_complete_each_other() {
    let one = holding("alpha", &[("1.2.2", &["1.5.1", "1.5.2"])]);
    let two = holding(
        "beta",
        &[("1.2.2", &["1.5.2", "1.5.3"]), ("1.2.3", &["1.6.1"])],
    );
    let both = united(&[one, two], "http");
    assert_eq!(both.instances(), 4);
    assert_eq!(both.studies.len(), 1);
    let series = &both.studies[0].series;
    assert_eq!(
        series.iter().map(|s| s.instances.len()).collect::<Vec<_>>(),
        [3, 1]
    );
    let expected = parts(&[
        ("alpha", &["1.5.1", "1.5.2"]),
        ("beta", &["1.5.3"]),
        ("beta", &["1.6.1"]),
    ]);
    assert_eq!(selected(&both, &whole()), expected);
    let instance = |uid: &str| {
        Target::Instance(
            StudyInstanceUid::parse(STUDY).expect("a uid"),
            SeriesInstanceUid::parse("1.2.2").expect("a uid"),
            SopInstanceUid::parse(uid).expect("a uid"),
        )
    };
    let third = selected(&both, &instance("1.5.3"));
    assert_eq!(third, parts(&[("beta", &["1.5.3"])]));
    assert_eq!(selected(&both, &instance("1.6.1")), None);
}

#[test]
fn what_several_list_is_looked_for_where_it_can_be_found() {
    let one = holding("alpha", &[("1.2.2", &["1.5.1", "1.5.2"])]);
    let two = holding("beta", &[("1.2.2", &["1.5.2"])]);
    let both = united(&[one, two], "beta");
    let expected = parts(&[("beta", &["1.5.2"]), ("alpha", &["1.5.1"])]);
    assert_eq!(selected(&both, &whole()), expected);
}
