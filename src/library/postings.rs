//! Postings: the studies that have a value, for each value that searches ask for.
//!
//! All of them are one ordered set of pairs. The postings of one value are a range of it, in the
//! order of registration; a search merges and intersects such ranges from the newest study on.

use std::collections::{BTreeSet, BinaryHeap};
use std::hash::BuildHasher;
use std::ops::RangeInclusive;

/// The place of a study among all: in the order of registration, then in that of its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64);

/// A value of an attribute: its field, and a hash of its text or the digits of its date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(u64);

/// The attribute of a token.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Uid = 1,
    PatientId,
    Accession,
    Modality,
    /// A component group of a name, in its plain form.
    Name,
    /// The first 1, 2, 4 and 8 letters of that.
    NamePrefix,
    Year,
    Month,
    Day,
    /// Dates that are none: each may match.
    Undated,
}

/// The lengths of prefixes with postings, in characters.
pub(super) const PREFIXES: [usize; 4] = [8, 4, 2, 1];

/// Bits of the position within a manifest. A manifest has at most 10,000 series.
const POSITION_BITS: u32 = 14;
const MOST_POSITION: u64 = (1 << POSITION_BITS) - 1;
/// The largest sequence that has a rank.
pub(super) const MOST_SEQUENCE: u64 = u64::MAX >> (POSITION_BITS + 1);

impl Rank {
    /// Before this one come all studies.
    pub(super) const NEWEST: Self = Self(u64::MAX);

    /// The study at a position of a manifest. Newest first, the studies of one manifest keep their
    /// order.
    pub(super) fn new(sequence: u64, position: usize) -> Self {
        let position = u64::try_from(position).unwrap_or(MOST_POSITION);
        let from_the_end = MOST_POSITION - position.min(MOST_POSITION);
        Self(sequence << POSITION_BITS | from_the_end)
    }

    pub(super) fn sequence(self) -> u64 {
        self.0 >> POSITION_BITS
    }

    pub(super) fn position(self) -> usize {
        usize::try_from(MOST_POSITION - (self.0 & MOST_POSITION)).unwrap_or(usize::MAX)
    }
}

impl Token {
    const fn first(field: Field) -> u64 {
        (field as u64) << 56
    }
}

/// The postings, and the key of their hashes: clients cannot choose values that collide.
#[derive(Debug, Default)]
pub(super) struct Postings {
    set: BTreeSet<(Token, Rank)>,
    hasher: std::hash::RandomState,
}

impl Postings {
    pub(super) fn token(&self, field: Field, text: &str) -> Token {
        Token(Token::first(field) | self.hasher.hash_one(text) >> 8)
    }

    /// The token of a year, month or day.
    pub(super) fn date(field: Field, digits: u32) -> Token {
        Token(Token::first(field) | u64::from(digits))
    }

    pub(super) fn add(&mut self, tokens: &[Token], rank: Rank) {
        self.set.extend(tokens.iter().map(|&token| (token, rank)));
    }

    /// Adds many at once: a sorted set is built ten times as fast as it grows.
    pub(super) fn add_all(&mut self, mut all: Vec<(Token, Rank)>) {
        all.extend(std::mem::take(&mut self.set));
        self.set = all.into_iter().collect();
    }

    pub(super) fn remove(&mut self, tokens: &[Token], rank: Rank) {
        for &token in tokens {
            self.set.remove(&(token, rank));
        }
    }

    /// The newest study with a token among those below `before`.
    fn newest(&self, token: Token, before: Rank) -> Option<Rank> {
        let range = (token, Rank(0))..(token, before);
        self.set.range(range).next_back().map(|&(_, rank)| rank)
    }

    /// The heads of tokens below `before`.
    pub(super) fn heads(&self, tokens: &[Token], before: Rank) -> Vec<Head> {
        let heads = tokens.iter().filter_map(|&token| {
            let newest = self.newest(token, before)?;
            Some((newest, token))
        });
        heads.collect()
    }

