//! OCSP responses that servers staple to their handshakes: of sources.

use crate::rig::authority::{Authority, with_tls};
use crate::rig::origin::Origin;
use crate::rig::study::{Study, at, location_uid};
use crate::rig::{AS_STORED, HERE, Rig, rad_160};

/// The status of a request to a gateway before a source that staples a response of its authority,
/// and the number of requests that the source got.
async fn status(is_revoked: bool, hours: i64) -> (u16, usize) {
    let study = Study::new(1).with(2, at(10));
    let origin = Origin::of(&study).await;
    let authority = Authority::new();
    let shown = authority.issue("127.0.0.1");
    let response = authority.respond(&shown, is_revoked, hours);
    let address = with_tls(origin.address, shown.stapling(response)).await;
    let location = origin.location_with(10, &format!("authorities = {:?}", authority.file()));
    let location = location.replace(&origin.url(), &format!("https://{address}/rs/"));
    let rig = Rig::start(&location);
    let path = rad_160(HERE, &location_uid(10), &study.path());
    let answer = rig.get(&path, &[AS_STORED]).await;
    (answer.status.as_u16(), origin.asked().len())
}

#[tokio::test]
async fn a_source_that_staples_its_revocation_gets_no_request() {
    assert_eq!(status(false, 5).await, (200, 1));
    assert_eq!(status(true, 5).await, (502, 0));
    // An expired response says nothing.
    assert_eq!(status(true, -1).await, (200, 1));
}
