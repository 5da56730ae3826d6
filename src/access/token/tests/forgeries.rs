//! Forged tokens: none of them is accepted, and each is refused for the right reason.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::super::{Refused, Tokens};
use super::mint::{
    AUDIENCE, ISSUER, Key, Keys, certificate, checked, claims, claims_with, encoded, sign, tokens,
};
use crate::credentials::now;

/// Forged tokens, each with what it is and why it is refused.
struct Forgeries {
    keys: &'static Keys,
    all: Vec<(String, String, Refused)>,
}

impl Forgeries {
    fn new() -> Self {
        Self {
            keys: Keys::all(),
            all: Vec::new(),
        }
    }

    fn add(&mut self, name: impl Into<String>, token: String, refused: Refused) {
        self.all.push((name.into(), token, refused));
    }

    /// A header of the key es256 with some parameters replaced, signed with that key.
    fn header(&mut self, name: &str, changed: &Value, refused: Refused) {
        let mut header = self.keys.es256.header();
        for (name, value) in changed.as_object().expect("an object") {
            header[name] = value.clone();
        }
        let token = self
            .keys
            .es256
            .sign(&header.to_string(), &claims().to_string());
        self.add(format!("{name}: {changed:.60}"), token, refused);
    }

    /// Honest claims with some of them replaced, signed with the key es256.
    fn claims(&mut self, changed: &Value, refused: Refused) {
        let token = self.keys.es256.token(&claims_with(changed));
        self.add(format!("claims: {changed:.60}"), token, refused);
    }

    /// Claims as text.
    fn text(&mut self, claims: &str, refused: Refused) {
        let header = self.keys.es256.header().to_string();
        let token = self.keys.es256.sign(&header, claims);
        self.add(format!("text: {claims:.60}"), token, refused);
    }

    fn all_are_refused_by(&self, tokens: &Tokens) {
        for (name, token, refused) in &self.all {
            // Cold and warm.
            for _ in 0..2 {
                let outcome = checked(tokens, token).map(|_claims| ());
                assert_eq!(outcome, Err(*refused), "{name}: {token:.200}");
            }
            let told = refused.to_string();
            assert!(
                !token
                    .split('.')
                    .any(|part| part.len() > 8 && told.contains(part))
            );
        }
    }
}

fn unsigned(header: &str, signature: &str) -> String {
    let claims = claims().to_string();
    format!("{}.{}.{signature}", encoded(header), encoded(claims))
}

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(ToOwned::to_owned).collect();
    parts.try_into().expect("three parts")
}

/// Without a signature, under every name.
fn no_signature(forgeries: &mut Forgeries) {
    let honest = forgeries.keys.es256.token(&claims());
    let [_, _, signature] = parts(&honest);
    for name in [
        "none", "None", "NONE", "nOnE", "", " ", "null", "ES256 ", "es256",
    ] {
        let header = json!({"alg": name, "typ": "at+jwt", "kid": "es256"}).to_string();
        forgeries.add(
            format!("alg {name:?}"),
            unsigned(&header, &signature),
            Refused::Algorithm,
        );
    }
    for name in ["none", "None", "NONE"] {
        let header = json!({"alg": name}).to_string();
        forgeries.add("none, nothing", unsigned(&header, ""), Refused::Malformed);
        forgeries.add("none, zero", unsigned(&header, "AA"), Refused::Algorithm);
    }
    for header in [
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"ES512","kid":"es256"}"#,
        r#"{"alg":"ES256K","kid":"es256"}"#,
        r#"{"alg":"RSA1_5","kid":"rsa"}"#,
        r#"{"alg":"dir","kid":"rsa"}"#,
    ] {
        forgeries.add(header, unsigned(header, &signature), Refused::Algorithm);
    }
    for header in [
        r#"{"alg":null}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":{}}"#,
        r#"{"alg":256}"#,
    ] {
        forgeries.add(header, unsigned(header, &signature), Refused::Malformed);
    }
}

