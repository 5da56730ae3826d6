//! ID tokens.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use super::super::{IdTokens, Login, Refused};
use super::mint::{ISSUER, Keys, claims, settings};
use super::servers::{Server, set};
use crate::credentials::now;

const CLIENT: &str = "gateway";
const NONCE: &str = "n-0S6_WzA2Mj";
const TOKEN: &str = "the access token";

fn hash(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(&bytes[..bytes.len() / 2])
}

async fn id_tokens() -> (Server, IdTokens) {
    let keys = Keys::all();
    let server = Server::start(set(&keys.published())).await;
    let mut settings = settings();
    settings.audience = CLIENT.into();
    settings.jwks_url = Some(format!("http://{}/jwks", server.address));
    let id_tokens = IdTokens::open(&settings).expect("keys");
    (server, id_tokens)
}

fn claims_with(changed: &Value) -> Value {
    let now = now();
    let mut all = json!({
        "iss": ISSUER, "sub": "dr-a", "aud": CLIENT, "nonce": NONCE,
        "exp": now + 300, "iat": now, "auth_time": now,
    });
    for (name, value) in changed.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all.as_object_mut()
        .expect("an object")
        .retain(|_name, value| !value.is_null());
    all
}

#[tokio::test]
async fn only_the_id_token_of_this_login_is_accepted() {
    let (_server, id_tokens) = id_tokens().await;
    let now = now();
    for (changed, expected) in [
        (json!({}), Ok(())),
        (json!({"aud": [CLIENT]}), Ok(())),
        (json!({"aud": [CLIENT, "other"], "azp": CLIENT}), Ok(())),
        (json!({"azp": CLIENT}), Ok(())),
        (json!({"at_hash": hash(&Sha256::digest(TOKEN))}), Ok(())),
        (json!({"nonce": null}), Err(Refused::Claim)),
        (json!({"nonce": "another"}), Err(Refused::Claim)),
        (json!({"nonce": [NONCE]}), Err(Refused::Claim)),
        (json!({"nonce": ""}), Err(Refused::Claim)),
        (json!({"aud": "other"}), Err(Refused::Audience)),
        (json!({"aud": null}), Err(Refused::Audience)),
        (json!({"aud": [CLIENT, "other"]}), Err(Refused::Party)),
        (
            json!({"aud": [CLIENT, "other"], "azp": "other"}),
            Err(Refused::Party),
        ),
        (json!({"azp": "other"}), Err(Refused::Party)),
        (json!({"azp": [CLIENT]}), Err(Refused::Party)),
        (
            json!({"iss": "https://other.example"}),
            Err(Refused::Issuer),
        ),
        (json!({"exp": now - 61}), Err(Refused::Expired)),
        (json!({"exp": null}), Err(Refused::Claim)),
        (json!({"iat": null}), Err(Refused::Claim)),
        (json!({"iat": now + 100}), Err(Refused::Early)),
        (json!({"sub": null}), Err(Refused::Claim)),
        (
            json!({"at_hash": hash(&Sha256::digest("another"))}),
            Err(Refused::Binding),
        ),
        (
            json!({"at_hash": hash(&Sha512::digest(TOKEN))}),
            Err(Refused::Binding),
        ),
        (json!({"at_hash": ""}), Err(Refused::Binding)),
        (json!({"at_hash": 5}), Err(Refused::Claim)),
    ] {
        let key = &Keys::all().es256;
        let header = json!({"alg": "ES256", "kid": key.id}).to_string();
        let token = key.sign(&header, &claims_with(&changed).to_string());
        let login = Login {
            nonce: NONCE,
            access_token: TOKEN,
        };
        let outcome = id_tokens.check(&token, login).await;
        assert_eq!(outcome.map(|_claims| ()), expected, "{changed}");
    }
}

#[tokio::test]
async fn what_is_no_id_token_is_refused() {
    let (_server, id_tokens) = id_tokens().await;
    let keys = Keys::all();
    let body = claims_with(&json!({})).to_string();
    let login = Login {
        nonce: NONCE,
        access_token: "",
    };
    let access = keys.es256.token(&claims());
    let typed = keys.es256.sign(&keys.es256.header().to_string(), &body);
    let foreign = keys.other.sign(r#"{"alg":"ES256","kid":"es256"}"#, &body);
    let unknown = keys.other.sign(r#"{"alg":"ES256","kid":"other"}"#, &body);
    let honest = keys
        .ed25519
        .sign(r#"{"alg":"EdDSA","kid":"ed25519"}"#, &body);
    let (message, _signature) = honest.rsplit_once('.').expect("a signature");
    for (token, expected) in [
        (access, Refused::Kind),
        (typed, Refused::Kind),
        (foreign, Refused::Signature),
        (unknown, Refused::Key),
        (format!("{message}."), Refused::Malformed),
        (format!("{message}.AAAA"), Refused::Signature),
        ("x".repeat(20_000), Refused::TooLarge),
    ] {
        let outcome = id_tokens.check(&token, login).await;
        assert_eq!(outcome.map(|_claims| ()), Err(expected), "{token:.80}");
    }
    assert!(id_tokens.check(&honest, login).await.is_ok());
}
