//! Access tokens of a certified OpenID Provider.

use std::time::{Duration, Instant};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;
use xcwado::access::token::{IssuerSettings, Refused, Tokens};
use xcwado::credentials::Certificate;
use xcwado::metrics::Metrics;

use crate::commands::process::{outcome, run_beside};
use crate::peers::provider::{GATEWAY, Provider, VIEWER, resource, token};

const AUDIENCE: &str = "https://gateway.example";

fn table(provider: &Provider, evidence: &str) -> String {
    format!(
        "name = \"region\"\nissuer = {:?}\naudience = {AUDIENCE:?}\nin_clear = true\n{evidence}\n",
        provider.issuer
    )
}

fn by_keys(provider: &Provider) -> String {
    table(
        provider,
        &format!("jwks_url = \"{}/jwks\"", provider.issuer),
    )
}

fn by_introspection(provider: &Provider, client: &str) -> String {
    let url = format!("{}/token/introspection", provider.issuer);
    let evidence = format!("introspection_url = {url:?}\nintrospection_seconds = 2\n{client}");
    table(provider, &evidence)
}

fn open(table: &str) -> Tokens {
    let settings: IssuerSettings = toml::from_str(table).expect("settings");
    let tokens = Tokens::open(&[settings]).expect("issuers");
    tokens.watch(&Metrics::new());
    tokens
}

/// The secret of the gateway, in a file.
fn secret() -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    std::fs::write(&file, GATEWAY.1).expect("written");
    let client = format!(
        "client_id = {:?}\nclient_secret = {{ file = {file:?} }}",
        GATEWAY.0
    );
    (directory, client)
}

#[tokio::test]
async fn a_token_for_us_passes_and_one_for_others_does_not() {
    let Some(provider) = Provider::start(&json!({})) else {
        return;
    };
    let tokens = open(&by_keys(&provider));
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let ours = provider.token("jwt", algorithm, AUDIENCE).await;
        let claims = tokens.ask(&ours, None).await.expect("a token");
        assert_eq!((&*claims.issuer, &*claims.subject), ("region", "viewer"));
        assert_eq!(&*claims.scopes[0], "RAD-107");
        assert_eq!(&*claims.purposes[0].code, "TREAT");
        assert!(!claims.patient.is_empty());
        assert!(tokens.known(&ours, None).expect("known").is_ok());
        let others = provider
            .token("jwt", algorithm, "https://other.example")
            .await;
        assert_eq!(tokens.ask(&others, None).await, Err(Refused::Audience));
        let (head, signature) = ours.rsplit_once('.').expect("a signature");
        let forged = format!("{head}.{}{}", &signature[1..], &signature[..1]);
        assert!(tokens.ask(&forged, None).await.is_err());
    }
    let opaque = provider.token("opaque", "RS256", AUDIENCE).await;
    assert_eq!(tokens.ask(&opaque, None).await, Err(Refused::Malformed));
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_needs_it() {
    let Some(provider) = Provider::start(&json!({})) else {
        return;
    };
    let tokens = open(&by_keys(&provider));
    let certificate = || {
        let key = KeyPair::generate().expect("a key");
        CertificateParams::default()
            .self_signed(&key)
            .expect("a certificate")
            .pem()
    };
    let read = |pem: &str| {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        Certificate::read(&der).expect("a certificate")
    };
    let (own, other) = (certificate(), certificate());
    let resource = resource("jwt", "ES256", AUDIENCE);
    let fields = [
        ("grant_type", "client_credentials"),
        ("resource", resource.as_str()),
        ("certificate", own.as_str()),
    ];
    let bound = token(
        &provider
            .post("/token", ("bound", "bound-secret"), &fields)
            .await,
    );
    assert!(tokens.ask(&bound, Some(&read(&own))).await.is_ok());
    assert_eq!(
        tokens.ask(&bound, Some(&read(&other))).await,
        Err(Refused::Binding)
    );
    assert_eq!(tokens.ask(&bound, None).await, Err(Refused::Binding));
}

