//! In which transfer syntaxes instances leave (PS3.18 8.7.3).

use crate::dicom::{Encoding, TransferSyntax, TransferSyntaxes};
use crate::instance::Instance;
use crate::object;

/// What is asked of sources for a client that accepts these: what is not compressed is rewritten
/// here.
pub(super) fn fetched(accepted: &TransferSyntaxes) -> TransferSyntaxes {
    const REWRITTEN: [&str; 3] = [
        TransferSyntax::IMPLICIT_VR_LITTLE_ENDIAN,
        TransferSyntax::EXPLICIT_VR_BIG_ENDIAN,
        TransferSyntax::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ];
    match accepted {
        TransferSyntaxes::OneOf(uids) if accepts_explicit(uids) => {
            let more = REWRITTEN.iter().map(|uid| (*uid).to_owned());
            TransferSyntaxes::OneOf(uids.iter().cloned().chain(more).collect())
        }
        TransferSyntaxes::AsStored | TransferSyntaxes::OneOf(_) => accepted.clone(),
    }
}

fn accepts_explicit(uids: &[String]) -> bool {
    uids.iter()
        .any(|uid| uid == TransferSyntax::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// What is made of instances for a client that accepts these.
pub(super) fn rewriting(accepted: &TransferSyntaxes) -> fn(Instance) -> Instance {
    let deflated = TransferSyntax::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
    match accepted {
        TransferSyntaxes::OneOf(uids) if !uids.iter().any(|uid| uid == deflated) => rewritten,
        TransferSyntaxes::AsStored | TransferSyntaxes::OneOf(_) => permitted,
    }
}

/// PS3.18 8.7.3.3: these must not leave as they are stored, whatever a client accepts.
fn permitted(instance: Instance) -> Instance {
    match instance.identity.transfer_syntax.encoding() {
        Encoding::ImplicitLittle | Encoding::ExplicitBig => rewritten(instance),
        Encoding::ExplicitLittle | Encoding::Deflated => instance,
    }
}

/// What is not compressed, in Explicit VR Little Endian.
fn rewritten(instance: Instance) -> Instance {
    if !object::is_rewritable(&instance.identity.transfer_syntax) {
        return instance;
    }
    let mut identity = instance.identity;
    identity.transfer_syntax = TransferSyntax::explicit_vr_little_endian();
    Instance {
        identity,
        body: object::explicit_little(instance.body),
        way: instance.way,
        sha256: None,
        stamp: None,
    }
}
