//! Exports a registered manifest with addresses that lead to this gateway (MADO vol 3 6.X.2.14 for
//! Key Object Selection documents; the addresses of Endpoints for Bundles), and with an identifier
//! of its own, because a changed document is another document.

mod bundle;
mod identity;
mod key_object;

use std::collections::HashSet;

use super::Error;
use super::form::Document;

/// The addresses and the identity of an exported manifest.
#[derive(Debug)]
pub struct Export<'a> {
    /// The Series Instance UIDs that clients retrieve here.
    pub series: HashSet<&'a str>,
    /// The DICOMweb root of the manifest, without a trailing slash.
    pub root: &'a str,
    /// Its WADO-URI service.
    pub wado_uri: &'a str,
    /// Whatever the content depends on besides the original: exports of one original for the same
    /// context have the same identifier.
    pub context: &'a str,
    /// Whether a Bundle is of FHIR R5.
    pub is_r5: bool,
}

impl Export<'_> {
    /// Exports a registered document.
    ///
    /// # Errors
    /// [`Error`] if the document is no longer readable.
    pub fn write(&self, document: &[u8]) -> Result<Vec<u8>, Error> {
        match Document::open(document)? {
            Document::Kos(file) => {
                key_object::write(&file, self).map_err(|error| Error::Kos(error.into()))
            }
            Document::Fhir(text) => bundle::write(&text, self).ok_or(Error::Unrecognised),
        }
    }
}

#[cfg(test)]
mod tests;