#[tokio::test]
async fn new_keys_need_no_restart_and_an_outage_stops_no_known_key() {
    let Some(mut provider) = Provider::start(&json!({})) else {
        return;
    };
    let tokens = open(&by_keys(&provider));
    let old = provider.token("jwt", "ES256", AUDIENCE).await;
    assert!(tokens.ask(&old, None).await.is_ok());
    provider.rotate();
    let new = provider.token("jwt", "ES256", AUDIENCE).await;
    let began = Instant::now();
    while tokens.ask(&new, None).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(tokens.ask(&old, None).await, Err(Refused::Key));
    // A token that was not seen before the outage.
    let unseen = provider.token("jwt", "EdDSA", AUDIENCE).await;
    provider.rotate();
    let of_newer_key = provider.token("jwt", "ES256", AUDIENCE).await;
    provider.stop();
    sleep(Duration::from_secs(5)).await;
    let began = Instant::now();
    assert!(tokens.ask(&new, None).await.is_ok());
    assert!(tokens.ask(&unseen, None).await.is_ok());
    let refused = tokens.ask(&of_newer_key, None).await;
    assert_eq!(refused, Err(Refused::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_revoked_token_is_refused_when_its_introspection_is_old() {
    let Some(provider) = Provider::start(&json!({})) else {
        return;
    };
    let (_directory, client) = secret();
    let tokens = open(&by_introspection(&provider, &client));
    let opaque = provider.token("opaque", "", AUDIENCE).await;
    let claims = tokens.ask(&opaque, None).await.expect("active");
    assert_eq!(
        (&*claims.subject, &*claims.purposes[0].code),
        ("viewer", "TREAT")
    );
    let others = provider.token("opaque", "", "https://other.example").await;
    assert_eq!(tokens.ask(&others, None).await, Err(Refused::Audience));
    assert_eq!(
        tokens.ask("never-issued", None).await,
        Err(Refused::Inactive)
    );
    let revoked = provider
        .post("/token/revocation", VIEWER, &[("token", &opaque)])
        .await;
    assert_eq!(revoked.status, 200);
    sleep(Duration::from_millis(2100)).await;
    assert_eq!(tokens.ask(&opaque, None).await, Err(Refused::Inactive));
}

#[tokio::test]
async fn the_gateway_proves_by_a_key_who_asks() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let public = Jwk::from_encoding_key(&private, Algorithm::ES384).expect("a public key");
    let Some(provider) = Provider::start(&json!({"client_key": public})) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key.pem");
    std::fs::write(&file, pair.serialize_pem()).expect("written");
    let client = format!("client_id = \"gateway\"\nprivate_key = {file:?}");
    let tokens = open(&by_introspection(&provider, &client));
    let opaque = provider.token("opaque", "", AUDIENCE).await;
    assert!(tokens.ask(&opaque, None).await.is_ok());
}

#[tokio::test]
async fn check_asks_the_issuer() {
    let Some(mut provider) = Provider::start(&json!({})) else {
        return;
    };
    let (directory, client) = secret();
    let config = directory.path().join("config.toml");
    let file = config.display().to_string();
    let check = ["check", "--config", &file];
    let write = |table: &str| {
        let text = format!("home_community_id = \"1.2.3\"\n[[issuer]]\n{table}");
        std::fs::write(&config, text).expect("written");
    };
    write(&by_keys(&provider));
    let (code, output, _errors) = outcome(&run_beside(&check).await);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("region  3 keys"), "{output}");
    write(&by_introspection(&provider, &client));
    let (_code, output, _errors) = outcome(&run_beside(&check).await);
    assert!(output.contains("region  answers"), "{output}");
    provider.stop();
    let (code, output, _errors) = outcome(&run_beside(&check).await);
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("the authorization server does not answer"),
        "{output}"
    );
}