/// A public key as the secret of an HMAC.
fn confusion(forgeries: &mut Forgeries) {
    let keys = forgeries.keys;
    let jwk = keys.rsa.jwk();
    let modulus = jwk["n"].as_str().expect("a modulus").to_owned();
    for (name, secret) in [
        ("PEM", keys.rsa.public_pem.clone().into_bytes()),
        (
            "PEM without its end",
            keys.rsa.public_pem.trim_end().as_bytes().to_vec(),
        ),
        ("DER", keys.rsa.public_der.clone()),
        ("modulus", modulus.into_bytes()),
        ("JWK", jwk.to_string().into_bytes()),
        ("EC PEM", keys.es256.public_pem.clone().into_bytes()),
        ("empty", Vec::new()),
    ] {
        let secret = EncodingKey::from_secret(&secret);
        for (algorithm, kid) in [(Algorithm::HS256, "rsa"), (Algorithm::HS512, "es256")] {
            let header = json!({"alg": format!("{algorithm:?}"), "kid": kid}).to_string();
            let token = sign(&secret, algorithm, &header, &claims().to_string());
            forgeries.add(format!("HMAC with {name}"), token, Refused::Algorithm);
        }
    }
    // A key of another kind, and an algorithm that the key does not have.
    for (kid, key) in [
        ("rsa", &keys.es256),
        ("es384", &keys.es256),
        ("ed25519", &keys.es256),
    ] {
        let header = json!({"alg": format!("{:?}", key.algorithm), "kid": kid}).to_string();
        let token = key.sign(&header, &claims().to_string());
        forgeries.add(format!("{kid} for ES256"), token, Refused::Key);
    }
    let header = r#"{"alg":"PS256","kid":"rsa"}"#;
    let token = keys
        .rsa
        .sign_as(Algorithm::PS256, header, &claims().to_string());
    forgeries.add("PS256 with a key for RS256", token, Refused::Key);
    let header = r#"{"alg":"RS256","kid":"rsa"}"#;
    let token = keys
        .rsa
        .sign_as(Algorithm::PS256, header, &claims().to_string());
    forgeries.add("PS256 called RS256", token, Refused::Signature);
}

/// Names of keys that are paths, queries or something else.
fn names_of_keys(forgeries: &mut Forgeries) {
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "/etc/passwd",
        "es256\0",
        "\0",
        "es256' OR '1'='1",
        "x' UNION SELECT 'secret",
        "es256; DROP TABLE keys",
        "| sleep 5",
        "https://evil.example/jwks.json",
        "ES256",
        " es256",
        "es256 ",
        "",
        "*",
        "${jndi:ldap://evil.example}",
    ] {
        forgeries.header("kid", &json!({"kid": kid}), Refused::Key);
    }
    let long = "k".repeat(3000);
    forgeries.header("kid", &json!({"kid": long}), Refused::Key);
    for kid in [
        json!(["es256"]),
        json!({"es256": 1}),
        json!(1),
        json!(true),
        json!(null),
    ] {
        forgeries.header("kid", &json!({"kid": kid}), Refused::Malformed);
    }
    let token = forgeries
        .keys
        .es256
        .sign(r#"{"alg":"RS256"}"#, &claims().to_string());
    forgeries.add("no kid", token, Refused::Signature);
}

/// Keys, and other surprises, in the header.
fn headers(forgeries: &mut Forgeries) {
    let own = forgeries.keys.other.jwk();
    let mut with_own = forgeries.keys.other.header();
    with_own["jwk"] = own.clone();
    with_own["kid"] = "es256".into();
    let token = forgeries
        .keys
        .other
        .sign(&with_own.to_string(), &claims().to_string());
    forgeries.add("jwk and its signature", token, Refused::Header);
    for changed in [
        json!({"jwk": own}),
        json!({"jwk": {}}),
        json!({"jku": "https://evil.example/jwks.json"}),
        json!({"jku": "https://as.example/jwks.json"}),
        json!({"x5u": "https://evil.example/chain.pem"}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5c": null}),
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"cty": "JWT"}),
        json!({"zip": "DEF"}),
        json!({"enc": "A128GCM"}),
    ] {
        forgeries.header("header", &changed, Refused::Header);
    }
    for kind in [
        "id+jwt",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "JOSE",
        "jwt+at",
        "",
    ] {
        forgeries.header("typ", &json!({"typ": kind}), Refused::Kind);
    }
    forgeries.header("typ", &json!({"typ": ["at+jwt"]}), Refused::Malformed);
    forgeries.header("typ", &json!({"typ": null}), Refused::Malformed);
    let key = &forgeries.keys.es256;
    for header in [
        r#"{"alg":"ES256","kid":"es256","alg":"ES256"}"#,
        r#"{"alg":"none","kid":"es256","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"x","\u006bid":"es256"}"#,
        r#"{"alg":"ES256","kid":"es256"}{}"#,
        r#"["ES256"]"#,
        r#""ES256""#,
        "null",
        "{",
        "",
        "{\"alg\":\"ES256\",\"kid\":\"es256\"}\0",
    ] {
        let token = key.sign(header, &claims().to_string());
        forgeries.add(header, token, Refused::Malformed);
    }
}

