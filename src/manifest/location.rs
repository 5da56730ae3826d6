//! Checks the locations that a manifest gives.

use super::retrieve_url;
use super::warning::{Defect, Warnings};
use crate::community::Address;
use crate::ihe::RetrieveLocationUid;
use crate::resource::Target;

/// The DICOMweb base URI of a Retrieve URL that `target` has. A URL that cannot select a source adds a warning.
pub(super) fn base_uri(url: &str, target: &Target, warnings: &mut Warnings) -> Option<Box<str>> {
    let Ok(base) = retrieve_url::base_uri(url, target) else {
        warnings.left_out(Defect::ForeignAddress);
        return None;
    };
    if let Some(base) = &base
        && let Err(why) = Address::parse(base)
    {
        warnings.left_out(Defect::UnusableAddress(why));
    }
    base
}

/// Warns of a Retrieve Location UID that is not an OID as the standard requires it.
pub(super) fn check_uid(uid: &RetrieveLocationUid, warnings: &mut Warnings) {
    match uid {
        RetrieveLocationUid::Opaque(name) => {
            warnings.read_all_the_same(Defect::OpaqueLocation(name.clone()));
        }
        RetrieveLocationUid::Oid(oid) if !oid.has_registrable_root() => {
            warnings.read_all_the_same(Defect::UnregistrableOid(oid.as_str().into()));
        }
        RetrieveLocationUid::Oid(_) => {}
    }
}
