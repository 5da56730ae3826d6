//! The registered studies: by UID, in the order of registration, and by what searches ask for.

use std::collections::BTreeMap;

use super::postings::{Field, Head, Intersection, Next, PREFIXES, Postings, Rank, Token, Union};
use crate::dicom::StudyInstanceUid;
use crate::manifest::{Id, Outline};
use crate::search::{Condition, Query, plain_name};

/// Sequences of a block: studies are counted by block, so that an offset skips whole blocks.
const BLOCK: u64 = 1024;

/// An entry for a study in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) manifest: Id,
    pub(super) rank: Rank,
}

/// The registered studies. The first manifest that lists a study ranks and describes it.
#[derive(Debug, Default)]
pub(super) struct Studies {
    /// In the order of their registration.
    by_uid: BTreeMap<StudyInstanceUid, Vec<Mention>>,
    by_rank: BTreeMap<Rank, StudyInstanceUid>,
    /// The number of studies in each block.
    blocks: BTreeMap<u64, usize>,
    postings: Postings,
}

/// Studies to add at once.
pub(super) type Batch = Vec<(Token, Rank)>;

impl Studies {
    pub(super) fn mentions(&self, study: &StudyInstanceUid) -> &[Mention] {
        self.by_uid.get(study).map_or(&[], Vec::as_slice)
    }

    pub(super) fn at(&self, rank: Rank) -> &[Mention] {
        let study = self.by_rank.get(&rank);
        study.map_or(&[], |study| self.mentions(study))
    }

    /// Adds the mention of a study by a manifest that is registered last.
    pub(super) fn add(&mut self, mention: Mention, outline: &Outline) {
        let (rank, tokens) = self.mention(mention, outline);
        self.postings.add(&tokens, rank);
    }

    /// As [`Studies::add`]; the postings come with [`Studies::add_all`].
    pub(super) fn add_to(&mut self, batch: &mut Batch, mention: Mention, outline: &Outline) {
        let (rank, tokens) = self.mention(mention, outline);
        batch.extend(tokens.into_iter().map(|token| (token, rank)));
    }

    pub(super) fn add_all(&mut self, batch: Batch) {
        self.postings.add_all(batch);
    }

    /// Notes a mention; the rank of its study, and the tokens to post there.
    fn mention(&mut self, mention: Mention, outline: &Outline) -> (Rank, Vec<Token>) {
        let mentions = self.by_uid.entry(outline.uid.clone()).or_default();
        mentions.push(mention);
        match mentions.as_slice() {
            [_only] => {
                self.by_rank.insert(mention.rank, outline.uid.clone());
                *self.blocks.entry(block(mention.rank)).or_default() += 1;
                (mention.rank, self.tokens(outline))
            }
            // A client may see this manifest and not the first.
            [first, ..] => (first.rank, self.tokens(outline)),
            [] => (mention.rank, Vec::new()),
        }
    }

    /// Removes the mention of a study by a manifest. `outline` gives the outline of any mention.
    pub(super) fn remove(
        &mut self,
        study: &StudyInstanceUid,
        manifest: Id,
        outline: impl Fn(Mention) -> Option<Outline>,
    ) {
        let Some(mentions) = self.by_uid.remove(study) else {
            return;
        };
        let rank = mentions.first().map(|first| first.rank);
        for outline in mentions.iter().filter_map(|&mention| outline(mention)) {
            let tokens = self.tokens(&outline);
            rank.inspect(|&rank| self.postings.remove(&tokens, rank));
        }
        if let Some(rank) = rank {
            self.by_rank.remove(&rank);
            self.uncount(rank);
        }
        for mention in mentions {
            if mention.manifest != manifest
                && let Some(outline) = outline(mention)
            {
                self.add(mention, &outline);
            }
        }
    }

    fn uncount(&mut self, rank: Rank) {
        if let Some(count) = self.blocks.get_mut(&block(rank)) {
            *count -= 1;
            if *count == 0 {
                self.blocks.remove(&block(rank));
            }
        }
    }

    /// The rank below which to continue behind the newest `count` studies.
    pub(super) fn behind(&self, mut count: usize) -> Rank {
        let mut before = Rank::NEWEST;
        for (&block, &studies) in self.blocks.iter().rev() {
            if studies > count {
                break;
            }
            count -= studies;
            before = Rank::new(block * BLOCK, usize::MAX);
        }
        let mut rest = self.by_rank.range(..before).rev();
        match count.checked_sub(1) {
            None => before,
            Some(last) => rest.nth(last).map_or(before, |(&rank, _)| rank),
        }
    }

