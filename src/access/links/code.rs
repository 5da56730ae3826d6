//! One-time codes: a link with one opens nothing until somebody has entered it.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::random::{self, NoRandom};

/// Wrong codes after which a link is revoked: the chance to guess one is 1 in 20 million.
const ATTEMPTS: u8 = 5;

/// The digest of a code, with a salt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CodeDigest {
    salt: String,
    digest: String,
    left: u8,
}

/// What came of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlocking {
    /// The link is open.
    Unlocked,
    /// It was wrong.
    Refused,
    /// It was wrong for the last time: the link is revoked.
    Exhausted,
}

/// A new code of eight digits, and its digest.
pub(super) fn new_code() -> Result<(CodeDigest, String), NoRandom> {
    let number = u64::from_be_bytes(random::bytes()?);
    let code = format!("{:08}", number % 100_000_000);
    let salt = HEXLOWER.encode(&random::bytes::<16>()?);
    let digest = CodeDigest {
        digest: digest(&salt, &code),
        salt,
        left: ATTEMPTS,
    };
    Ok((digest, code))
}

impl CodeDigest {
    pub(super) fn try_code(&mut self, code: &str) -> Unlocking {
        if digest(&self.salt, code.trim()) == self.digest {
            return Unlocking::Unlocked;
        }
        self.left = self.left.saturating_sub(1);
        match self.left {
            0 => Unlocking::Exhausted,
            _ => Unlocking::Refused,
        }
    }
}

fn digest(salt: &str, code: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(format!("{salt}\n{code}")))
}
