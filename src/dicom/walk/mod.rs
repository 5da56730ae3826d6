//! Checks that an instance is complete while its bytes arrive.
//!
//! A source may truncate an instance and still frame the rest correctly, so the framing is no
//! proof. The [`Walk`] goes from element to element to the end of the data set. It buffers the head
//! of one element and skips values by their length, so its memory is constant and a value of
//! gigabytes costs one addition. It does not enter values of defined length. It accepts every data
//! set that [`super::dataset`] accepts, and more: it checks only that the bytes end where the data
//! set does.

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
    /// A walk at the start of a file.
    #[must_use]
    pub fn new() -> Self {
        Self(Stage::Meta(FileMeta::default()))
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Why the instance cannot become complete; later calls repeat it.
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
                self.take(&start.first)?;
                self.take(start.rest)
            }
            Stage::Plain(elements) => elements.push(bytes),
            Stage::Deflated(inflating) => inflating.push(bytes),
            Stage::Failed(error) => Err(*error),
        }
    }

    /// Checks that the instance ends here, and returns the bytes behind its data set.
    ///
    /// # Errors
    /// Why it is incomplete.
    pub fn finish(&self) -> Result<Tail, NotWhole> {
        match &self.0 {
            Stage::Meta(_) => Err(NotWhole::MetaCut),
            Stage::Plain(elements) => elements.finish(),
            Stage::Deflated(inflating) => inflating.finish(),
            Stage::Failed(error) => Err(*error),
        }
    }

    /// Whether the pushed bytes are inflated, which costs processor time.
    #[must_use]
    pub fn inflates(&self) -> bool {
        matches!(self.0, Stage::Deflated(_))
    }

    /// The number of next bytes that the walk need not read.
    #[must_use]
    pub fn unread(&self) -> u64 {
        match &self.0 {
            Stage::Plain(elements) => elements.unread(),
            Stage::Meta(_) | Stage::Deflated(_) | Stage::Failed(_) => 0,
        }
    }

    /// Skips at most [`Walk::unread`] bytes.
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
