//! Any path and query of a cross-gateway request: refused, or read as something that can be written
//! anew, says the same then, and climbs nowhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xcwado::request::XcWado;
use xcwado::request::xc_wado::Tolerance;

const TOLERANT: Tolerance = Tolerance {
    opaque_location_ids: true,
    retrieve_url_alone: true,
};

fuzz_target!(|input: &str| {
    let (path, query) = input.split_once('?').unwrap_or((input, ""));
    let Ok(read) = XcWado::parse(path, Some(query), TOLERANT) else {
        return;
    };
    let (path, query) = (path_of(&read), query_of(&read));
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    let mut segments = path.split('/');
    assert!(
        segments.all(|segment| !matches!(segment, "" | "." | "..")),
        "{path}"
    );
    let lower = path.to_ascii_lowercase();
    let hidden = ["\\", "%2f", "%5c", "%25", "%0", "%2e%2e", "?", "#"];
    assert!(hidden.iter().all(|text| !lower.contains(text)), "{path}");
    let upstream = read.upstream_query();
    assert!(
        upstream
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#'),
        "{upstream}"
    );
    assert_eq!(XcWado::parse(&path, Some(&query), TOLERANT), Ok(read));
});

fn path_of(read: &XcWado) -> String {
    let mut path = format!("homeCommunityId/{}", read.home_community_id);
    if let Some(uid) = &read.location.retrieve_location_uid {
        path += &format!("/RetrieveLocationUID/{uid}");
    }
    path += &format!("/{}", read.target.path());
    if let Some(sub_resource) = &read.sub_resource {
        path += &format!("/{}", sub_resource.path());
    }
    path
}

fn query_of(read: &XcWado) -> String {
    let parameters = read.parameters.iter();
    let mut pairs: Vec<_> = parameters.map(|(name, value)| pair(name, value)).collect();
    let url = read.location.retrieve_url.iter();
    pairs.extend(url.map(|url| pair("retrieveURL", url)));
    pairs.join("&")
}

fn pair(name: &str, value: &str) -> String {
    format!("{}={}", escaped(name), escaped(value))
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
