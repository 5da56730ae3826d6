//! The user whom a source gets to know that decides for each of them.

use http::HeaderMap;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::claims::{Claims, Code};
use super::{Access, Caller, authorization, bearer};
use crate::credentials::Token;
use crate::ihe::HomeCommunityId;
use crate::source::client::User;

impl Access {
    /// The user in whose name a request goes to sources that decide for each user. A client without
    /// an access token is one that such a source may refuse: nobody else's token stands in.
    #[must_use]
    pub fn user(&self, caller: &Caller, headers: &HeaderMap, here: &HomeCommunityId) -> User {
        match caller {
            Caller::Subject(claims) => {
                let user = User::new(name(&of_subject(claims)));
                match self.token_of(headers) {
                    Some(token) => user.with_token(token, acting(claims, here)),
                    None => user,
                }
            }
            Caller::Link(grant) => User::new(name(&json!({ "link": grant.id.to_string() }))),
            Caller::Partner(partner) => {
                let community = partner.home_community_id.as_str();
                User::new(name(&json!({ "partner": community })))
            }
            Caller::Member { .. } => User::new(name(&Value::Null)),
        }
    }

    /// The access token of a request that has been found valid, or of the session it belongs to.
    fn token_of(&self, headers: &HeaderMap) -> Option<Token> {
        match authorization(headers) {
            Some(field) => Token::parse(bearer(field)?),
            None => self.logins()?.access_token(headers),
        }
    }
}

fn name(user: &Value) -> [u8; 16] {
    let digest = Sha256::digest(user.to_string());
    digest.first_chunk().copied().unwrap_or_default()
}

/// Everything that a source may decide by: one person with another role or purpose is another user.
fn of_subject(claims: &Claims) -> Value {
    json!({
        "issuer": &*claims.issuer,
        "subject": claims.subject,
        "client_id": claims.client_id,
        "scopes": claims.scopes,
        "roles": codes(&claims.roles),
        "organisations": claims.organisations,
        "purposes": codes(&claims.purposes),
        "community": claims.home_community_id.as_ref().map(HomeCommunityId::as_str),
        "patient": claims.patient,
    })
}

/// The extensions of IHE IUA (ITI TF-2 3.71.4.1.2.2) that the gateway asserts of a request: its
/// purpose, and the community in which it began.
fn acting(claims: &Claims, here: &HomeCommunityId) -> Value {
    let community = claims.home_community_id.as_ref().unwrap_or(here).as_str();
    let mut iua = Map::new();
    iua.insert(
        "home_community_id".into(),
        format!("urn:oid:{community}").into(),
    );
    if !claims.purposes.is_empty() {
        iua.insert("purpose_of_use".into(), codes(&claims.purposes));
    }
    json!({ "ihe_iua": iua })
}

fn codes(codes: &[Code]) -> Value {
    let codes = codes.iter().map(|code| match &code.system {
        Some(system) => json!({ "system": system, "code": code.code }),
        None => json!({ "code": code.code }),
    });
    codes.collect()
}
