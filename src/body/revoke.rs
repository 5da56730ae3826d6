//! A body that breaks off when the right to read it is revoked.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use super::{Body, Kind};

/// Ready when the right is revoked.
pub(super) type Revocation = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Body {
    /// The same body, until this is ready: then it fails with
    /// [`Error::Revoked`](super::Error::Revoked).
    #[must_use]
    pub fn until(mut self, revoked: impl Future<Output = ()> + Send + 'static) -> Self {
        self.revocation = Some(Box::pin(revoked));
        self
    }

    pub(super) fn is_revoked(&mut self, context: &mut Context<'_>) -> bool {
        let has_more = matches!(self.kind, Kind::Full(Some(_)) | Kind::Generated { .. });
        let revocation = self.revocation.as_mut().filter(|_| has_more);
        revocation.is_some_and(|revoked| revoked.as_mut().poll(context).is_ready())
    }
}
