//! An issuer of access tokens, with what proves that a token is its own.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::introspection::Introspection;
use super::jws::Jws;
use super::keys::Keys;
use super::memory::Memory;
use super::refused::Refused;
use super::rules::{Rules, Verified};
use super::settings::IssuerSettings;
use crate::community::Problems;
use crate::credentials::Error;

/// All algorithms of public keys.
pub(super) const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// The largest clock skew, in seconds.
const LARGEST_SKEW: u32 = 300;
/// The largest token in the settings: no listener takes larger header fields.
const LARGEST_TOKEN: u64 = 64 << 10;

/// An issuer of access tokens.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) name: Arc<str>,
    /// `iss` of its tokens.
    pub(super) issuer: String,
    pub(super) largest_token: usize,
    algorithms: Vec<Algorithm>,
    rules: Arc<Rules>,
    pub(super) evidence: Evidence,
}

/// What proves that a token is its issuer's.
#[derive(Debug)]
pub(super) enum Evidence {
    /// A signature.
    Keys(Keys),
    /// The issuer's word.
    Introspection(Arc<Introspection>),
}

impl Issuer {
    /// Whether it is asked about its tokens.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.evidence, Evidence::Introspection(_))
    }

    /// Opens an issuer; `None` with a problem.
    pub(super) fn open(
        settings: &IssuerSettings,
        place: usize,
        memory: &Arc<Memory>,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let algorithms = algorithms(settings);
        check(settings, &algorithms, problems);
        let rules = Arc::new(Rules::new(settings));
        let evidence = [
            ("jwks_url", keys(Keys::at_url(settings, &algorithms))),
            ("jwks_file", keys(Keys::in_file(settings, &algorithms))),
            ("secret", keys(Keys::shared(settings))),
            (
                "introspection_url",
                Introspection::open(settings, place, &rules, memory)
                    .map(|found| found.map(Evidence::Introspection)),
            ),
        ];
        let evidence = evidence.into_iter();
        let evidence = evidence.filter_map(|(key, opened)| problems.ok(key, opened).flatten());
        let evidence: Vec<_> = evidence.collect();
        let [evidence] = evidence.try_into().ok()?;
        Some(Self {
            name: settings.name.as_str().into(),
            issuer: settings.issuer.clone(),
            largest_token: usize::try_from(settings.largest_token.0).unwrap_or(usize::MAX),
            algorithms,
            rules,
            evidence,
        })
    }

    /// Verifies a token by its signature, at a time in seconds since 1970; gives also the number of
    /// the key set.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(super) fn verify(
        &self,
        keys: &Keys,
        jws: &Jws<'_>,
        now: i64,
    ) -> Result<(u64, Verified), Refused> {
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(Refused::Algorithm);
        }
        let keys = keys.verify(jws)?;
        // RFC 9068 2.1 and 4; many servers write the general type.
        if !matches!(jws.kind.as_deref(), None | Some("at+jwt" | "jwt")) {
            return Err(Refused::Kind);
        }
        Ok((keys, self.rules.check(&jws.claims, now)?))
    }
}

fn keys(opened: Result<Option<Keys>, Error>) -> Result<Option<Evidence>, Error> {
    opened.map(|keys| keys.map(Evidence::Keys))
}

fn algorithms(settings: &IssuerSettings) -> Vec<Algorithm> {
    let default = match &settings.secret {
        Some(_) => vec![Algorithm::HS256],
        None => ASYMMETRIC.to_vec(),
    };
    settings.algorithms.clone().unwrap_or(default)
}

/// What is wrong with the settings, whatever their files contain.
fn check(settings: &IssuerSettings, algorithms: &[Algorithm], problems: &mut Problems<'_>) {
    let blank = [
        ("name", &settings.name),
        ("issuer", &settings.issuer),
        ("audience", &settings.audience),
    ];
    for (key, text) in blank {
        if text.trim().is_empty() {
            problems.add(key, "it is empty");
        }
    }
    let is_fitting = |algorithm: &Algorithm| match settings.secret {
        Some(_) => *algorithm == Algorithm::HS256,
        None => algorithm.family() != AlgorithmFamily::Hmac,
    };
    if algorithms.is_empty() || !algorithms.iter().all(is_fitting) {
        let problem = "HS256 is for a secret, and all others are for public keys";
        problems.add("algorithms", problem);
    }
    if settings.clock_skew_seconds > LARGEST_SKEW {
        problems.add("clock_skew_seconds", "it is at most 300");
    }
    if settings.introspection_seconds > IssuerSettings::longest_introspection() {
        problems.add("introspection_seconds", "it is at most 60");
    }
    if settings.largest_token.0 == 0 || settings.largest_token.0 > LARGEST_TOKEN {
        problems.add("largest_token", "it is at most 64 KiB, and not 0");
    }
    check_servers(settings, problems);
}

/// What is wrong with the places of keys and answers.
fn check_servers(settings: &IssuerSettings, problems: &mut Problems<'_>) {
    let evidence = [
        settings.jwks_url.is_some(),
        settings.jwks_file.is_some(),
        settings.secret.is_some(),
        settings.introspection_url.is_some(),
    ];
    if evidence.into_iter().filter(|is_set| *is_set).count() != 1 {
        let problem = "set one of jwks_url, jwks_file, secret and introspection_url";
        problems.add("jwks_url", problem);
    }
    let urls = [
        ("jwks_url", &settings.jwks_url),
        ("introspection_url", &settings.introspection_url),
    ];
    for (key, url) in urls {
        let url = url.iter().map(|url| url.trim_start().to_ascii_lowercase());
        if url.into_iter().any(|url| !url.starts_with("https:")) && !settings.in_clear {
            let problem = "keys and tokens would travel without TLS; in_clear = true allows that";
            problems.add(key, problem);
        }
    }
    let is_client = settings.client_id.is_some()
        || settings.client_secret.is_some()
        || settings.private_key.is_some();
    match (&settings.introspection_url, &settings.client_id) {
        (Some(_), None) => problems.add("client_id", "introspection_url needs it"),
        (None, _) if is_client => problems.add("client_id", "it is for introspection_url"),
        (Some(_), Some(_)) | (None, _) => {}
    }
}
