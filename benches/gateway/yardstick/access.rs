//! What rules and a token cost: the gateway next to one without them, for kept instances and metadata;
//! and the check of a token alone.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use xcwado::access::token::Tokens;

use crate::rig::process::Server;
use crate::rig::report::at_most;
use crate::rig::usage::Usage;
use crate::yardstick::contest::{Contest, Per, Row};
use crate::yardstick::peer::{DICOM, Entrance, JSON, Kept, Setup};
use crate::yardstick::warm::{Asked, SHAPE};

const RULED: &str = "with rules and a token";
const OPEN: &str = "open";
const SECRET: &str = "a secret of more than thirty-two bytes for the benchmark";

/// Hits with and without rules.
pub(crate) fn run() {
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let ec = EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes());
    check(Algorithm::ES256, &ec.expect("a key"));
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let rsa = EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes());
    check(Algorithm::RS256, &rsa.expect("a key"));
    let origin = Server::origin();
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, SECRET).expect("written");
    let rules = format!(
        "[[issuer]]\nname = \"bench\"\nissuer = \"https://bench.example\"\naudience = \"bench\"\n\
         secret = {{ file = {secret:?} }}\n\
         [[rule]]\nanyone = true\ntransactions = [\"register\"]\n\
         [[rule]]\nissuers = [\"bench\"]\nscopes = [\"imaging.read\"]\nmanifests = \"all\"\n\
         transactions = [\"search\", \"retrieve\", \"render\"]\n"
    );
    let setup = Setup::plain(origin.address, SHAPE);
    let open = setup.gateway(Kept::Memory, Entrance::Manifests);
    let ruled = setup.gateway_with(Kept::Memory, Entrance::Manifests, &rules);
    // The client writes this into the head as it is.
    let with_token = |accept: &str| format!("{accept}\r\nAuthorization: Bearer {}", token());
    for (what, accept, below) in [
        ("an instance of 172 KiB, 16 at once", DICOM, ""),
        ("metadata of an instance, 16 at once", JSON, "/metadata"),
    ] {
        let own = with_token(accept);
        let below = |path| format!("{path}{below}");
        let lanes = 16;
        let asked = [(&ruled, own.as_str(), RULED), (&open, accept, OPEN)];
        let contenders = asked.map(|(peer, accept, name)| {
            let asked = Asked {
                peer,
                lanes,
                accept,
            };
            asked.again_and_again(name, below)
        });
        let contest = Contest::run(contenders.into());
        contest.report(Row {
            what,
            own: RULED,
            other: OPEN,
            per: Per::Thousand,
            most: 1.03,
            most_switches: None,
        });
    }
}

/// Processor time for the check of a token by a known key: of one never seen, and once more.
fn check(algorithm: Algorithm, key: &EncodingKey) {
    const TOKENS: u32 = 2000;
    const AGAIN: u32 = 20;
    let directory = tempfile::tempdir().expect("a directory");
    let set = directory.path().join("jwks.json");
    let jwk = Jwk::from_encoding_key(key, algorithm).expect("a public key");
    std::fs::write(&set, json!({ "keys": [jwk] }).to_string()).expect("written");
    let settings = format!(
        "name = \"bench\"\nissuer = \"https://bench.example\"\naudience = \"bench\"\n\
         jwks_file = {set:?}\n"
    );
    let settings = toml::from_str(&settings).expect("settings");
    let tokens = Tokens::open(&[settings]).expect("an issuer");
    let header = Header::new(algorithm);
    let all: Vec<String> = (0..TOKENS)
        .map(|number| encode(&header, &claims(&number.to_string()), key).expect("a token"))
        .collect();
    let own = [std::process::id().to_string()];
    for (what, rounds) in [("new", 1), ("seen before", AGAIN)] {
        let before = Usage::of(&own);
        for _ in 0..rounds {
            for token in &all {
                assert!(tokens.known(token, None).expect("known").is_ok());
            }
        }
        let used = Usage::of(&own).since(&before).cpu / (TOKENS * rounds);
        let what = format!("check of a token, {algorithm:?}, {what}");
        at_most(&what, used.as_secs_f64() * 1e6, 60.0, "us");
    }
}

fn token() -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims("1"), &key).expect("a token")
}

fn claims(id: &str) -> Value {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    json!({
        "iss": "https://bench.example",
        "aud": "bench",
        "sub": "viewer",
        "client_id": "viewer",
        "jti": id,
        "iat": now,
        "exp": now + 3600,
        "scope": "openid imaging.read",
    })
}
