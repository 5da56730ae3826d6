//! Walks over the elements of a data set.

use dicom_core::{Tag, VR};

use super::declared::PixelDeclaration;
use super::head::{Head, LONGEST, PartialHead, SHORTEST};
use super::verdict::{NotWhole, Tail};
use crate::dicom::dataset::{
    ITEM, ITEM_END, MAX_DEPTH, Order, PIXEL_DATA, SEQUENCE_END, Syntax, syntax_of_item,
};
use crate::dicom::transfer_syntax::Encoding;

#[derive(Debug)]
pub(super) struct Elements {
    syntax: Syntax,
    /// The open containers of undefined length, the outermost first.
    open: Vec<Level>,
    head: PartialHead,
    /// The remaining bytes of the current value.
    skip: u64,
    /// That of the top level.
    order: Order,
    declared: PixelDeclaration,
    /// The bytes behind the data set, once that has ended.
    tail: Option<Tail>,
}

/// A container of undefined length. Values of defined length are skipped as a whole.
#[derive(Debug, Clone, Copy)]
enum Level {
    /// A sequence, with the encoding of its items.
    Sequence(Syntax),
    Item {
        syntax: Syntax,
        /// Whether its first element has not arrived.
        is_fresh: bool,
    },
    /// Encapsulated pixel data (PS3.5 A.4).
    Fragments,
}

impl Elements {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self {
            syntax: Syntax::of(encoding),
            order: Order::new(encoding),
            open: Vec::new(),
            head: PartialHead::default(),
            skip: 0,
            declared: PixelDeclaration::default(),
            tail: None,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), NotWhole> {
        loop {
            bytes = self.pass_value(bytes);
            if bytes.is_empty() {
                return Ok(());
            }
            bytes = match (&mut self.tail, bytes.first_chunk()) {
                (Some(tail), _) => {
                    tail.add(bytes);
                    return Ok(());
                }
                (None, Some(head)) if self.head.is_empty() => &bytes[self.element(head)?..],
                (None, _) => self.piece(bytes)?,
            };
        }
    }