/// Signatures that are not.
fn signatures(forgeries: &mut Forgeries) {
    let keys = forgeries.keys;
    let header = keys.es256.header().to_string();
    let honest = keys.es256.token(&claims());
    let [head, body, signature] = parts(&honest);
    let octets = BASE64_URL_SAFE_NO_PAD.decode(&signature).expect("Base64");
    let with = |octets: &[u8]| format!("{head}.{body}.{}", encoded(octets));
    let (r, s) = octets.split_at(32);
    let mut flipped = octets.clone();
    flipped[63] ^= 1;
    let order = data_encoding::HEXUPPER
        .decode(b"FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551")
        .expect("the order of P-256");
    for (name, forged) in [
        ("zeros", vec![0; 64]),
        ("r = n, s = n", [order.clone(), order.clone()].concat()),
        ("r = 0", [&[0; 32], s].concat()),
        ("s = 0", [r, &[0; 32]].concat()),
        (
            "r = 1, s = 1",
            [[0; 31].as_slice(), &[1], &[0; 31], &[1]].concat(),
        ),
        ("exchanged", [s, r].concat()),
        ("one bit", flipped),
        ("truncated", octets[..63].to_vec()),
        ("half", r.to_vec()),
        ("longer", [octets.as_slice(), &[0]].concat()),
        ("longer in front", [&[0], octets.as_slice()].concat()),
        ("DER", der(&octets)),
        ("DER of zeros", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ("of P-384's length", vec![1; 96]),
    ] {
        forgeries.add(
            format!("signature: {name}"),
            with(&forged),
            Refused::Signature,
        );
    }
    let foreign = keys.other.sign(&header, &claims().to_string());
    forgeries.add("the signature of another key", foreign, Refused::Signature);
    let [_, _, foreign] = parts(&keys.es256.token(&claims_with(&json!({"sub": "dr-b"}))));
    forgeries.add(
        "of another token",
        format!("{head}.{body}.{foreign}"),
        Refused::Signature,
    );
    let changed = encoded(claims_with(&json!({"sub": "admin"})).to_string());
    forgeries.add(
        "other claims",
        format!("{head}.{changed}.{signature}"),
        Refused::Signature,
    );
    let other_head = encoded(json!({"alg": "ES256", "kid": "es256"}).to_string());
    forgeries.add(
        "another header",
        format!("{other_head}.{body}.{signature}"),
        Refused::Signature,
    );
    let header = json!({"alg": "ES384", "kid": "es384"}).to_string();
    let message = format!("{}.{body}", encoded(header));
    forgeries.add(
        "another curve",
        format!("{message}.{signature}"),
        Refused::Signature,
    );
    let zeros = |algorithm: &str, kid: &str, length: usize| {
        let header = json!({"alg": algorithm, "kid": kid}).to_string();
        unsigned(&header, &encoded(vec![0; length]))
    };
    forgeries.add(
        "RSA of zeros",
        zeros("RS256", "rsa", 256),
        Refused::Signature,
    );
    forgeries.add(
        "Ed25519 of zeros",
        zeros("EdDSA", "ed25519", 64),
        Refused::Signature,
    );
    forgeries.add(
        "ES384 of zeros",
        zeros("ES384", "es384", 96),
        Refused::Signature,
    );
}

/// The same signature in DER (RFC 3279 2.2.3), which JOSE does not use.
fn der(octets: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let significant: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign = significant
            .first()
            .filter(|first| **first > 127)
            .map(|_first| 0);
        let value: Vec<u8> = sign.into_iter().chain(significant).collect();
        [
            &[2, u8::try_from(value.len()).expect("short")],
            value.as_slice(),
        ]
        .concat()
    };
    let both = [integer(&octets[..32]), integer(&octets[32..])].concat();
    [
        &[0x30, u8::try_from(both.len()).expect("short")],
        both.as_slice(),
    ]
    .concat()
}

