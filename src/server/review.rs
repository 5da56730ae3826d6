//! Reviews of open connections: certificates expire, and operators remove authorities.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::Tls;
use super::seats::{Occupant, Reason, Seats};
use crate::credentials::now;

const EVERY: Duration = Duration::from_secs(1);

/// Reviews open connections from time to time: for expired certificates, and against new
/// authorities once they have been loaded.
pub(super) async fn review(seats: &Seats, tls: &Tls) {
    let mut known = tls.current();
    loop {
        tokio::time::sleep(EVERY).await;
        let current = tls.current();
        let is_new = !Arc::ptr_eq(&known, &current);
        let moment = now();
        let doubtful = |occupant: &Arc<Occupant>| {
            let proof = occupant.proof.get();
            proof.is_some_and(|proof| is_new || proof.has_expired(moment))
        };
        let doubtful: Vec<_> = seats.proven().into_iter().filter(doubtful).collect();
        known = current;
        let Some(verifier) = known.value.clients.clone().filter(|_| !doubtful.is_empty()) else {
            continue;
        };
        // Each review verifies a signature or two.
        let reviewing = spawn_blocking(move || {
            for occupant in doubtful {
                let proof = occupant.proof.get();
                if proof.is_some_and(|proof| !proof.is_good(&*verifier)) {
                    occupant.dismiss(Reason::Certificate);
                }
            }
        });
        if reviewing.await.is_err() {
            tracing::error!("the certificates of open connections could not be reviewed");
        }
    }
}
