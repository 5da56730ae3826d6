//! Every spelling of the URL, row by row.

use super::*;

const STRICT: Tolerance = Tolerance {
    opaque_location_ids: false,
    retrieve_url_alone: false,
};
const OPAQUE: Tolerance = Tolerance {
    opaque_location_ids: true,
    retrieve_url_alone: false,
};
const ALONE: Tolerance = Tolerance {
    opaque_location_ids: false,
    retrieve_url_alone: true,
};
const STUDY: &str = "homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4";

fn parse(url: &str, tolerance: Tolerance) -> Result<XcWado, Error> {
    match url.split_once('?') {
        Some((path, query)) => XcWado::parse(path, Some(query), tolerance),
        None => XcWado::parse(url, None, tolerance),
    }
}

/// What was read, in one line: community, location, target, sub-resource, parameters.
fn summary(read: &XcWado) -> String {
    let uid = read.location.retrieve_location_uid.as_ref();
    let mut parts = vec![
        read.home_community_id.to_string(),
        uid.map_or("-".to_owned(), ToString::to_string),
        read.target.path(),
    ];
    parts.extend(
        read.location
            .retrieve_url
            .as_ref()
            .map(|url| url.to_string()),
    );
    parts.extend(read.sub_resource.as_ref().map(SubResource::path));
    parts.extend(
        read.parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    parts.join(" ")
}

fn summaries(url: &str, tolerance: Tolerance) -> Result<String, Error> {
    parse(url, tolerance).map(|read| summary(&read))
}

/// The Retrieve URL that is read from a raw value, for a path of study 1.2.4.
fn retrieve_url(value: &str) -> Result<String, Error> {
    let query = format!("retrieveURL={value}");
    let read = XcWado::parse(STUDY, Some(&query), STRICT)?;
    Ok(read.location.retrieve_url.expect("a value").into())
}

fn allows(entry: &str, asked: &str) -> bool {
    let entry = Address::parse(entry).expect("an address");
    entry.covers(&Address::parse(asked).expect("a normal form"))
}

/// Appendix C of the digest of the standards, paths; each row by its own name.
#[test]
#[rustfmt::skip]
fn reads_the_paths_of_the_vectors() {
    let same = Ok("5.6.7.8 1.2.3 studies/1.2.4");
    let rows: &[(&str, Tolerance, Result<&str, Error>)] = &[
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4", STRICT, same),
        ("homecommunityid/urn:oid:5.6.7.8/retrievelocationuid/oid:1.2.3/study/1.2.4/", STRICT, same),
        ("homeCommunityId/urn%3Aoid%3A5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/series/1.2.5/instances/1.2.6/rendered?viewport=512,512", STRICT,
         Ok("5.6.7.8 1.2.3 studies/1.2.4/series/1.2.5/instances/1.2.6 rendered viewport=512,512")),
        ("homeCommunityId/5.6.7.8/studies/1.2.4?retrieveURL=https%3A%2F%2Fh%2Frs%2F", STRICT, Err(Error::Path)),
        ("homeCommunityId/5.6.7.8/studies/1.2.4?retrieveURL=https%3A%2F%2Fh%2Frs%2F", ALONE, Ok("5.6.7.8 - studies/1.2.4 https://h/rs/")),
        ("homeCommunityId/5.6.07.8/RetrieveLocationUID/1.2.3/studies/1.2.4", STRICT, Err(Error::HomeCommunityId)),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/ACME/studies/1.2.4", STRICT, Err(Error::RetrieveLocationUid)),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/ACME/studies/1.2.4", OPAQUE, Ok("5.6.7.8 ACME studies/1.2.4")),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4%2F..%2F..", STRICT, Err(Error::NotAUid("the study"))),
        ("RetrieveLocationUID/1.2.3/homeCommunityId/5.6.7.8/studies/1.2.4", STRICT, Err(Error::Path)),
    ];
    for (row, tolerance, expected) in rows {
        assert_eq!(summaries(row, *tolerance), expected.map(str::to_owned), "{row}");
    }
}

