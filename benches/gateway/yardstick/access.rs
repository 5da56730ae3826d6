//! What rules and a token cost: the gateway next to one without them, for kept instances and metadata.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use time::OffsetDateTime;

use crate::rig::process::Server;
use crate::yardstick::contest::{Contest, Per, Row};
use crate::yardstick::peer::{DICOM, Entrance, JSON, Kept, Setup};
use crate::yardstick::warm::{Asked, SHAPE};

const RULED: &str = "with rules and a token";
const OPEN: &str = "open";
const SECRET: &str = "a secret of more than thirty-two bytes for the benchmark";

/// Hits with and without rules.
pub(crate) fn run() {
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

fn token() -> String {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let claims = json!({
        "iss": "https://bench.example",
        "aud": "bench",
        "sub": "viewer",
        "client_id": "viewer",
        "jti": "1",
        "iat": now,
        "exp": now + 3600,
        "scope": "openid imaging.read",
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}
