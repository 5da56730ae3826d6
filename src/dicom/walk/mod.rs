//! Whether an instance is whole, found out while its bytes arrive.
//!
//! A source may cut an instance and still frame the cut correctly, so the framing is no proof. The
//! [`Walk`] goes from element to element to the end of the data set. It holds the head of one element
//! and counts over values, so its memory does not depend on what passes, and a value of gigabytes costs
//! one addition. What has a defined length is not looked into. It takes every data set that
//! [`super::dataset`] takes, and more: its question is only whether the bytes end where the data set does.

mod declared;
mod elements;
mod head;
mod inflate;
mod meta;
mod verdict;

pub use verdict::{NotWhole, Tail};

use super::transfer_syntax::Encoding;
use elements::Elements;
use inflate::Inflating;
use meta::FileMeta;

/// Walks over one Part 10 file that arrives in chunks of any size.
///
/// ```
/// use xcwado::dicom::walk::{NotWhole, Walk};
///
/// let mut walk = Walk::new();
/// walk.push(&[0; 100])?;
/// assert_eq!(walk.finish(), Err(NotWhole::MetaCut));
/// # Ok::<(), NotWhole>(())
/// ```
#[derive(Debug)]
pub struct Walk(Stage);

#[derive(Debug)]
enum Stage {
    Meta(FileMeta),
    Plain(Elements),
    Deflated(Box<Inflating>),
    Failed(NotWhole),
}

impl Walk {
    /// Of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Stage::Meta(FileMeta::default()))
    }

    /// Takes the bytes that follow.
    ///
    /// # Errors
    /// Why the instance cannot be whole whatever follows; from then on always the same.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), NotWhole> {
        let pushed = self.take(bytes);
        if let Err(error) = pushed {
            self.0 = Stage::Failed(error);
        }
        pushed
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), NotWhole> {
        match &mut self.0 {
            Stage::Meta(meta) => {
                let Some(start) = meta.push(bytes)? else {
                    return Ok(());
                };
                self.0 = match start.encoding {
                    Encoding::Deflated => Stage::Deflated(Box::default()),
                    encoding @ (Encoding::ImplicitLittle
                    | Encoding::ExplicitLittle
                    | Encoding::ExplicitBig) => Stage::Plain(Elements::new(encoding)),
                };
                self.take(&start.group)?;
                self.take(start.rest)
            }
            Stage::Plain(elements) => elements.push(bytes),
            Stage::Deflated(inflating) => inflating.push(bytes),
            Stage::Failed(error) => Err(*error),
        }
    }

    /// Whether the instance is whole if nothing follows, and what stands behind its data set.
    ///
    /// # Errors
    /// Why it is not.
    pub fn finish(&self) -> Result<Tail, NotWhole> {
        match &self.0 {
            Stage::Meta(_) => Err(NotWhole::MetaCut),
            Stage::Plain(elements) => elements.finish(),
            Stage::Deflated(inflating) => inflating.finish(),
            Stage::Failed(error) => Err(*error),
        }
    }

    /// Whether pushing costs more than the bytes that are pushed: they are inflated.
    #[must_use]
    pub fn inflates(&self) -> bool {
        matches!(self.0, Stage::Deflated(_))
    }

    /// How many of the bytes that follow need not be looked at.
    #[must_use]
    pub fn unread(&self) -> u64 {
        match &self.0 {
            Stage::Plain(elements) => elements.unread(),
            Stage::Meta(_) | Stage::Deflated(_) | Stage::Failed(_) => 0,
        }
    }

    /// Takes [`Walk::unread`] bytes, or fewer, without being shown them.
    pub fn pass_over(&mut self, length: u64) {
        if let Stage::Plain(elements) = &mut self.0 {
            elements.pass_over(length);
        }
    }
}

impl Default for Walk {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