/// Appendix C, `retrieveURL` values against the entry `https://hostname/DICOMweb-RS/`: what is
/// read, and whether the entry allows it.
#[test]
#[rustfmt::skip]
fn reads_the_retrieve_urls_of_the_vectors() {
    type Expected = Result<(&'static str, bool), Error>;
    let base = Ok(("https://hostname/DICOMweb-RS/", true));
    let rows: &[(&str, Expected)] = &[
        ("hostname/DICOMweb-RS/", base),
        ("https%3A%2F%2FHOSTNAME%3A443%2FDICOMweb-RS", base),
        ("hostname/DICOMweb-RS/studies/1.2.4", base),
        ("hostname/dicomweb-rs/", Ok(("https://hostname/dicomweb-rs/", false))),
        ("hostname/DICOMweb-RS/../admin/", Ok(("https://hostname/admin/", false))),
        ("hostname.evil.example/DICOMweb-RS/", Ok(("https://hostname.evil.example/DICOMweb-RS/", false))),
        ("https://hostname@evil.example/DICOMweb-RS/", Err(Error::RetrieveUrl)),
        ("http://hostname/DICOMweb-RS/", Ok(("http://hostname/DICOMweb-RS/", false))),
        ("hostname/DICOMweb-RSX/", Ok(("https://hostname/DICOMweb-RSX/", false))),
    ];
    for (row, expected) in rows {
        let read = retrieve_url(row);
        let allowed = read.as_ref().is_ok_and(|url| allows("https://hostname/DICOMweb-RS/", url));
        assert_eq!(read, expected.map(|(url, _)| url.to_owned()), "{row}");
        assert_eq!(allowed, expected.is_ok_and(|(_, allowed)| allowed), "{row}");
    }
    assert!(allows("http://hostname/DICOMweb-RS/", "http://hostname/DICOMweb-RS/"));
}

/// MADO Appendix XA, figures XA-2 and XA-4, below the gateways' own paths.
#[test]
#[rustfmt::skip]
fn reads_the_urls_of_the_standards_own_figures() {
    const S: &str = "1.2.840.113619.2.207.28521.42888.1640475282.450";
    let path = format!("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.840.9.10.11.12/studies/{S}");
    let expected = format!("5.6.7.8 1.2.840.9.10.11.12 studies/{S}");
    assert_eq!(summaries(&format!("{path}/"), STRICT), Ok(expected.clone()));
    let with_url = format!("{path}?retrieveURL=hostname/DICOMweb-RS/");
    let expected = format!("{expected} https://hostname/DICOMweb-RS/");
    assert_eq!(summaries(&with_url, STRICT), Ok(expected.clone()));
    // Rev 1.1 spelt both differently.
    let earlier = with_url.replace("studies", "study").replace("retrieveURL", "retrieveurl");
    assert_eq!(summaries(&earlier, STRICT), Ok(expected));
}

#[test]
#[rustfmt::skip]
fn segments_may_be_escaped_once() {
    for url in [
        "%68omeCommunityId/5%2E6.7.8/RetrieveLocationUI%44/1.2.%33/%73tudies/1.2.%34",
        "homeCommunityId/%20urn:oid:5.6.7.8/RetrieveLocationUID/URN%3AOID%3A1.2.3/studies/1.2.4/",
    ] {
        assert_eq!(summaries(url, STRICT), Ok("5.6.7.8 1.2.3 studies/1.2.4".into()), "{url}");
    }
    for (url, error) in [
        ("homeCommunityId/urn%253Aoid%253A5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4", Error::HomeCommunityId),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2%252E3/studies/1.2.4", Error::RetrieveLocationUid),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1%252E2.4", Error::NotAUid("the study")),
        ("%2568omeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/%256detadata", Error::SubResource),
    ] {
        assert_eq!(parse(url, OPAQUE).map(|read| summary(&read)), Err(error), "{url}");
    }
}