/// Text that is no compact JWS.
fn shapes(forgeries: &mut Forgeries) {
    let honest = forgeries.keys.es256.token(&claims());
    let [head, body, signature] = parts(&honest);
    let octets = BASE64_URL_SAFE_NO_PAD.decode(&signature).expect("Base64");
    let standard = BASE64_STANDARD.encode([&[0xFB, 0xFF, 0xFE], &octets[..61]].concat());
    let nested = encoded(format!("\"{honest}\""));
    let jws = json!({"payload": body, "protected": head, "signature": signature});
    for (name, token) in [
        ("empty", String::new()),
        ("dots", "..".into()),
        ("two parts", format!("{head}.{body}")),
        ("no signature", format!("{head}.{body}.")),
        ("no header", format!(".{body}.{signature}")),
        ("no claims", format!("{head}..{signature}")),
        ("four parts", format!("{honest}.{signature}")),
        ("a dot behind", format!("{honest}.")),
        ("a dot in front", format!(".{honest}")),
        (
            "JWE",
            format!("{head}.{body}.{signature}.{signature}.{signature}"),
        ),
        (
            "padding",
            format!("{head}.{body}.{}", BASE64_URL_SAFE.encode(&octets)),
        ),
        (
            "padding of the header",
            format!("{head}==.{body}.{signature}"),
        ),
        ("another alphabet", format!("{head}.{body}.{standard}")),
        ("a blank", format!("{head}.{body} .{signature}")),
        ("a blank behind", format!("{honest} ")),
        ("a line feed", format!("{head}.{body}\n.{signature}")),
        ("a NUL", format!("{honest}\0")),
        ("letters of others", format!("{head}.{body}.ä{signature}")),
        (
            "another last letter",
            format!("{head}.{body}.{}", loose(&signature)),
        ),
        ("a token in a token", format!("{head}.{nested}.{signature}")),
        ("JSON serialisation", jws.to_string()),
        ("with its scheme", format!("Bearer {honest}")),
        ("two tokens", format!("{honest},{honest}")),
    ] {
        forgeries.add(name, token, Refused::Malformed);
    }
    let large = forgeries
        .keys
        .es256
        .token(&claims_with(&json!({"pad": "x".repeat(9000)})));
    forgeries.add("large", large, Refused::TooLarge);
}

/// The same octets, written with bits behind them that are not zero.
fn loose(signature: &str) -> String {
    let (rest, last) = signature.split_at(signature.len() - 1);
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = letters.find(last).expect("a letter");
    format!("{rest}{}", &letters[at + 1..at + 2])
}

/// Times, audiences, issuers and clients.
fn wrong_claims(forgeries: &mut Forgeries) {
    let now = now();
    for changed in [
        json!({"exp": now - 61}),
        json!({"exp": 0}),
        json!({"exp": 1}),
    ] {
        forgeries.claims(&changed, Refused::Expired);
    }
    for changed in [
        json!({"nbf": now + 100}),
        json!({"iat": now + 100}),
        json!({"iat": now + 1_000_000}),
    ] {
        forgeries.claims(&changed, Refused::Early);
    }
    for changed in [
        json!({"aud": "https://other.example"}),
        json!({"aud": ""}),
        json!({"aud": []}),
        json!({"aud": [[AUDIENCE]]}),
        json!({"aud": null}),
        json!({"aud": format!("{AUDIENCE}/")}),
        json!({"aud": AUDIENCE.to_uppercase()}),
        json!({"aud": format!("{AUDIENCE} https://other.example")}),
        json!({"aud": ["viewer"]}),
    ] {
        let is_form = changed["aud"] == json!([[AUDIENCE]]);
        forgeries.claims(
            &changed,
            if is_form {
                Refused::Claim
            } else {
                Refused::Audience
            },
        );
    }
    for issuer in [
        json!("https://evil.example"),
        json!(format!("{ISSUER}/")),
        json!("https://AS.example"),
        json!(""),
        json!([ISSUER]),
        json!({"0": ISSUER}),
        json!(null),
        json!(format!("{ISSUER}\0")),
    ] {
        forgeries.claims(&json!({"iss": issuer}), Refused::Issuer);
    }
}

