//! Structured reports as text (PS3.18 10.4.1.1.3).

use bytes::Bytes;

use super::{Context, Error, described};
use crate::instance::Instance;
use crate::present::metadata;
use crate::present::report::{self, Format};

/// The text of a structured report, held by the memory that it takes.
///
/// # Errors
/// Why the data set cannot be read.
pub async fn report(context: &Context, instance: Instance, form: Format) -> Result<Bytes, Error> {
    let mut described = described(context, instance).await?;
    let most = metadata::most_of_text(&described.json);
    described.share.grow(most).await?;
    // Links to bulk data are not part of the text.
    let json = metadata::rooted(&described.json, "");
    let set = serde_json::from_slice(&json).map_err(|_ours| Error::Internal)?;
    let text = report::text(&set, form).into();
    drop((json, set, described.json));
    Ok(described.share.hold(text))
}
