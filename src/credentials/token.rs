//! Bearer tokens (RFC 6750), excluded from all output.

use std::fmt;
use std::path::PathBuf;

use http::HeaderValue;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::files::{Error, read};

/// The place of a token: settings never contain the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenSource {
    /// A file with the token only; surrounding white space is ignored.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A bearer token. Its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl TokenSource {
    /// Reads the token.
    ///
    /// # Errors
    /// If it is missing or malformed (RFC 6750 2.1).
    pub fn load(&self) -> Result<Token, Error> {
        Token::parse(self.text()?.trim()).ok_or(Error::NotAToken)
    }

    /// Reads a password or a client secret instead.
    ///
    /// # Errors
    /// If it is missing, empty, or has control characters.
    pub fn secret(&self) -> Result<Zeroizing<String>, Error> {
        let text = self.text()?;
        let secret = text.trim();
        if secret.is_empty() || secret.chars().any(char::is_control) {
            return Err(Error::NotASecret);
        }
        Ok(Zeroizing::new(secret.to_owned()))
    }

    fn text(&self) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::File(path) => {
                let bytes = Zeroizing::new(read(path)?);
                Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Self::Env(name) => {
                let value = std::env::var(name);
                Ok(Zeroizing::new(
                    value.map_err(|_unset| Error::NoVariable(name.clone()))?,
                ))
            }
        }
    }

    /// Its file, if it is in one.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }

    /// As [`TokenSource::file`], mutable.
    pub fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }
}

impl Token {
    /// Parses a token (RFC 6750 2.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        let is_one = !text.is_empty() && text.chars().all(is_token);
        is_one.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Its text, for a form.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The `Authorization` field with it.
    #[must_use]
    pub fn authorization(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", *self.0));
        let mut value =
            HeaderValue::try_from(text.as_str()).expect("a token has only visible characters");
        value.set_sensitive(true);
        value
    }

    /// Whether an `Authorization` field contains it, in constant time.
    #[must_use]
    pub fn is_carried_by(&self, authorization: &str) -> bool {
        let Some((scheme, given)) = authorization.split_once(' ') else {
            return false;
        };
        // Digests are compared, so that the position of a difference reveals nothing about the
        // token.
        scheme.eq_ignore_ascii_case("bearer")
            && Sha256::digest(given.trim()) == Sha256::digest(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Token, Error> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        std::fs::write(&file, text).expect("written");
        TokenSource::File(file).load()
    }

    #[test]
    fn is_read_without_white_space_and_never_printed() {
        let token = load(" abc.DEF-1_2~3+4/5==\n").expect("a token");
        assert_eq!(token.authorization(), "Bearer abc.DEF-1_2~3+4/5==");
        assert!(!format!("{token:?} {:?}", token.authorization()).contains("abc"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", " \n", "two words", "a\nb", "ä"] {
            assert!(matches!(load(text), Err(Error::NotAToken)), "{text:?}");
        }
        let missing = TokenSource::Env("XCWADO_NO_SUCH_VARIABLE".into());
        assert!(matches!(missing.load(), Err(Error::NoVariable(_))));
    }

    #[test]
    fn only_the_same_token_is_accepted() {
        let token = load("secret").expect("a token");
        for right in ["Bearer secret", "bearer secret", "BEARER  secret"] {
            assert!(token.is_carried_by(right), "{right}");
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer secre",
            "Bearer secrets",
            "Basic secret",
            "secret",
        ] {
            assert!(!token.is_carried_by(wrong), "{wrong}");
        }
    }
}
