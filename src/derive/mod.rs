//! Everything that the gateway makes of instances, because sources need to give nothing else:
//! metadata, frames, values, pictures, reports, and instances in other transfer syntaxes.
//!
//! Nothing here knows HTTP. An instance is opened when its turn comes, from a tier or from its
//! source; of its content only the metadata and the index of its frames are cached, by its digest.

mod all_values;
mod described;
mod error;
mod frames;
mod instance;
mod pictures;
mod reports;
mod transcoded;
mod values;

pub use all_values::{AllValues, ValueFilter, ValuePart};
pub use described::{described, described_or_named};
pub use error::Error;
pub use frames::{FrameParts, InstanceFrames};
pub use instance::{Context, InOrder, SelectedInstance, SelectedInstances};
pub use pictures::{ImageParts, PictureParts, Renderer, Style};
pub use reports::report;
pub use transcoded::transcoded;
pub use values::{EncapsulatedDocument, OpenedValue, PIXEL_DATA, open_value};