/// Claims of another form, and tokens of another kind.
fn malformed_claims(forgeries: &mut Forgeries) {
    let now = now();
    for changed in [
        json!({"exp": null}),
        json!({"exp": (now + 300).to_string()}),
        json!({"exp": [now + 300]}),
        json!({"exp": 1e18}),
        json!({"exp": -1}),
        json!({"exp": u64::MAX}),
        json!({"exp": i64::MAX}),
        json!({"exp": 1.7e9}),
        json!({"exp": 9_999_999_999.5}),
        json!({"exp": true}),
        json!({"exp": (now + 300) * 1000}),
        json!({"nbf": "0"}),
        json!({"nbf": -1}),
        json!({"iat": {}}),
        json!({"iat": 1.5}),
        json!({"aud": {"0": AUDIENCE}}),
        json!({"aud": 5}),
        json!({"aud": [AUDIENCE, 5]}),
        json!({"sub": null}),
        json!({"sub": ["dr-a"]}),
        json!({"sub": {"admin": true}}),
        json!({"sub": ""}),
        json!({"sub": " "}),
        json!({"sub": "dr-a\0"}),
        json!({"sub": "dr-a\r\nX-Admin: 1"}),
        json!({"sub": 7}),
        json!({"sub": "x".repeat(2000)}),
        json!({"client_id": ["viewer"]}),
        json!({"azp": {}}),
        json!({"jti": 5}),
        json!({"scope": ["RAD-107"]}),
        json!({"scope": {"RAD-107": true}}),
        json!({"extensions": []}),
        json!({"extensions": {"ihe_iua": "x"}}),
        json!({"purpose_of_use": 5}),
        json!({"purpose_of_use": [{"system": "urn:x"}]}),
        json!({"purpose_of_use": [["TREAT"]]}),
        json!({"subject_role": [{"code": {}}]}),
        json!({"subject_role": vec!["x"; 65]}),
        json!({"subject_organization": {"name": "x"}}),
        json!({"home_community_id": "urn:uuid:1"}),
        json!({"home_community_id": ["urn:oid:1.2.3", "urn:oid:1.2.4"]}),
        json!({"person_id": "^^^&1.2.3&ISO"}),
        json!({"person_id": {"value": "0815"}}),
        json!({"person_id": "1^^^&1.2&ISO", "extensions": {"ihe_iua": {"person_id": "2^^^&1.2&ISO"}}}),
        json!({"purpose_of_use": "ETREAT", "extensions": {"ihe_iua": {"purpose_of_use": "TREAT"}}}),
    ] {
        forgeries.claims(&changed, Refused::Claim);
    }
    for changed in [
        json!({"nonce": "n-0S6"}),
        json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}),
        json!({"c_hash": "x"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"typ": ["Bearer"]}),
        json!({"token_use": "id"}),
        json!({"token_type": "DPoP"}),
    ] {
        forgeries.claims(&changed, Refused::Kind);
    }
    for confirmation in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"jwk": {}}),
        json!({"kid": "es256"}),
        json!({}),
        json!("x"),
        json!(null),
        json!({"x5t#S256": encoded([7; 32]), "jkt": "x"}),
        json!({"x5t#S256": encoded([7; 31])}),
        json!({"x5t#S256": [encoded([7; 32])]}),
        json!({"x5t": encoded([7; 20])}),
        json!({"x5t#S256": encoded([7; 32])}),
    ] {
        let mut all = claims();
        all["cnf"] = confirmation.clone();
        let token = forgeries.keys.es256.token(&all);
        forgeries.add(format!("cnf: {confirmation}"), token, Refused::Binding);
    }
}

/// Claims that two readers would read differently.
fn ambiguous_claims(forgeries: &mut Forgeries) {
    let (exp, past) = (now() + 300, now() - 300);
    let base = format!("\"iss\":{ISSUER:?},\"aud\":{AUDIENCE:?},\"sub\":\"a\"");
    for text in [
        format!("{{{base},\"exp\":{past},\"exp\":{exp}}}"),
        format!("{{{base},\"exp\":{exp},\"exp\":{exp}}}"),
        format!("{{{base},\"exp\":{exp},\"sub\":\"admin\"}}"),
        format!("{{{base},\"exp\":{exp},\"\\u0073ub\":\"admin\"}}"),
        format!("{{{base},\"exp\":{exp},\"extensions\":{{\"ihe_iua\":{{}},\"ihe_iua\":{{}}}}}}"),
        format!("{{{base},\"exp\":{exp}}}{{}}"),
        format!("{{{base},\"exp\":1e400}}"),
        format!("{{{base},\"exp\":0x7fffffff}}"),
        format!("{{{base},\"exp\":{exp},}}"),
        format!("{{{base},\"exp\":NaN}}"),
        format!("[{{{base},\"exp\":{exp}}}]"),
        "null".to_owned(),
        "{}x".to_owned(),
    ] {
        forgeries.text(&text, Refused::Malformed);
    }
    forgeries.text("{}", Refused::Issuer);
}