#[test]
#[rustfmt::skip]
fn says_which_part_of_a_path_is_wrong() {
    let rows: &[(&str, Error)] = &[
        ("", Error::Path),
        ("/", Error::Path),
        ("/homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4", Error::Path),
        ("homeCommunityId", Error::Path),
        ("homeCommunityId/5.6.7.8", Error::Path),
        ("homeCommunityId/5.6.7.8/studies/1.2.4", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/Studies/1.2.4", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3//studies/1.2.4", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/%20studies/1.2.4", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/../studies/1.2.4", Error::Path),
        ("homeCommunityId//RetrieveLocationUID/1.2.3/studies/1.2.4", Error::HomeCommunityId),
        ("homeCommunityId/ACME/RetrieveLocationUID/1.2.3/studies/1.2.4", Error::HomeCommunityId),
        ("homeCommunityId/5.6.7.8%00/RetrieveLocationUID/1.2.3/studies/1.2.4", Error::HomeCommunityId),
        ("homeCommunityId/5.6.7.8%ff/RetrieveLocationUID/1.2.3/studies/1.2.4", Error::HomeCommunityId),
        ("homeCommunityId/5.6.7.8%2F../RetrieveLocationUID/1.2.3/studies/1.2.4", Error::HomeCommunityId),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID//studies/1.2.4", Error::RetrieveLocationUid),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/../studies/1.2.4", Error::RetrieveLocationUid),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/%2e%2e/studies/1.2.4", Error::RetrieveLocationUid),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/AC%20ME/studies/1.2.4", Error::RetrieveLocationUid),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/AC%0aME/studies/1.2.4", Error::RetrieveLocationUid),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/", Error::Path),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4//", Error::SubResource),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/%201.2.4", Error::NotAUid("the study")),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1..4", Error::NotAUid("the study")),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/series/1.2.x5", Error::NotAUid("the series")),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/series/1.2.5/instances/*", Error::NotAUid("the instance")),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/series", Error::SubResource),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/instances/1.2.6", Error::SubResource),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/frames/1", Error::SubResource),
        ("homeCommunityId/5.6.7.8/RetrieveLocationUID/1.2.3/studies/1.2.4/bulkdata/%2e%2e/x", Error::SubResource),
    ];
    for (path, error) in rows {
        assert_eq!(summaries(path, OPAQUE), Err(*error), "{path}");
    }
    let too_long = format!("1.{}", "2".repeat(63));
    for (part, error) in [("5.6.7.8", Error::HomeCommunityId), ("1.2.3", Error::RetrieveLocationUid), ("1.2.4", Error::NotAUid("the study"))] {
        assert_eq!(summaries(&STUDY.replace(part, &too_long), OPAQUE), Err(error), "{part}");
    }
}

#[test]
#[rustfmt::skip]
fn reads_what_is_asked_of_each_level() {
    for (below, expected) in [
        ("", "studies/1.2.4"),
        ("/metadata/", "studies/1.2.4 metadata"),
        ("/series/1.2.5", "studies/1.2.4/series/1.2.5"),
        ("/series/1.2.5/thumbnail", "studies/1.2.4/series/1.2.5 thumbnail"),
        ("/series/1.2.5/instances/1.2.6/", "studies/1.2.4/series/1.2.5/instances/1.2.6"),
        ("/series/1.2.5/instances/1.2.6/frames/1,2", "studies/1.2.4/series/1.2.5/instances/1.2.6 frames/1,2"),
        ("/series/1.2.5/instances/1.2.6/bulkdata/a/b", "studies/1.2.4/series/1.2.5/instances/1.2.6 bulkdata/a/b"),
    ] {
        assert_eq!(summaries(&format!("{STUDY}{below}"), STRICT), Ok(format!("5.6.7.8 1.2.3 {expected}")), "{below}");
    }
}

