//! Persons in a real browser: they log in at a certified OpenID Provider, at the gateway itself or in
//! OHIF.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::provider::{Provider, resource};
use super::viewers::{Ohif, all_is_drawn};
use crate::rig::origin::Origin;
use crate::rig::study::{CT, EXPLICIT, Instance, PATIENT_ID, PATIENT_NAME, Study, at, long};
use crate::rig::study::{part10, text};
use crate::rig::{Bound, Rig, bind, pixels};

const SLICES: usize = 6;
const SIDE: u16 = 128;

/// Slices that a person can tell apart.
fn slices() -> Study {
    let mut study = Study::new(1).with(0, at(10));
    let (study_uid, series_uid) = (study.uid.clone(), study.series[0].uid.clone());
    for number in 1..=SLICES {
        let uid = format!("{series_uid}.{number}");
        let grey = |at: usize| (at % 128 + at / 128 + 20 * number) as u8;
        let grey: Vec<u8> = (0..128 * 128).map(grey).collect();
        let set = [
            text(0x0008_0016, b"UI", CT),
            text(0x0008_0018, b"UI", &uid),
            text(0x0008_0060, b"CS", "CT"),
            text(0x0008_103E, b"LO", "Protected"),
            text(0x0010_0010, b"PN", PATIENT_NAME),
            text(0x0010_0020, b"LO", PATIENT_ID),
            text(0x0020_000D, b"UI", &study_uid),
            text(0x0020_000E, b"UI", &series_uid),
            text(0x0020_0013, b"IS", &number.to_string()),
            text(0x0020_0032, b"DS", &format!("0\\0\\{number}")),
            text(0x0020_0037, b"DS", "1\\0\\0\\0\\1\\0"),
            text(0x0020_0052, b"UI", "2.25.4"),
            pixels::number(0x0028_0002, 1),
            text(0x0028_0004, b"CS", "MONOCHROME2"),
            pixels::number(0x0028_0010, SIDE),
            pixels::number(0x0028_0011, SIDE),
            text(0x0028_0030, b"DS", "1\\1"),
            pixels::number(0x0028_0100, 8),
            pixels::number(0x0028_0101, 8),
            pixels::number(0x0028_0102, 7),
            pixels::number(0x0028_0103, 0),
            text(0x0028_1050, b"DS", "128"),
            text(0x0028_1051, b"DS", "256"),
            long(0x7FE0_0010, b"OW", &grey),
        ];
        study.series[0].instances.push(Instance {
            study: study_uid.clone(),
            series: series_uid.clone(),
            transfer_syntax: EXPLICIT.to_owned(),
            bytes: part10(CT, &uid, EXPLICIT, &set.concat()).into(),
            uid,
        });
    }
    study
}

/// Whoever registers is no matter here.
const REGISTER: &str = "[[rule]]\nanyone = true\ntransactions = [\"register\"]\n";

fn url(socket: &Bound) -> String {
    format!("http://localhost:{}", socket.address.port())
}

