//! The worked examples of docs/OPERATING.md, as they stand there. Only addresses, files and the names of
//! servers, which are not on this machine, are replaced.

use std::sync::{Arc, Mutex};

use http::Method;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use time::OffsetDateTime;
use toml::Table;

use crate::access::matrix::document;
use crate::rig::authority::Authority;
use crate::rig::origin::{End, Origin, Reply};
use crate::rig::study::{Study, at, location_uid};
use crate::rig::tls_client::TlsClient;
use crate::rig::{Answer, HERE, Registered, Rig, rad_160};

/// The settings below a heading.
fn example(heading: &str) -> Table {
    let page = include_str!("../../../docs/OPERATING.md");
    let section = page
        .split(&format!("### {heading}\n"))
        .nth(1)
        .expect("a section");
    let block = section.split("```toml\n").nth(1).expect("settings");
    let block = block.split("```").next().expect("an end");
    let mut table: Table = block.parse().expect("TOML");
    // The test has addresses of its own.
    table.remove("public_url");
    table.remove("listen");
    table
}

/// The first issuer of an example.
fn issuer(table: &mut Table) -> &mut Table {
    let issuers = table["issuer"].as_array_mut().expect("issuers");
    issuers[0].as_table_mut().expect("a table")
}

fn text(table: &Table, key: &str) -> String {
    table[key].as_str().expect("a text").to_owned()
}

