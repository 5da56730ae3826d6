//! The results of a search, as far as one response gives them.

use bytes::Bytes;

use crate::gateway::selection::LEFT_OUT;
use crate::manifest::PackedOutline;
use crate::search::Row;

/// The results of a search, as far as one response gives them.
pub(super) struct Results {
    pub(super) rows: Box<dyn Iterator<Item = Bytes> + Send>,
    pub(super) remainder: Remainder,
    /// Whether some manifests could not be read.
    pub(super) has_unreadable: bool,
    /// Whether manifests are left out because they name another patient than an earlier one.
    pub(super) has_left_out: bool,
}

/// The results that another page would give.
pub(super) enum Remainder {
    Nothing,
    Counted(usize),
    Some,
    /// The page is as large as the server permits.
    TooMany,
}

impl Results {
    pub(super) fn none() -> Self {
        Self {
            rows: Box::new(std::iter::empty()),
            remainder: Remainder::Nothing,
            has_unreadable: false,
            has_left_out: false,
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        // PS3.18 8.3.4.4, word for word but for the number where it is not known.
        let remainder = match self.remainder {
            Remainder::Nothing => None,
            Remainder::Counted(count) => Some(format!(
                "There are {count} additional results that can be requested"
            )),
            Remainder::Some => {
                Some("There are additional results that can be requested".to_owned())
            }
            Remainder::TooMany => Some(
                "The number of results exceeded the maximum supported by the server. Additional results can be requested."
                    .to_owned(),
            ),
        };
        let unreadable = self
            .has_unreadable
            .then(|| "Some manifests cannot be read and were not searched".to_owned());
        let left_out = self.has_left_out.then(|| LEFT_OUT.to_owned());
        let warnings = remainder.into_iter().chain(unreadable).chain(left_out);
        warnings.collect()
    }
}

/// The rows of one page, while they are found one after another.
pub(super) struct Page {
    skip: usize,
    pub(super) most: usize,
    /// Places of the page that stay empty.
    empty: usize,
    pub(super) rows: Vec<PageRow>,
    /// Bytes of rows that are serialised.
    pub(super) bytes: u64,
    /// Whether there are more rows than fit.
    pub(super) is_exceeded: bool,
}

pub(super) enum PageRow {
    /// The library holds the outline in any case; the row is serialised when its turn comes.
    Study(PackedOutline),
    /// The manifest need not be held until then.
    Serialised(Bytes),
}

impl Page {
    pub(super) fn new(skip: usize, most: usize) -> Self {
        Self {
            skip,
            most,
            empty: 0,
            rows: Vec::new(),
            bytes: 0,
            is_exceeded: false,
        }
    }

    /// The number of results that the page still needs, with the one that tells that there are more.
    pub(super) fn needed(&self) -> usize {
        let filled = self.rows.len() + self.empty;
        let free = self.most.saturating_sub(filled);
        self.skip.saturating_add(free).saturating_add(1)
    }

    /// Leaves a place empty, so that the places of others do not depend on it.
    pub(super) fn leave_empty(&mut self) {
        self.empty += 1;
    }

    pub(super) fn add(&mut self, row: impl FnOnce() -> PageRow) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.rows.len() + self.empty < self.most {
            let row = row();
            if let PageRow::Serialised(row) = &row {
                self.bytes += row.len() as u64;
            }
            self.rows.push(row);
        } else {
            self.is_exceeded = true;
        }
    }
}

pub(super) fn serialised(row: &Row) -> Bytes {
    serde_json::to_vec(row).map_or_else(|_| Bytes::new(), Bytes::from)
}