    fn pass_value<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let length = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let (passed, rest) = bytes.split_at(length.min(bytes.len()));
        self.skip -= passed.len() as u64;
        self.declared.value(passed, self.syntax);
        rest
    }

    pub(super) fn unread(&self) -> u64 {
        if self.declared.is_reading() {
            0
        } else {
            self.skip
        }
    }

    pub(super) fn pass_over(&mut self, length: u64) {
        self.skip = self.skip.saturating_sub(length);
    }

    /// Takes a piece of a head that spans two chunks.
    fn piece<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], NotWhole> {
        let mut rest = self.head.fill(bytes, SHORTEST);
        if self.head.len() < SHORTEST {
            return Ok(rest);
        }
        let size = Head::size(self.head.padded(), self.syntax_of(self.head.padded()));
        rest = self.head.fill(rest, size);
        if self.head.len() == size {
            let head = *self.head.padded();
            let used = self.element(&head)?;
            if let Some(tail) = &mut self.tail {
                tail.add(&head[used..size]);
            }
            self.head.clear();
        }
        Ok(rest)
    }

    /// The encoding of the head that begins with these bytes.
    fn syntax_of(&self, bytes: &[u8; LONGEST]) -> Syntax {
        match self.open.last() {
            None | Some(Level::Fragments) => self.syntax,
            Some(Level::Sequence(syntax)) => *syntax,
            Some(Level::Item { syntax, is_fresh }) if *is_fresh => syntax_of_item(bytes, *syntax),
            Some(Level::Item { syntax, .. }) => *syntax,
        }
    }

    /// Takes a head and returns its length, or 0 behind the end of the data set.
    fn element(&mut self, bytes: &[u8; LONGEST]) -> Result<usize, NotWhole> {
        let syntax = self.syntax_of(bytes);
        let head = Head::read(bytes, syntax);
        match self.open.last_mut() {
            None => self.at_top(&head),
            Some(Level::Sequence(_)) => self.in_sequence(&head, syntax),
            Some(Level::Fragments) => self.in_fragments(&head),
            Some(item @ Level::Item { .. }) => {
                *item = Level::Item {
                    syntax,
                    is_fresh: false,
                };
                self.in_item(&head, syntax)
            }
        }
    }

    fn at_top(&mut self, head: &Head) -> Result<usize, NotWhole> {
        match head.tag {
            ITEM_END | SEQUENCE_END => Ok(head.size),
            // Behind pixel data, an item is one of the bytes that follow the data set.
            tag if self.order.is_foreign(tag, head.vr) => {
                self.tail = Some(Tail::default());
                Ok(0)
            }
            _ if head.is_item() => Err(NotWhole::StrayItem),
            tag => {
                self.order.pass(tag);
                self.declared.element(tag, head.length);
                self.begin(head, self.syntax)
            }
        }
    }

    fn in_sequence(&mut self, head: &Head, syntax: Syntax) -> Result<usize, NotWhole> {
        match (head.tag, head.length) {
            (ITEM, Some(length)) => self.skip = length.into(),
            (ITEM, None) => self.open(Level::Item {
                syntax,
                is_fresh: true,
            })?,
            (SEQUENCE_END, _) => drop(self.open.pop()),
            // Some writers put one behind an item of defined length.
            (ITEM_END, _) => {}
            (_, _) => return Err(NotWhole::NoItem),
        }
        Ok(head.size)
    }

    fn in_item(&mut self, head: &Head, syntax: Syntax) -> Result<usize, NotWhole> {
        match head.tag {
            ITEM_END => {
                self.open.pop();
                Ok(head.size)
            }
            // Its own delimiter is missing.
            ITEM | SEQUENCE_END => {
                self.open.pop();
                self.in_sequence(head, syntax)
            }
            _ if head.is_item() => Err(NotWhole::NoItem),
            _ => self.begin(head, syntax),
        }
    }

    fn in_fragments(&mut self, head: &Head) -> Result<usize, NotWhole> {
        let is_top = self.open.len() == 1 && self.order.last() == PIXEL_DATA;
        match (head.tag, head.length) {
            (ITEM, Some(length)) => {
                if is_top {
                    self.declared.fragment(length);
                }
                self.skip = length.into();
            }
            (SEQUENCE_END, _) => drop(self.open.pop()),
            (Tag(0, _), _) if is_top && self.declared.has_all_fragments() => {
                self.open.pop();
                self.tail = Some(Tail::default());
                return Ok(0);
            }
            (_, _) => return Err(NotWhole::NoItem),
        }
        Ok(head.size)
    }

    /// Starts the value of an element.
    fn begin(&mut self, head: &Head, syntax: Syntax) -> Result<usize, NotWhole> {
        match (head.length, head.vr) {
            (Some(length), _) => self.skip = length.into(),
            (None, _) if head.tag == PIXEL_DATA => self.open(Level::Fragments)?,
            (None, Some(VR::OB | VR::OW)) => self.open(Level::Fragments)?,
            // CP-246: the items of a UN element are Implicit VR Little Endian.
            (None, Some(VR::UN)) => self.open(Level::Sequence(Syntax::ImplicitLittle))?,
            (None, _) => self.open(Level::Sequence(syntax))?,
        }
        Ok(head.size)
    }

    fn open(&mut self, level: Level) -> Result<(), NotWhole> {
        // An item and its sequence count as one level.
        if self.open.len() >= 2 * MAX_DEPTH {
            return Err(NotWhole::TooDeep);
        }
        self.open.push(level);
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<Tail, NotWhole> {
        if self.skip > 0 {
            return Err(NotWhole::ValueCut);
        }
        let tail = match (self.tail, self.open.as_slice()) {
            (Some(tail), _) => tail,
            (None, []) => self.rest()?,
            (None, [Level::Fragments]) if self.declared.has_all_fragments() => self.rest()?,
            (None, _) => return Err(NotWhole::SequenceCut),
        };
        self.declared.check()?;
        Ok(tail)
    }

    /// Classifies the last bytes, which are fewer than the head of an element.
    fn rest(&self) -> Result<Tail, NotWhole> {
        let rest = self.head.bytes();
        // Behind fragments, the same bytes may be the head of another one.
        let is_behind = match self.open.as_slice() {
            [] => self.order.ends_before(rest),
            _ => rest.iter().all(|byte| *byte == 0) || matches!(rest, b"\n" | b"\r\n"),
        };
        if !is_behind {
            return Err(NotWhole::HeadCut);
        }
        let mut tail = Tail::default();
        tail.add(rest);
        Ok(tail)
    }
}