#[test]
fn forged_tokens_are_refused() {
    let tokens = tokens(|_| {});
    let mut forgeries = Forgeries::new();
    no_signature(&mut forgeries);
    confusion(&mut forgeries);
    names_of_keys(&mut forgeries);
    headers(&mut forgeries);
    signatures(&mut forgeries);
    shapes(&mut forgeries);
    wrong_claims(&mut forgeries);
    malformed_claims(&mut forgeries);
    ambiguous_claims(&mut forgeries);
    assert!(forgeries.all.len() >= 240, "{}", forgeries.all.len());
    forgeries.all_are_refused_by(&tokens);
    // What they were made from passes.
    for key in Keys::all().published() {
        assert!(checked(&tokens, &key.token(&claims())).is_ok());
    }
}

#[test]
fn only_pinned_algorithms_are_accepted() {
    let tokens = tokens(|settings| settings.algorithms = Some(vec![Algorithm::ES256]));
    for key in Keys::all().published() {
        let outcome = checked(&tokens, &key.token(&claims())).map(|_claims| ());
        let is_pinned = key.algorithm == Algorithm::ES256;
        let expected = is_pinned.then_some(()).ok_or(Refused::Algorithm);
        assert_eq!(outcome, expected, "{:?}", key.algorithm);
    }
}

#[test]
fn only_listed_clients_are_accepted() {
    let tokens = tokens(|settings| settings.authorized_parties = vec!["viewer".into()]);
    for (changed, is_accepted) in [
        (json!({}), true),
        (json!({"azp": "viewer"}), true),
        (json!({"client_id": null, "azp": "viewer"}), true),
        (json!({"client_id": null}), false),
        (json!({"client_id": "other"}), false),
        (json!({"client_id": "viewer", "azp": "other"}), false),
        (json!({"client_id": "other", "azp": "viewer"}), false),
        (json!({"client_id": "Viewer"}), false),
    ] {
        let token = Keys::all().es256.token(&claims_with(&changed));
        let outcome = checked(&tokens, &token).map(|_claims| ());
        let expected = is_accepted.then_some(()).ok_or(Refused::Party);
        assert_eq!(outcome, expected, "{changed}");
    }
}

#[test]
fn a_stolen_bound_token_is_useless() {
    let tokens = tokens(|_| {});
    let bound = json!({"cnf": {"x5t#S256": encoded([7; 32])}});
    let token = Keys::all().es256.token(&claims_with(&bound));
    let owner = certificate(7);
    assert!(tokens.known(&token, Some(&owner)).expect("known").is_ok());
    for thief in [None, Some(&certificate(9))] {
        assert_eq!(tokens.known(&token, thief), Some(Err(Refused::Binding)));
    }
}

#[test]
fn keys_that_are_no_keys_for_signatures_verify_nothing() {
    let key = &Keys::all().es256;
    let token = key.token(&claims());
    let other = Key::ec("other-2").jwk();
    for changed in [
        json!({"use": "enc"}),
        json!({"key_ops": ["sign"]}),
        json!({"alg": "ES384"}),
        json!({"alg": "RS256"}),
        json!({"crv": "P-384"}),
        json!({"crv": "secp256k1"}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519"}),
        json!({"kid": "another"}),
        json!({"kid": null}),
    ] {
        let mut jwk = key.jwk();
        for (name, value) in changed.as_object().expect("an object") {
            jwk[name] = value.clone();
        }
        let tokens = super::mint::tokens_of(&[jwk, other.clone()], |_| {});
        let outcome = checked(&tokens, &token).map(|_claims| ());
        assert_eq!(outcome, Err(Refused::Key), "{changed}");
    }
    // A short RSA key, and a secret in a public document.
    let mut short = Keys::all().rsa.jwk();
    short["n"] = encoded([0xC5; 128]).into();
    let secret = json!({"kty": "oct", "k": encoded([7; 32]), "kid": "oct", "alg": "HS256"});
    let tokens = super::mint::tokens_of(&[short, secret, other], |_| {});
    let outcome = checked(&tokens, &Keys::all().rsa.token(&claims())).map(|_claims| ());
    assert_eq!(outcome, Err(Refused::Key));
    let secret = EncodingKey::from_secret(&[7; 32]);
    let header = r#"{"alg":"HS256","kid":"oct"}"#;
    let token = sign(&secret, Algorithm::HS256, header, &claims().to_string());
    assert_eq!(
        checked(&tokens, &token).map(|_claims| ()),
        Err(Refused::Algorithm)
    );
}
