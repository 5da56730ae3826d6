//! The HTTP statuses of the errors below the gateway.

use std::io::ErrorKind;

use http::StatusCode;

use crate::dicom::{dataset, from_json, part10};
use crate::manifest::{fhir, kos};
use crate::{access, body, budget, library, manifest, object, pixels, source};

pub(super) fn of_login(error: access::person::Failure) -> StatusCode {
    use access::person::Failure;
    match error {
        Failure::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Denied | Failure::Refused(_) => StatusCode::FORBIDDEN,
        Failure::Unknown => StatusCode::BAD_REQUEST,
        Failure::NoRandom => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) fn of_link(error: &access::LinkError) -> StatusCode {
    match error {
        access::LinkError::TooMany => StatusCode::INSUFFICIENT_STORAGE,
        access::LinkError::Io(_) | access::LinkError::NoRandom(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

pub(super) fn of_store(error: &library::Error) -> StatusCode {
    match error {
        library::Error::Manifest(error) => of_manifest(error),
        library::Error::UnknownSeries(_) => StatusCode::UNPROCESSABLE_ENTITY,
        library::Error::Conflict(_) => StatusCode::CONFLICT,
        library::Error::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        library::Error::Lost => StatusCode::GONE,
        library::Error::Full => StatusCode::INSUFFICIENT_STORAGE,
        library::Error::Io(error) if error.kind() == ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        library::Error::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn of_manifest(error: &manifest::Error) -> StatusCode {
    match error {
        manifest::Error::Unrecognised
        | manifest::Error::Binary
        | manifest::Error::DicomJson(from_json::Error::NotJson { .. }) => StatusCode::BAD_REQUEST,
        manifest::Error::DicomJson(
            from_json::Error::NotADataSet | from_json::Error::TooDeep | from_json::Error::TooLarge,
        ) => StatusCode::UNPROCESSABLE_ENTITY,
        manifest::Error::Kos(error) => of_kos(error),
        manifest::Error::Fhir(error) => match error {
            fhir::Error::UnsupportedXml => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            fhir::Error::NotJson { .. } => StatusCode::BAD_REQUEST,
            fhir::Error::NotABundle
            | fhir::Error::NoImagingStudy
            | fhir::Error::InvalidUid { .. }
            | fhir::Error::NotAList { .. }
            | fhir::Error::TooLarge { .. }
            | fhir::Error::Empty => StatusCode::UNPROCESSABLE_ENTITY,
        },
    }
}

/// A body that is not DICOM is a bad request; valid DICOM that is not a usable manifest is
/// unprocessable.
fn of_kos(error: &kos::Error) -> StatusCode {
    match error {
        kos::Error::Part10(
            part10::Error::NotPart10
            | part10::Error::NoTransferSyntax
            | part10::Error::Deflate
            | part10::Error::Unidentified
            | part10::Error::DataSet(dataset::Error::Truncated | dataset::Error::Malformed(_)),
        ) => StatusCode::BAD_REQUEST,
        kos::Error::Part10(part10::Error::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        kos::Error::Part10(part10::Error::DataSet(dataset::Error::TooDeep))
        | kos::Error::NotAKos
        | kos::Error::RejectionNote
        | kos::Error::NoEvidence
        | kos::Error::InvalidUid(_)
        | kos::Error::TooLarge { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

pub(super) fn of_source(error: &source::Error) -> StatusCode {
    match error {
        source::Error::NotFound => StatusCode::NOT_FOUND,
        source::Error::Gone => StatusCode::GONE,
        source::Error::BadRequest => StatusCode::BAD_REQUEST,
        source::Error::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        source::Error::Forbidden | source::Error::NotForUser(_) => StatusCode::FORBIDDEN,
        // These statuses concern the request itself, at whichever hop they were raised.
        source::Error::Status(413) => StatusCode::PAYLOAD_TOO_LARGE,
        source::Error::InstancesOnly => StatusCode::NOT_IMPLEMENTED,
        source::Error::Status(508) => StatusCode::LOOP_DETECTED,
        source::Error::Overloaded { .. }
        | source::Error::Resting { .. }
        | source::Error::NoToken { .. }
        | source::Error::Crowded { .. } => StatusCode::SERVICE_UNAVAILABLE,
        source::Error::NotModified
        | source::Error::Status(_)
        | source::Error::Malformed(_)
        | source::Error::Unreachable
        | source::Error::OtherPatient
        | source::Error::HungUp => StatusCode::BAD_GATEWAY,
        source::Error::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        source::Error::BrokeOff(error) => of_body(error),
    }
}

pub(super) fn of_pixels(error: &pixels::Error) -> StatusCode {
    match error {
        pixels::Error::NoDecoder => StatusCode::NOT_ACCEPTABLE,
        pixels::Error::Damaged(_)
        | pixels::Error::Unsupported(_)
        | pixels::Error::TooLarge
        | pixels::Error::Exhausted
        | pixels::Error::Forbidden => StatusCode::UNPROCESSABLE_ENTITY,
        pixels::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// An object too large for one request is too large each time, so a retry is pointless.
pub(super) fn of_memory(error: budget::Error) -> StatusCode {
    match error {
        budget::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
        budget::Error::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

pub(super) fn of_instance(error: &object::Error) -> StatusCode {
    match error {
        object::Error::Body(error) => of_body(error),
        object::Error::Memory(error) => of_memory(*error),
        object::Error::NoPixelData | object::Error::NoFrame(_) | object::Error::NoValue => {
            StatusCode::NOT_FOUND
        }
        object::Error::Part10(_)
        | object::Error::DataSet(_)
        | object::Error::TooLarge
        | object::Error::Pixels(_)
        | object::Error::Offsets => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

pub(super) fn of_body(error: &body::Error) -> StatusCode {
    match error {
        body::Error::Silent | body::Error::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        body::Error::Memory(error) => of_memory(*error),
        body::Error::Disconnected
        | body::Error::Truncated
        | body::Error::Malformed(_)
        | body::Error::NotWhole(_)
        | body::Error::Conflicting
        | body::Error::Missing(_)
        | body::Error::Unreadable
        | body::Error::Revoked
        | body::Error::Abandoned => StatusCode::BAD_GATEWAY,
    }
}
