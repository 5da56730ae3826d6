//! The metadata of an instance (PS3.18 10.4.1.1.2).

use super::{Context, Error};
use crate::instance::Instance;
use crate::object::{Extent, LEAST_KEPT, skim};
use crate::present::metadata::{Described, describe, named};

/// The metadata of an instance: cached, or read from its data set and then cached.
///
/// # Errors
/// Why the data set cannot be read.
pub async fn described(context: &Context, instance: Instance) -> Result<Described, Error> {
    let derived = context.retriever.cache().derived();
    if let Some(json) = instance
        .digest()
        .and_then(|digest| derived.metadata(&digest))
    {
        // The text stays in memory while it is sent, even if the cache evicts it.
        let share = context.share(json.len() as u64).await?;
        return Ok(Described {
            json,
            share,
            is_read: true,
        });
    }
    let target = instance.identity.target();
    let digest = instance.digest();
    let with_digest = digest.is_none();
    let share = context.share(LEAST_KEPT).await?;
    let skimmed = skim(instance.body, Extent::Whole, with_digest, share).await?;
    let digest = digest.or(skimmed.blake3);
    let described = describe(skimmed, &target).await?;
    if let Some(digest) = digest {
        derived.keep_metadata(digest, described.json.clone());
    }
    Ok(described)
}

/// The metadata of one of several instances. One whose data set cannot be read is named, so that it
/// does not close the others' answer, and is not left out silently.
///
/// # Errors
/// Why the instance broke off, or that the budget has no memory.
pub async fn described_or_named(context: &Context, instance: Instance) -> Result<Described, Error> {
    let identity = instance.identity.clone();
    match described(context, instance).await {
        Err(error) if error.is_passed_over() => {
            Ok(named(&identity, context.share(LEAST_KEPT).await?))
        }
        outcome => outcome,
    }
}