    /// The next studies below `before` that may match, newest first, after at most so many looks;
    /// the rank from which to continue; and the number of looks.
    pub(super) fn candidates(&self, query: &Query, before: Rank, looks: usize) -> Candidates {
        let unions = self.unions(query, before);
        let (mut ranks, mut looked_at) = (Vec::new(), 0);
        if unions.is_empty() {
            ranks.extend(
                self.by_rank
                    .range(..before)
                    .rev()
                    .take(looks)
                    .map(|(&rank, _)| rank),
            );
            let next = ranks.last().copied().filter(|_| ranks.len() == looks);
            looked_at = ranks.len();
            return Candidates {
                ranks,
                next,
                looked_at,
            };
        }
        let mut all = Intersection { unions, looked_at };
        let mut next = Some(before);
        while let Some(before) = next
            && all.looked_at < looks
        {
            next = match all.next(&self.postings, before, looks - all.looked_at) {
                Next::Study(rank) => {
                    ranks.push(rank);
                    Some(rank)
                }
                Next::NotAbove(rank) => Some(rank),
                Next::None => None,
            };
        }
        looked_at += all.looked_at;
        Candidates {
            ranks,
            next,
            looked_at,
        }
    }

    /// What each key that the index can answer leaves.
    fn unions(&self, query: &Query, before: Rank) -> Vec<Union> {
        let keys = query.keys.iter().filter_map(|key| {
            let [tag] = key.path.tags() else { return None };
            let heads = self.heads(tag, query.condition(key)?, before)?;
            Some(Union::new(heads))
        });
        keys.collect()
    }

    /// The heads of a condition; `None` if there are no postings for this attribute.
    fn heads(&self, tag: &str, condition: Condition, before: Rank) -> Option<Vec<Head>> {
        let postings = &self.postings;
        let field = match tag {
            "0020000D" => Field::Uid,
            "00100020" => Field::PatientId,
            "00080050" => Field::Accession,
            "00080061" => Field::Modality,
            "00080020" => Field::Day,
            "00100010" => Field::Name,
            _ => return None,
        };
        let tokens = match condition {
            Condition::Texts(texts) => {
                let tokens = texts.iter().map(|text| postings.token(field, text));
                tokens.collect()
            }
            Condition::Name(name) => vec![postings.token(field, &name)],
            Condition::NamePrefix(name) => {
                let longest = prefixes(&name).next()?;
                vec![postings.token(Field::NamePrefix, longest)]
            }
            Condition::Dates(ranges) => {
                return Some(ranges.iter().flat_map(|days| postings.days(days)).collect());
            }
        };
        Some(postings.heads(&tokens, before))
    }

    fn tokens(&self, outline: &Outline) -> Vec<Token> {
        let postings = &self.postings;
        let mut tokens = vec![postings.token(Field::Uid, outline.uid.as_str())];
        tokens.extend(self.modalities(outline));
        let ids = outline.patient.ids.iter();
        tokens.extend(ids.map(|id| postings.token(Field::PatientId, id.value.trim())));
        let accessions = outline.accessions.iter();
        tokens
            .extend(accessions.map(|number| postings.token(Field::Accession, number.value.trim())));
        let name = outline.patient.name.as_deref().unwrap_or_default();
        for group in name
            .split('=')
            .map(plain_name)
            .filter(|group| !group.is_empty())
        {
            tokens.push(postings.token(Field::Name, &group));
            tokens.extend(prefixes(&group).map(|text| postings.token(Field::NamePrefix, text)));
        }
        tokens.extend(outline.date.as_deref().into_iter().flat_map(of_date));
        tokens
    }

    fn modalities(&self, outline: &Outline) -> impl Iterator<Item = Token> {
        let modalities = outline.modalities.iter();
        modalities.map(|modality| self.postings.token(Field::Modality, modality.trim()))
    }
}

/// Studies that may match.
pub(super) struct Candidates {
    pub(super) ranks: Vec<Rank>,
    pub(super) next: Option<Rank>,
    pub(super) looked_at: usize,
}

fn block(rank: Rank) -> u64 {
    rank.sequence() / BLOCK
}

/// The beginnings of a text that have postings, the longest first.
fn prefixes(text: &str) -> impl Iterator<Item = &str> {
    PREFIXES.into_iter().filter_map(|length| {
        let last = text.char_indices().nth(length - 1);
        last.and_then(|(at, letter)| text.get(..at + letter.len_utf8()))
    })
}

/// The tokens of a date. One that is not of eight digits may match any range.
fn of_date(date: &str) -> Vec<Token> {
    let day = date.parse::<u32>().ok();
    match day.filter(|_day| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(day) => vec![
            Postings::date(Field::Year, day / 10_000),
            Postings::date(Field::Month, day / 100),
            Postings::date(Field::Day, day),
        ],
        None => vec![Postings::date(Field::Undated, 0)],
    }
}
