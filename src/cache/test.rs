//! Instances to try the tiers with.

use super::Key;
use crate::dicom::part10::Identity;
use crate::dicom::{
    PatientIds, SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntax,
};
use crate::source::Representation;

pub(crate) fn identity(at: usize) -> Identity {
    Identity {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").expect("a UID"),
        sop_instance: SopInstanceUid::parse(&format!("1.2.3.{at}")).expect("a UID"),
        study: StudyInstanceUid::parse("1.2").expect("a UID"),
        series: SeriesInstanceUid::parse("1.2.3").expect("a UID"),
        transfer_syntax: TransferSyntax::explicit_vr_little_endian(),
        patient: PatientIds::default(),
    }
}

pub(crate) fn key(at: usize) -> Key {
    let identity = identity(at);
    Key {
        place: "here".into(),
        study: identity.study,
        series: identity.series,
        instance: identity.sop_instance,
        representation: Representation::AsStored,
    }
}