fn start(table: &Table, origin: &Origin) -> Rig {
    Rig::start(&format!("{table}\n{}", origin.location(10)))
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

async fn get(rig: &Rig, token: &str, path: &str) -> Answer {
    let field = format!("Bearer {token}");
    rig.get(path, &[("authorization", &field), ("accept", "*/*")])
        .await
}

async fn post(rig: &Rig, token: &str, path: &str, body: Vec<u8>) -> Answer {
    let field = format!("Bearer {token}");
    let fields = [("authorization", field.as_str())];
    rig.ask(Method::POST, path, &fields, body.into()).await
}

#[tokio::test]
async fn a_hospital_with_an_openid_provider() {
    let key = KeyPair::generate().expect("a key");
    let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).expect("a key");
    let mut jwk =
        serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a key"))
            .expect("JSON");
    jwk["kid"] = "one".into();
    let keys = json!({ "keys": [jwk] }).to_string();
    let provider = Origin::start(move |_| Reply::text(200, "application/json", &keys)).await;
    let mut settings = example("A hospital with an OpenID provider");
    let issuer = issuer(&mut settings);
    let (iss, aud) = (text(issuer, "issuer"), text(issuer, "audience"));
    let url = format!("http://{}/jwks", provider.address);
    issuer.insert("jwks_url".into(), url.into());
    issuer.insert("in_clear".into(), true.into());
    issuer.insert("allow_networks".into(), vec!["127.0.0.0/8"].into());
    let token = |subject: &str, client: &str, scope: &str| {
        let claims = json!({
            "iss": iss, "aud": aud, "sub": subject, "client_id": client, "scope": scope,
            "iat": now(), "exp": now() + 300, "jti": subject,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".into());
        encode(&header, &claims, &key).expect("a token")
    };
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = start(&settings, &origin);
    let (archive, staff) = (
        token("a", "archive", ""),
        token("s", "viewer", "openid imaging.read"),
    );
    let stranger = token("x", "viewer", "openid");
    assert_eq!(
        post(&rig, &staff, "/manifests", study.fhir()).await.status,
        403
    );
    let registered = post(&rig, &archive, "/manifests", study.fhir()).await;
    let manifest = Registered::of(&registered);
    let of_study = format!("{}{}", manifest.root, study.path());
    assert_eq!(get(&rig, &archive, &of_study).await.status, 404);
    assert_eq!(
        get(&rig, &staff, &of_study).await.instances(),
        study.bytes()
    );
    assert_eq!(
        get(&rig, &staff, "/dicomweb/studies")
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(get(&rig, &stranger, &of_study).await.status, 404);
    assert_eq!(get(&rig, &stranger, "/dicomweb/studies").await.status, 403);
    let links = format!("/manifests/{}/links", manifest.id);
    let link = post(&rig, &staff, &links, Vec::new()).await.json();
    let link = link["links"]["dicomweb"]
        .as_str()
        .expect("a root")
        .to_owned();
    let link = link.replace(&format!("http://{}", rig.public), "");
    let opened = rig
        .get(&format!("{link}/{}", study.path()), &[("accept", "*/*")])
        .await;
    assert_eq!(opened.instances(), study.bytes());
}

#[tokio::test]
async fn a_region_with_iua_tokens() {
    let says: Arc<Mutex<Value>> = Arc::default();
    let answer = Arc::clone(&says);
    let server = Origin::start(move |asked| {
        assert!(asked.field("authorization").starts_with("Basic "));
        let told = answer.lock().expect("a lock").to_string();
        Reply::text(200, "application/json", &told).ending(End::Close)
    })
    .await;
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "secret").expect("written");
    let mut settings = example("A region with IUA tokens");
    let issuer = issuer(&mut settings);
    let (iss, aud) = (text(issuer, "issuer"), text(issuer, "audience"));
    let url = format!("http://{}/introspect", server.address);
    issuer.insert("introspection_url".into(), url.into());
    issuer.insert("in_clear".into(), true.into());
    issuer.insert("allow_networks".into(), vec!["127.0.0.0/8"].into());
    let file = secret.path().to_str().expect("a path").to_owned();
    let secret = Table::from_iter([("file".to_owned(), file.into())]);
    issuer.insert("client_secret".into(), secret.into());
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let rig = start(&settings, &origin);
    // What the server says of a token that it is asked about for the first time.
    let knows = |subject: &str, patient: Option<&str>, purpose: &str| {
        let mut iua = json!({ "purpose_of_use": [{ "code": purpose }] });
        if let Some(patient) = patient {
            iua["person_id"] = patient.into();
        }
        *says.lock().expect("a lock") = json!({
            "active": true, "iss": iss, "aud": aud, "sub": subject, "client_id": "c", "jti": subject,
            "scope": "RAD-107", "iat": now(), "exp": now() + 300, "extensions": { "ihe_iua": iua },
        });
    };
    knows("consumer", None, "TREAT");
    let registered = post(&rig, "one", "/manifests", document(&study, "A-1")).await;
    let manifest = Registered::of(&registered);
    let of_study = format!("{}{}", manifest.root, study.path());
    let picture = format!("{}{}/rendered", manifest.root, study.instances()[0].path());
    let whole = study.bytes();
    for (token, patient, purpose, expected) in [
        ("two", Some("A-1^^^&1.2.99&ISO"), "TREAT", 200),
        ("three", Some("B-1^^^&1.2.99&ISO"), "TREAT", 404),
        ("four", Some("A-1^^^&1.2.98&ISO"), "TREAT", 404),
        ("five", Some("A-1^^^&1.2.99&ISO"), "HRESCH", 404),
        ("six", None, "TREAT", 404),
    ] {
        knows(token, patient, purpose);
        let answer = get(&rig, token, &of_study).await;
        assert_eq!(answer.status, expected, "{token}");
        if expected == 200 {
            assert_eq!(answer.instances(), whole);
        }
        // The instances have no pixels, so a picture that may be seen is 422.
        let seen = get(&rig, token, &picture).await.status;
        assert_eq!(seen, if expected == 200 { 422 } else { 404 }, "{token}");
    }
    *says.lock().expect("a lock") = json!({ "active": false });
    let refused = get(&rig, "seven", &of_study).await;
    assert_eq!(refused.status, 401);
    drop(server);
    let began = std::time::Instant::now();
    assert_eq!(get(&rig, "eight", &of_study).await.status, 503);
    assert!(began.elapsed().as_secs() < 3);
    assert_eq!(get(&rig, "two", &of_study).await.status, 200);
}

#[tokio::test]
async fn a_national_contact_point_with_partners() {
    let mut settings = example("A national contact point with partners");
    let authority = Authority::new();
    let ours = authority.issue("127.0.0.1");
    let listen: Table = ours.gateway_listen(&authority).parse().expect("TOML");
    settings.insert("gateway_listen".into(), listen["gateway_listen"].clone());
    let [north, other] = ["gateway.north.example", "gateway.south.example"];
    let [north, other] = [north, other].map(|name| authority.issue(name));
    let study = Study::new(1).with(2, at(10)).with(1, at(11));
    let origin = Origin::of(&study).await;
    let rig = Rig::start(&format!(
        "{settings}\n{}{}",
        origin.location(10),
        origin.location(11)
    ));
    let gateways = rig.gateways.expect("a listener");
    let ask = async |shown, location| {
        let client = TlsClient::new(gateways, &authority, Some(shown));
        let path = rad_160(HERE, &location_uid(location), &study.series_path(0));
        client
            .get(&path, &[("accept", "*/*")])
            .await
            .expect("an answer")
    };
    assert_eq!(ask(&north, 10).await.instances().len(), 2);
    // A location that it may not use, and one that there is not, are one answer.
    let (forbidden, unknown) = (ask(&north, 11).await, ask(&north, 99).await);
    assert_eq!(
        (forbidden.status, unknown.status),
        (http::StatusCode::NOT_FOUND, http::StatusCode::NOT_FOUND)
    );
    assert_eq!(forbidden.body, unknown.body);
    assert_eq!(ask(&other, 10).await.status, 403);
    let path = rad_160("1.3.6.1.4.1.99999.2", &location_uid(10), &study.path());
    assert_eq!(rig.get(&path, &[]).await.status, 401);
}
