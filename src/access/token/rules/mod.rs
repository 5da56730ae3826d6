//! What the claims of a token must say, whoever has signed them.

mod identity;
mod iua;
mod patient;

use std::sync::Arc;

pub(in crate::access) use identity::Login;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::json::Object;
use super::refused::Refused;
use super::settings::IssuerSettings;
use crate::access::claims::Claims;
use crate::credentials::Fingerprint;

/// The last second of the year 9999: later times are no times in seconds.
const LAST_SECOND: i64 = 253_402_300_799;
/// The longest subject and the longest name of a client.
const LONGEST_NAME: usize = 1024;

/// Claims of other kinds of tokens: ID tokens (OpenID Connect Core 2, 3.1.3.6 and 3.3.2.11) and
/// logout tokens and security events (RFC 8417 2.2).
const OF_OTHER_KINDS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

/// What an issuer's tokens must say.
#[derive(Debug)]
pub(super) struct Rules {
    name: Arc<str>,
    issuer: String,
    audience: String,
    skew: i64,
    authorized_parties: Vec<String>,
    patient_issuer: Option<String>,
}

/// The claims of a token that is valid on its own.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Arc<Claims>,
    /// The certificate that its sender must have (RFC 8705 3.1).
    pub(super) bound_to: Option<Fingerprint>,
}

impl Rules {
    pub(super) fn new(settings: &IssuerSettings) -> Self {
        Self {
            name: settings.name.as_str().into(),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            skew: settings.clock_skew_seconds.into(),
            authorized_parties: settings.authorized_parties.clone(),
            patient_issuer: settings.patient_issuer.clone(),
        }
    }

    /// Checks the claims at a time in seconds since 1970.
    ///
    /// # Errors
    /// The first rule that they break.
    pub(super) fn check(&self, claims: &Object, now: i64) -> Result<Verified, Refused> {
        if text(claims, "iss")? != Some(&self.issuer) {
            return Err(Refused::Issuer);
        }
        if !is_for(claims, &self.audience)? {
            return Err(Refused::Audience);
        }
        let expires = times(claims, now, self.skew)?.ok_or(Refused::Claim)?;
        self.check_kind(claims)?;
        let client_id = self.party(claims)?;
        let bound_to = bound_to(claims)?;
        let claims = self.read(claims, client_id, expires)?;
        Ok(Verified {
            claims: Arc::new(claims),
            bound_to,
        })
    }

    /// Refuses what is no access token. Some servers also name the kind in the claims.
    fn check_kind(&self, claims: &Object) -> Result<(), Refused> {
        let is_other = OF_OTHER_KINDS.iter().any(|name| claims.contains_key(*name));
        let kinds = ["typ", "token_use", "token_type"];
        let kinds = kinds.iter().filter_map(|name| claims.get(*name));
        let mut kinds = kinds.map(|kind| kind.as_str().unwrap_or_default());
        match !is_other && kinds.all(is_access_token) {
            true => Ok(()),
            false => Err(Refused::Kind),
        }
    }

    /// The client to which the token was issued, if the settings accept it.
    fn party<'a>(&self, claims: &'a Object) -> Result<Option<&'a str>, Refused> {
        let parties = [name(claims, "client_id")?, name(claims, "azp")?];
        let is_listed = |party: &str| self.authorized_parties.iter().any(|one| one == party);
        let mut named = parties.into_iter().flatten().peekable();
        let first = named.peek().copied();
        let is_accepted =
            self.authorized_parties.is_empty() || first.is_some() && named.all(is_listed);
        is_accepted.then_some(first).ok_or(Refused::Party)
    }

    fn read(
        &self,
        claims: &Object,
        client_id: Option<&str>,
        expires: i64,
    ) -> Result<Claims, Refused> {
        let subject = name(claims, "sub")?.ok_or(Refused::Claim)?;
        // Its form only: a token is used many times.
        text(claims, "jti")?;
        let scopes = text(claims, "scope")?.unwrap_or_default();
        let iua = iua::Extension::read(claims)?;
        Ok(Claims {
            issuer: Arc::clone(&self.name),
            subject: subject.into(),
            client_id: client_id.map(Into::into),
            scopes: scopes.split_ascii_whitespace().map(Into::into).collect(),
            roles: iua.codes("subject_role")?,
            organisations: iua.organisations()?,
            purposes: iua.codes("purpose_of_use")?,
            home_community_id: iua.home_community_id()?,
            patient: self.patient(claims, &iua)?,
            expires,
        })
    }
}

fn is_access_token(kind: &str) -> bool {
    let kinds = ["bearer", "at+jwt", "jwt", "access_token", "access"];
    kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// Whether `aud` contains an audience (RFC 7519 4.1.3).
pub(super) fn is_for(claims: &Object, audience: &str) -> Result<bool, Refused> {
    match claims.get("aud") {
        None => Err(Refused::Audience),
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(all)) => {
            let all: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
            Ok(all.ok_or(Refused::Claim)?.contains(&audience))
        }
        Some(_) => Err(Refused::Claim),
    }
}

/// Checks `nbf`, `iat` and `exp` (RFC 7519 4.1.4 to 4.1.6); gives `exp`, if there is one.
pub(super) fn times(claims: &Object, now: i64, skew: i64) -> Result<Option<i64>, Refused> {
    let expires = time(claims, "exp")?;
    let begins = [time(claims, "nbf")?, time(claims, "iat")?];
    if expires.is_some_and(|expires| expires + skew <= now) {
        return Err(Refused::Expired);
    }
    match begins
        .into_iter()
        .flatten()
        .any(|begins| begins > now + skew)
    {
        true => Err(Refused::Early),
        false => Ok(expires),
    }
}

/// A time in whole seconds since 1970.
fn time(claims: &Object, name: &str) -> Result<Option<i64>, Refused> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value
        .as_i64()
        .filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    seconds.ok_or(Refused::Claim).map(Some)
}

/// A claim that is a string.
pub(super) fn text<'a>(claims: &'a Object, name: &str) -> Result<Option<&'a str>, Refused> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refused::Claim),
    }
}

/// A claim that names somebody.
fn name<'a>(claims: &'a Object, name: &str) -> Result<Option<&'a str>, Refused> {
    let found = text(claims, name)?;
    let is_name = |text: &str| {
        !text.trim().is_empty() && text.len() <= LONGEST_NAME && !text.contains(char::is_control)
    };
    match found {
        Some(text) if !is_name(text) => Err(Refused::Claim),
        found => Ok(found),
    }
}

/// The certificate in `cnf` (RFC 8705 3.1). A confirmation of another kind is not one that we check.
fn bound_to(claims: &Object) -> Result<Option<Fingerprint>, Refused> {
    let Some(confirmation) = claims.get("cnf") else {
        return Ok(None);
    };
    let members = confirmation.as_object().ok_or(Refused::Binding)?;
    let thumbprint = members.get("x5t#S256").filter(|_one| members.len() == 1);
    let thumbprint = thumbprint.and_then(Value::as_str).ok_or(Refused::Binding)?;
    let octets = BASE64_URL_SAFE_NO_PAD.decode(thumbprint).ok();
    let octets = octets.and_then(|octets| octets.try_into().ok());
    let fingerprint = octets.map(Fingerprint::from_octets);
    fingerprint.ok_or(Refused::Binding).map(Some)
}