#[test]
#[rustfmt::skip]
fn without_a_retrieve_location_uid_a_retrieve_url_must_be_there() {
    for url in [
        "homeCommunityId/5.6.7.8/studies/1.2.4",
        "homeCommunityId/5.6.7.8/studies/1.2.4?retrieveURL=",
        "homeCommunityId/5.6.7.8/studies/1.2.4?accept=x",
    ] {
        assert_eq!(summaries(url, ALONE), Err(Error::NoLocation), "{url}");
    }
    let unread = "homeCommunityId/5.6.7.8/RetrieveLocationUID/ACME/studies/1.2.4?retrieveURL=h/rs/";
    assert_eq!(summaries(unread, ALONE), Err(Error::RetrieveLocationUid));
}

#[test]
fn an_empty_retrieve_url_is_none() {
    for query in ["retrieveURL=", "retrieveurl", "&", ""] {
        let read = XcWado::parse(STUDY, Some(query), STRICT).expect(query);
        assert_eq!(read.location.retrieve_url, None, "{query}");
        assert!(read.parameters.is_empty(), "{query}");
    }
}

#[test]
fn more_than_one_retrieve_url_is_refused_in_any_spelling() {
    for query in [
        "retrieveURL=h/rs/&retrieveURL=h/rs/",
        "retrieveURL=h/rs/&retrieveurl=h/rs/",
        "retrieveURL=h/rs/&accept=x&retrieve%55RL=i/rs/",
        "retrieveURL=h/rs/&RETRIEVEURL=",
        "retrieveURL&retrieveURL",
    ] {
        let read = XcWado::parse(STUDY, Some(query), STRICT);
        assert_eq!(read, Err(Error::RepeatedRetrieveUrl), "{query}");
    }
}

#[test]
fn a_retrieve_url_is_read_in_every_spelling() {
    for value in [
        "https://h.example/rs/",
        "https://h.example/rs",
        "HTTPS://H.EXAMPLE:443/rs",
        "h.example/rs/",
        "h.example:443/rs",
        "h.example%2Frs",
        "h.example/x/../rs/./",
        "%20https://h.example/rs/%20",
        "https://h.example/rs/studies/1.2.4/",
    ] {
        let expected = Ok("https://h.example/rs/".into());
        assert_eq!(retrieve_url(value), expected, "{value}");
    }
    let port = retrieve_url("h.example:8443/x");
    assert_eq!(port, Ok("https://h.example:8443/x/".into()));
}

#[test]
fn what_is_no_base_uri_is_refused() {
    let too_long = format!("https://h.example/{}", "x".repeat(2031));
    let too_long_anew = format!("h.example/{}", "x".repeat(2030));
    for value in [
        "%20",
        "/studies/1.2.4",
        "h.example/rs%00",
        "h.example/r%0As",
        "h.example/rs%0D%0A",
        "h.example%09/rs",
        "h.example/rs%7F",
        "h.example%5C@evil.example/rs",
        "h.example\\rs",
        "h.example/rs%23x",
        "h.example/rs#x",
        "h.example/rs?x=1",
        "h.example/rs%3Fx%3D1",
        "h.example/rs/studies/1.2.4%3Fx",
        "user:password@h.example/rs",
        "user%40h.example/rs",
        "h.example/a%252Fb",
        "h.example/a%25252Fb",
        "h.example/%ff",
        "h example/rs",
        "ftp://h.example/rs",
        "file:///rs",
        "https://",
        "https://[::1/rs",
        "https://h.example:99999/rs",
        &too_long,
        &too_long_anew,
    ] {
        let refused = matches!(retrieve_url(value), Err(Error::RetrieveUrl | Error::Query));
        assert!(refused, "{value}");
    }
    let longest = format!("https://h.example/{}/", "x".repeat(2029));
    assert_eq!(retrieve_url(&longest), Ok(longest));
}

