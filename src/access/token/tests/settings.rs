//! Settings that are refused.

use super::super::{IssuerSettings, Tokens};

fn problems(text: &str) -> String {
    let base = "name = \"as\"\nissuer = \"https://as\"\naudience = \"us\"\n";
    let settings: Result<IssuerSettings, _> = toml::from_str(&format!("{base}{text}"));
    match settings {
        Err(error) => error.to_string(),
        Ok(settings) => match Tokens::open(&[settings]) {
            Ok(_) => String::new(),
            Err(problems) => problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect(),
        },
    }
}

#[test]
fn an_issuer_needs_one_kind_of_evidence() {
    assert_eq!(problems("jwks_url = \"https://as/jwks\""), "");
    for text in [
        "",
        "jwks_url = \"https://as/jwks\"\nintrospection_url = \"https://as/i\"",
    ] {
        assert!(problems(text).contains("set one of jwks_url"), "{text}");
    }
}

#[test]
fn what_would_be_weak_is_refused() {
    for (text, problem) in [
        ("jwks_url = \"http://as/jwks\"", "without TLS"),
        ("introspection_url = \"http://as/i\"", "without TLS"),
        (
            "jwks_url = \"ftp://as/jwks\"\nin_clear = true",
            "not an http",
        ),
        (
            "jwks_url = \"https://as/jwks\"\nalgorithms = [\"none\"]",
            "unknown variant",
        ),
        (
            "jwks_url = \"https://as/jwks\"\nalgorithms = [\"HS256\"]",
            "HS256 is for a secret",
        ),
        (
            "jwks_url = \"https://as/jwks\"\nalgorithms = []",
            "HS256 is for a secret",
        ),
        (
            "secret = { env = \"X\" }\nalgorithms = [\"HS256\", \"RS256\"]",
            "HS256 is for a secret",
        ),
        (
            "secret = { env = \"XCWADO_NO_SUCH_VARIABLE\" }",
            "is not set",
        ),
        ("jwks_file = \"/nowhere\"", "cannot read"),
        (
            "jwks_url = \"https://as/jwks\"\nclock_skew_seconds = 301",
            "at most 300",
        ),
        (
            "jwks_url = \"https://as/jwks\"\nlargest_token = \"1 MiB\"",
            "at most 64 KiB",
        ),
        (
            "jwks_url = \"https://as/jwks\"\nintrospection_seconds = 61",
            "at most 60",
        ),
        ("introspection_url = \"https://as/i\"", "client_id"),
        (
            "introspection_url = \"https://as/i\"\nclient_id = \"a\"",
            "private_key and client_secret",
        ),
        (
            "jwks_url = \"https://as/jwks\"\nclient_id = \"a\"",
            "it is for introspection_url",
        ),
        ("jwks_url = \"https://as/jwks\"\njwks = 1", "unknown field"),
    ] {
        assert!(
            problems(text).contains(problem),
            "{text}: {}",
            problems(text)
        );
    }
}

#[test]
fn two_issuers_need_two_names() {
    let text =
        "name = \"as\"\nissuer = \"https://as\"\naudience = \"us\"\njwks_url = \"https://as\"";
    let one: IssuerSettings = toml::from_str(text).expect("settings");
    let told = Tokens::open(&[one.clone(), IssuerSettings { position: 1, ..one }]);
    let told = told.expect_err("problems");
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "issuer[1].name: another issuer has it",
            "issuer[1].issuer: another table has it",
        ]
    );
}
