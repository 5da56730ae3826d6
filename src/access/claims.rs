//! What an authorization server says about the sender of a request.

use std::fmt;
use std::sync::Arc;

use crate::dicom::PatientIds;
use crate::ihe::HomeCommunityId;

/// The claims of a verified access token (RFC 9068, RFC 7662) with those of IHE IUA (ITI TF-2
/// 3.71.4.1.2.2), or of a person who has logged in. They are personal data: `Debug` shows the issuer
/// only.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// The name of the issuer in the settings.
    pub issuer: Arc<str>,
    /// `sub`.
    pub subject: Box<str>,
    /// `client_id` or `azp`.
    pub client_id: Option<Box<str>>,
    /// `scope`.
    pub scopes: Box<[Box<str>]>,
    /// `subject_role`.
    pub roles: Box<[Code]>,
    /// `subject_organization` and `subject_organization_id`.
    pub organisations: Box<[Box<str>]>,
    /// `purpose_of_use`.
    pub purposes: Box<[Code]>,
    /// `home_community_id`: the community in which the request began.
    pub home_community_id: Option<HomeCommunityId>,
    /// `person_id`: the patient whom the token is about.
    pub patient: PatientIds,
    /// `exp`, in seconds since 1970.
    pub expires: i64,
}

/// A code of a code system (FHIR Coding).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The code system, by its URI.
    pub system: Option<Box<str>>,
    /// The code.
    pub code: Box<str>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