#[test]
fn the_address_of_a_part_or_of_the_whole_is_cut() {
    let series = format!("{STUDY}/series/1.2.5");
    let instance = format!("{series}/instances/1.2.6");
    let url = "h/rs/studies/1.2.4/series/1.2.5";
    let of_instance = "h/rs/studies/1.2.4/series/1.2.5/instances/1.2.6";
    for (path, value, expected) in [
        (&series, url, Ok(())),
        (&instance, url, Ok(())),
        (&series, "h/rs/studies/1.2.4", Ok(())),
        (&STUDY.to_owned(), url, Ok(())),
        (&series, of_instance, Ok(())),
        (&instance, of_instance, Ok(())),
        (
            &instance,
            "h/rs/studies/1.2.4/series/1.2.5/instances/1.2.9",
            Err(Error::ForeignRetrieveUrl),
        ),
        (
            &series,
            "h/rs/studies/1.2.9",
            Err(Error::ForeignRetrieveUrl),
        ),
        (
            &series,
            "h/rs/studies/1.2.4/series/1.2.9",
            Err(Error::ForeignRetrieveUrl),
        ),
        (
            &series,
            "h/rs/studies/1.2.4/../1.2.9",
            Err(Error::ForeignRetrieveUrl),
        ),
        (
            &series,
            "h/rs/studies/1.2.4/metadata",
            Err(Error::ForeignRetrieveUrl),
        ),
    ] {
        let query = format!("retrieveURL={value}");
        let read = XcWado::parse(path, Some(&query), STRICT);
        let base = read.map(|read| read.location.retrieve_url);
        let expected = expected.map(|()| Some("https://h/rs/".into()));
        assert_eq!(base, expected, "{path} {value}");
    }
}

#[test]
fn the_rest_of_the_query_is_kept_decoded_and_in_order() {
    let query = "a=1&&b=%26%3D+%20&retrieveURL=h/rs/?q&A=2&c";
    let read = XcWado::parse(STUDY, Some(query), STRICT);
    assert_eq!(read, Err(Error::RetrieveUrl));
    let query = query.replace("?q", "");
    let read = XcWado::parse(STUDY, Some(&query), STRICT).expect("a query");
    let pairs = [("a", "1"), ("b", "&=+ "), ("A", "2"), ("c", "")];
    assert_eq!(read.parameters, pairs.map(|(n, v)| (n.into(), v.into())));
    for query in ["a=%ff", "a=%00", "%0d%0aX:y=1", "a=%7f"] {
        let read = XcWado::parse(STUDY, Some(query), STRICT);
        assert_eq!(read, Err(Error::Query), "{query}");
    }
}

#[test]
fn only_the_standards_parameters_go_upstream_and_escaped_anew() {
    let rendered = "accept=image%2Fpng;q=1&Viewport=512%2C512&x=1&quality=50&window=1,2,linear";
    let forwarded = "accept=image/png%3Bq%3D1&viewport=512,512&quality=50&window=1,2,linear";
    for (below, query, expected) in [
        ("/rendered", rendered, forwarded),
        ("/thumbnail", "retrieveURL=h/&viewport=1,1", "viewport=1,1"),
        (
            "/series/1.2/instances/1.3/frames/1/rendered",
            rendered,
            forwarded,
        ),
        (
            "/series/1.2/instances/1.3/frames/1",
            "accept=*/*&quality=1",
            "accept=*/*",
        ),
        (
            "/bulkdata/x",
            "accept=a%26b%3Dc%23%0&viewport=1",
            "accept=a%26b%3Dc%23%250",
        ),
        ("/pixeldata", "charset=utf-8&window=1", "charset=utf-8"),
        (
            "/metadata",
            "includefields=all&accept=a+b%20c",
            "includefields=all",
        ),
        (
            "/metadata",
            "includefield=ä&quality=1",
            "includefield=%C3%A4",
        ),
        ("", rendered, ""),
    ] {
        let path = format!("{STUDY}{below}");
        let read = XcWado::parse(&path, Some(query), STRICT).expect(below);
        assert_eq!(read.upstream_query(), expected, "{below}");
    }
}

#[test]
fn an_error_never_repeats_what_was_sent() {
    let url = STUDY.replace("1.2.4", "SECRET");
    let error = summaries(&url, STRICT).expect_err("not a UID");
    assert_eq!(error.to_string(), "the study is not a UID");
}
