//! Limits, and documents that are damaged or hostile.

use super::*;

#[test]
fn refuses_what_is_too_large() {
    let mut long = small().to_string().into_bytes();
    long.resize(MAX_MANIFEST + 1, b' ');
    assert_eq!(read(&long), Err(Error::TooLarge { what: "bytes" }));
    let studies = vec![small()["entry"][0].to_string(); MOST_STUDIES + 1].join(",");
    let bundle = format!(r#"{{"resourceType":"Bundle","entry":[{studies}]}}"#);
    assert_eq!(
        read(bundle.as_bytes()),
        Err(Error::TooLarge { what: "studies" })
    );
    let endpoints =
        vec![r#"{"resource":{"resourceType":"Endpoint"}}"#; MOST_RESOURCES + 1].join(",");
    let bundle = format!(r#"{{"resourceType":"Bundle","entry":[{endpoints}]}}"#);
    assert_eq!(
        read(bundle.as_bytes()),
        Err(Error::TooLarge { what: "resources" })
    );
}

#[test]
fn refuses_deep_nesting_without_a_deep_stack() {
    let levels = |open: &str, close: &str, times: usize| {
        format!("{}0{}", open.repeat(times), close.repeat(times))
    };
    let deepest = [
        levels("[", "]", MOST_LEVELS),
        levels(r#"{"entry":"#, "}", MOST_LEVELS),
        format!(
            r#"{{"entry":[{{"resource":{}}}]}}"#,
            levels(r#"{"contained":["#, "]}", 14)
        ),
        format!(
            r#"{{"entry":[{{"resource":{{"procedure":{}}}}}]}}"#,
            levels(r#"{"concept":"#, "}", 28)
        ),
        format!(
            r#"{{"entry":[{{"resource":{{"modality":{}}}}}]}}"#,
            levels(r#"{"coding":["#, "]}", 14)
        ),
    ];
    let too_deep = [
        levels("[", "]", MOST_LEVELS + 1),
        "[".repeat(1_000_000),
        r#"{"entry":["#.repeat(1_000_000),
    ];
    let thread = std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || {
            for document in deepest {
                assert_eq!(
                    read(document.as_bytes()),
                    Err(Error::NotABundle),
                    "{document}"
                );
            }
            for document in too_deep {
                assert_eq!(
                    read(document.as_bytes()),
                    Err(Error::TooLarge {
                        what: "levels of nesting"
                    })
                );
            }
        });
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn brackets_in_texts_are_no_nesting() {
    let bundle = with(
        &format!("{STUDY}/description"),
        json!("\"\\[[[[".repeat(50)),
    );
    assert_eq!(manifest(&bundle).warnings, []);
}

#[test]
fn study_endpoints_do_not_multiply_with_the_series() {
    let references: Vec<_> = (0..900)
        .map(|n| json!({ "reference": format!("Endpoint/w{n}") }))
        .collect();
    let mut bundle = with(&format!("{STUDY}/endpoint"), json!(references));
    bundle = set(bundle, &format!("{SERIES}/endpoint"), json!([]));
    for n in 0..900 {
        let endpoint = wado(
            &format!("w{n}"),
            &format!("https://h{n}.example/"),
            "1.2.40",
        );
        bundle = set(bundle, "/entry/-", json!({ "resource": endpoint }));
    }
    assert_eq!(series(&bundle).locations.len(), 8);
    assert_eq!(
        defects(&manifest(&bundle)),
        [Defect::TooLong("list of endpoints")]
    );
}

#[test]
fn reads_a_hundred_thousand_instances_quickly() {
    let instance = |n: usize| {
        format!(
            r#"{{"uid":"1.2.3.{n}","sopClass":{{"system":"urn:ietf:rfc:3986","code":"urn:oid:{CT}"}},"number":{n}}}"#
        )
    };
    let series = |s: usize| {
        let instances = (0..100)
            .map(|n| instance(s * 100 + n + 1))
            .collect::<Vec<_>>()
            .join(",");
        format!(
            r#"{{"uid":"1.2.4.{s}","endpoint":[{{"reference":"Endpoint/w"}}],"instance":[{instances}]}}"#
        )
    };
    let all = (0..1000).map(series).collect::<Vec<_>>().join(",");
    let bundle = format!(
        r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"resourceType":"ImagingStudy","identifier":[{{"system":"urn:dicom:uid","value":"1.2.3"}}],"series":[{all}]}}}},{{"resource":{}}}]}}"#,
        wado("w", "https://h.example/rs", "1.2.40")
    );
    let start = Instant::now();
    let manifest = read(bundle.as_bytes()).expect("a manifest");
    // Far above the usual time (a second or two in a debug build), far below that of a quadratic
    // step.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    let listed: usize = manifest.studies[0]
        .series
        .iter()
        .map(|series| series.instances.len())
        .sum();
    assert_eq!((listed, manifest.warnings), (100_000, vec![]));
}

/// Every place in a JSON document, as a list of pointers.
fn places(value: &Value, prefix: &str, into: &mut Vec<String>) {
    into.push(prefix.to_owned());
    match value {
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(n, item)| places(item, &format!("{prefix}/{n}"), into));
        }
        Value::Object(members) => {
            members
                .iter()
                .for_each(|(name, member)| places(member, &format!("{prefix}/{name}"), into));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!({})),
        Just(json!([])),
        Just(json!([[{}], "x", {"code": {"coding": [1]}}])),
        Just(
            json!({"reference": "#", "value": [], "url": "é/studies/", "concept": {"concept": "x"}})
        ),
    ]
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn never_panics_on_a_damaged_text(at in any::<prop::sample::Index>(), byte in any::<u8>(), is_r5 in any::<bool>()) {
        let mut text = if is_r5 { r5() } else { small() }.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = read(&text);
    }

    // Whatever is wrong with a member: either the index is refused, or it is complete.
    #[test]
    fn a_wrong_member_never_shortens_the_index(place in any::<prop::sample::Index>(), value in odd_value(), is_r5 in any::<bool>()) {
        let mut bundle = if is_r5 { r5() } else { small() };
        let mut all = Vec::new();
        places(&bundle, "", &mut all);
        let place = place.get(&all);
        *bundle.pointer_mut(place).expect("a place") = value;
        if let Ok(manifest) = parsed(&bundle) {
            prop_assert_eq!(manifest.studies[0].series[0].instances.len(), 1);
        }
    }
}