    /// The heads of the tokens that cover a range of days, as years and months where these are
    /// whole.
    pub(super) fn days(&self, days: &RangeInclusive<u32>) -> Vec<Head> {
        let mut heads = self.heads(&[Self::date(Field::Undated, 0)], Rank::NEWEST);
        self.cover(days, Field::Year, &mut heads);
        heads
    }

    /// Adds heads of this field for all dates within `days`, and of finer ones at both ends.
    fn cover(&self, days: &RangeInclusive<u32>, field: Field, heads: &mut Vec<Head>) {
        // How many days its numbers span, its first and last day, and the finer field.
        let (unit, ends, finer) = match field {
            Field::Year => (10_000, [101, 1231], Some(Field::Month)),
            Field::Month => (100, [1, 31], Some(Field::Day)),
            Field::Uid
            | Field::PatientId
            | Field::Accession
            | Field::Modality
            | Field::Name
            | Field::NamePrefix
            | Field::Day
            | Field::Undated => (1, [0, 0], None),
        };
        for (digits, head) in self.dates(field, days.start() / unit..=days.end() / unit) {
            let first = digits * unit;
            let is_whole = ends.iter().all(|end| days.contains(&(first + end)));
            match finer {
                Some(finer) if !is_whole => {
                    let start = first.max(*days.start());
                    let end = (first + unit - 1).min(*days.end());
                    self.cover(&(start..=end), finer, heads);
                }
                Some(_) | None => heads.push(head),
            }
        }
    }

    /// The years, months or days within a range that some study has, from the last one on.
    fn dates(&self, field: Field, within: RangeInclusive<u32>) -> Vec<(u32, Head)> {
        let first = Self::date(field, *within.start());
        let mut end = Token(Self::date(field, *within.end()).0 + 1);
        let mut dates = Vec::new();
        while first < end {
            let range = (first, Rank(0))..(end, Rank(0));
            let Some(&(token, newest)) = self.set.range(range).next_back() else {
                break;
            };
            let digits = u32::try_from(token.0 - Token::first(field));
            dates.extend(digits.map(|digits| (digits, (newest, token))));
            end = token;
        }
        dates
    }
}

/// The newest study of a token that was not passed yet.
pub(super) type Head = (Rank, Token);

/// The studies with one of several tokens, newest first.
pub(super) struct Union {
    heads: BinaryHeap<Head>,
}

impl Union {
    pub(super) fn new(heads: Vec<Head>) -> Self {
        Self {
            heads: heads.into(),
        }
    }

    /// The newest study below `before`.
    fn seek(&mut self, postings: &Postings, before: Rank) -> Option<Rank> {
        loop {
            let mut head = self.heads.peek_mut()?;
            if head.0 < before {
                return Some(head.0);
            }
            match postings.newest(head.1, before) {
                Some(newest) => head.0 = newest,
                None => drop(std::collections::binary_heap::PeekMut::pop(head)),
            }
        }
    }
}

/// The studies that are in all of several unions, newest first.
pub(super) struct Intersection {
    pub(super) unions: Vec<Union>,
    /// The number of postings looked at so far.
    pub(super) looked_at: usize,
}

/// The next study of an intersection.
pub(super) enum Next {
    Study(Rank),
    /// None was found above this rank within the permitted number of looks.
    NotAbove(Rank),
    None,
}

impl Intersection {
    /// The newest study below `before`, if at most so many looks find one.
    pub(super) fn next(&mut self, postings: &Postings, mut before: Rank, looks: usize) -> Next {
        // One look into each union makes progress.
        let most = self.looked_at + looks.max(self.unions.len());
        let (mut candidate, mut agreed) = (None, 0);
        for at in (0..self.unions.len()).cycle() {
            if agreed == self.unions.len() {
                break;
            }
            if self.looked_at >= most {
                return Next::NotAbove(before);
            }
            self.looked_at += 1;
            let Some(found) = self.unions[at].seek(postings, before) else {
                return Next::None;
            };
            agreed = if candidate == Some(found) {
                agreed + 1
            } else {
                1
            };
            candidate = Some(found);
            // The others may have this one, and none above it.
            before = Rank(found.0 + 1);
        }
        candidate.map_or(Next::None, Next::Study)
    }
}
