//! Pages of foreign origins that try to change something here.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;

use crate::rig::study::{Study, at};
use crate::rig::{Rig, open, raw_status, request};

const VIEWER: &str = "https://viewer.example";

fn study() -> Study {
    Study::new(1).with(1, at(10))
}

async fn status(method: &Method, address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> u16 {
    let body = match *method {
        Method::POST => study().fhir().into(),
        _ => Bytes::new(),
    };
    let request = request(method.clone(), path, fields, address, body);
    open(address, request).await.read().await.status.as_u16()
}

/// What browsers say, and whether that is from a page that may change something.
fn browsers(ours: &str) -> Vec<(Vec<(&'static str, String)>, bool)> {
    let site = |value: &str| ("sec-fetch-site", value.to_owned());
    let origin = |value: &str| ("origin", value.to_owned());
    vec![
        (vec![], true),
        (vec![site("same-origin"), origin(ours)], true),
        (vec![site("none")], true),
        (vec![origin(ours)], true),
        (vec![site("cross-site"), origin(VIEWER)], true),
        (vec![origin(VIEWER)], true),
        (
            vec![site("cross-site"), origin("https://evil.example")],
            false,
        ),
        (vec![site("same-site"), origin("http://127.0.0.1:1")], false),
        (vec![site("cross-site")], false),
        (vec![site("cross-site"), origin("null")], false),
        (vec![origin("https://evil.example")], false),
        (vec![origin("http://127.0.0.1:1")], false),
        (vec![origin("null")], false),
    ]
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_changes_nothing() {
    let rig = Rig::start(&format!("[cors]\norigins = [\"{VIEWER}\"]\n"));
    let id = rig.register(study().fhir()).await.id;
    let manifest = format!("/manifests/{id}");
    for (address, method, path) in [
        (rig.public, Method::POST, "/manifests"),
        (rig.operator, Method::DELETE, "/cache"),
        (rig.public, Method::DELETE, &manifest),
    ] {
        for (fields, may) in browsers(&format!("http://{address}")) {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            let got = status(&method, address, path, &fields).await;
            // The first that may has deleted it.
            let is_fine = matches!(got, 200..=204) || (path == manifest && got == 404);
            match may {
                true => assert!(is_fine, "{method} {path} {fields:?}: {got}"),
                false => assert_eq!(got, 403, "{method} {path} {fields:?}"),
            }
            // Reading is what the settings of CORS are for.
            assert_eq!(
                status(&Method::GET, rig.public, "/manifests", &fields).await,
                200
            );
        }
    }
    let told = rig.metric("xcwado_security_events_total{event=\"foreign_origin\"}");
    assert_eq!(told.await, 21.0);
}

#[tokio::test]
async fn an_origin_for_everybody_is_for_reading_only() {
    let rig = Rig::start("[cors]\norigins = [\"*\"]\n");
    let fields = [("origin", VIEWER), ("sec-fetch-site", "cross-site")];
    assert_eq!(
        status(&Method::POST, rig.public, "/manifests", &fields).await,
        403
    );
    assert_eq!(
        status(&Method::GET, rig.public, "/manifests", &fields).await,
        200
    );
}

#[tokio::test]
async fn a_page_behind_a_trusted_proxy_is_of_the_origin_that_the_proxy_names() {
    let rig = Rig::start("[listen]\nproxies = [\"127.0.0.1\"]\n");
    let seen = ("forwarded", "proto=https;host=pacs.example");
    for (origin, expected) in [
        ("https://pacs.example", 201),
        ("http://pacs.example", 403),
        ("https://evil.example", 403),
    ] {
        let fields = [seen, ("origin", origin)];
        let got = status(&Method::POST, rig.public, "/manifests", &fields).await;
        assert_eq!(got, expected, "{origin}");
    }
}

#[tokio::test]
async fn a_manifest_of_a_type_that_a_form_can_send_is_not_taken() {
    let rig = Rig::start("");
    let body = study().fhir();
    for media_type in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type:\r\n",
    ] {
        let head = format!(
            "POST /manifests HTTP/1.1\r\nHost: localhost\r\n{media_type}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = [head.into_bytes(), body.clone()].concat();
        assert_eq!(
            raw_status(rig.public, &sent).await,
            Some(415),
            "{media_type:?}"
        );
    }
    assert_eq!(rig.metric("xcwado_manifests").await, 0.0);
}