/// What a script of `tests/ohif`, which serves pages on this socket, reports.
async fn run(ohif: &Ohif, script: &str, page: Bound, arguments: &[&str]) -> Value {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    page.socket.set_nonblocking(false).expect("a socket");
    let mut command = tokio::process::Command::new("node");
    command
        .arg(here.join("tests/ohif").join(script))
        .args(arguments)
        .env("PLAYWRIGHT", &ohif.playwright)
        .stdin(Stdio::from(OwnedFd::from(page.socket)));
    let output = command.output().await.expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Where a script leaves its pictures.
fn screenshots(name: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("target/screenshots").join(name);
    folder.display().to_string()
}

#[tokio::test]
async fn a_person_logs_in_and_out_in_chromium_and_pages_of_strangers_cannot_use_the_session() {
    let Some(ohif) = Ohif::find() else { return };
    let (page, socket) = (bind(), bind());
    let (viewer, gateway) = (url(&page), url(&socket));
    let settings = json!({"redirect_uri": format!("{gateway}/login/callback")});
    let Some(provider) = Provider::start(&settings) else {
        return;
    };
    let study = slices();
    let origin = Origin::of(&study).await;
    let settings = format!(
        "[login]\nissuer = {:?}\nclient_id = \"pages-none\"\nin_clear = true\n\
         origins = [{viewer:?}]\n[cors]\norigins = [{viewer:?}]\ncredentials = true\n{}{REGISTER}\
         [[rule]]\nissuers = [\"login\"]\nsubjects = [\"dr-a\"]\ntransactions = [\"list\", \"search\", \
         \"retrieve\", \"render\", \"link\"]\nmanifests = \"all\"\n",
        provider.issuer,
        origin.location(10)
    );
    let rig = Rig::start_on(socket, &gateway, &settings);
    let manifest = rig.register(study.fhir()).await;
    let shots = screenshots("person");
    let instance = study.instances()[0].path();
    let arguments = [&*gateway, &manifest.id, &shots, &instance];
    let seen = run(&ohif, "person.mjs", page, &arguments).await;
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    comes_in(&seen, &provider, &gateway);
    only_the_viewer_uses_the_session(&seen);
    // The session has ended, here and at the provider.
    let outside = "You are not logged in.";
    let after = json!({
        "first": outside, "cookies": [], "at": provider.issuer, "asksForPassword": true,
    });
    assert_eq!(seen["after"], after, "{seen:#}");
    let own = json!(["You are logged in.", outside, 0]);
    assert_eq!(seen["own"], own, "{seen:#}");
    let session = seen["session"].as_str().expect("a cookie");
    let session = format!("__Host-xcwado={session}");
    let studies = format!("{}studies", manifest.root);
    let answer = rig.get(&studies, &[("cookie", &session)]).await;
    assert_eq!(answer.status, 401);
    // No stranger has registered anything.
    assert_eq!(rig.metric("xcwado_manifests").await, 1.0);
}

/// From the page that the person has opened to the login and back, with a cookie that Chromium takes
/// for what its name says.
fn comes_in(seen: &Value, provider: &Provider, gateway: &str) {
    let cookie = |name: &str| {
        json!([{"name": name, "domain": "localhost", "path": "/", "secure": true,
                "httpOnly": true, "sameSite": "Lax"}])
    };
    let asked = json!({"at": provider.issuer, "cookies": cookie("__Host-xcwado-login")});
    assert_eq!(seen["asked"], asked, "{seen:#}");
    let back = seen["back"].as_str().expect("a URL");
    assert!(back.starts_with(&format!("{gateway}/manifests/")), "{back}");
    assert!(back.ends_with("/viewers"), "{back}");
    assert_eq!(seen["cookies"], cookie("__Host-xcwado"), "{seen:#}");
    let page = seen["page"].as_str().expect("a page");
    let page: Value = serde_json::from_str(page).expect("JSON");
    let link = page["dicomweb"].as_str().expect("a link");
    assert!(link.starts_with(&format!("{gateway}/link/")), "{page:#}");
    assert_eq!(seen["picture"], json!({"status": 200, "width": SIDE}));
}

/// A viewer in the settings reads, makes a link, and shows pictures if they name their origin.
/// Chromium sends the cookie for a page of the same site too, and the gateway does not let it count;
/// for one of another site, Chromium does not even send it.
fn only_the_viewer_uses_the_session(seen: &Value) {
    let told = |session: bool, statuses: [u16; 6]| {
        let requests = [
            "GET Fetch studies",
            "GET Image rendered",
            "GET Image rendered",
            "POST Fetch links",
            "POST Document manifests",
            "POST Document logout",
        ];
        let all = requests.iter().zip(statuses);
        let all = all.filter(|(_request, status)| *status != 0);
        let all = all.map(
            |(request, status)| json!({"request": request, "session": session, "status": status}),
        );
        Value::from_iter(all)
    };
    let viewer = json!({
        "fetched": 1, "shown": "not shown", "shown_with_origin": SIDE,
        // Its form is no manifest. It logs out later.
        "told": told(true, [200, 401, 200, 201, 415, 0]),
    });
    assert_eq!(seen["viewer"], viewer, "{seen:#}");
    for (name, session) in [("neighbour", true), ("stranger", false)] {
        let refused = json!({
            "fetched": "not readable", "shown": "not shown", "shown_with_origin": "not shown",
            "told": told(session, [401, 401, 401, 403, 403, 403]),
        });
        assert_eq!(seen[name], refused, "{name}: {seen:#}");
    }
}

#[tokio::test]
async fn ohif_logs_in_by_itself_and_sends_access_tokens() {
    let Some(ohif) = Ohif::find() else { return };
    let (page, socket) = (bind(), bind());
    let (viewer, gateway) = (url(&page), url(&socket));
    let Some(provider) = Provider::start(&json!({"viewer": viewer, "seconds": 70})) else {
        return;
    };
    let study = slices();
    let origin = Origin::of(&study).await;
    let settings = format!(
        "[cors]\norigins = [{viewer:?}]\n{}{REGISTER}\
         [[issuer]]\nname = \"hospital\"\nissuer = {issuer:?}\naudience = {gateway:?}\n\
         jwks_url = \"{issuer}/jwks\"\nin_clear = true\n\
         [[rule]]\nissuers = [\"hospital\"]\nscopes = [\"RAD-107\"]\ntransactions = [\"list\", \"search\", \
         \"retrieve\", \"render\"]\nmanifests = \"all\"\n",
        origin.location(10),
        issuer = provider.issuer,
    );
    let rig = Rig::start_on(socket, &gateway, &settings);
    let manifest = rig.register(study.fhir()).await;
    let root = format!("{gateway}/manifests/{}/dicomweb", manifest.id);
    let oidc = json!({
        "issuer": provider.issuer,
        "resource": resource("jwt", "ES256", &gateway),
        "scope": "openid offline_access RAD-107",
        "person": "dr-a",
    });
    let (dist, shots, oidc) = (
        ohif.dist.display().to_string(),
        screenshots("oidc"),
        oidc.to_string(),
    );
    let arguments = [
        &*dist, &root, &shots, "--study", &study.uid, "--series", "1", "--oidc", &oidc,
    ];
    let seen = run(&ohif, "view.mjs", page, &arguments).await;
    // Without a login of its own, OHIF shows nothing.
    let metadata = format!("{gateway}/.well-known/oauth-protected-resource");
    let anonymous = json!({
        "statuses": [401],
        "challenges": [format!("Bearer resource_metadata=\"{metadata}\"")],
        "levels": 0,
        "sum": 0,
    });
    assert_eq!(seen["anonymous"], anonymous, "{seen:#}");
    // With one, it asks for nothing before the person has logged in, and for everything by a token.
    assert_eq!(seen["before"], json!({}), "{seen:#}");
    all_is_drawn(&seen, &[("Protected", SLICES as u64)]);
    let authorized = seen["authorized"].as_object().expect("numbers");
    assert!(
        authorized["Bearer"].as_u64() > Some(SLICES as u64),
        "{seen:#}"
    );
    assert_eq!(authorized.len(), 1, "{seen:#}");
    let renewed = json!({"isNew": true, "status": 200});
    assert_eq!(seen["renewed"], renewed, "{seen:#}");
    assert_eq!(seen["out"], Value::from(&*provider.issuer), "{seen:#}");
    let preflight = [
        ("origin", &*viewer),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization"),
    ];
    let path = format!("{}studies", manifest.root);
    let answer = rig.ask(Method::OPTIONS, &path, &preflight, Bytes::new());
    let answer = answer.await;
    assert_eq!(answer.status, 204);
    let allowed = answer.field("access-control-allow-headers");
    assert!(allowed.contains("authorization"), "{allowed}");
}
