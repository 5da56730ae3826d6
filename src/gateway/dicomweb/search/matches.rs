//! The rows of a holding that match a query, in little memory.

/// The position of a row in a holding: of the study, its series and its instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) study: usize,
    pub(super) series: usize,
    pub(super) instance: usize,
}

/// Rows of one series, or one row of a study or a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) study: usize,
    pub(super) series: usize,
    pub(super) rows: usize,
}

/// All rows in scope, or those with a set bit. A list of 200,000 positions would take megabytes for
/// as long as a client reads.
pub(super) struct Matches {
    groups: Vec<Group>,
    bits: Option<Vec<u64>>,
    pub(super) count: usize,
}

impl Matches {
    pub(super) fn all(groups: Vec<Group>) -> Self {
        Self {
            count: groups.iter().map(|group| group.rows).sum(),
            groups,
            bits: None,
        }
    }

    pub(super) fn only(mut self, is_match: impl Fn(Position) -> bool) -> Self {
        let mut bits = vec![0_u64; self.count.div_ceil(64)];
        let mut count = 0;
        for (at, position) in positions(self.groups.iter().copied()).enumerate() {
            if is_match(position)
                && let Some(word) = bits.get_mut(at / 64)
            {
                *word |= 1 << (at % 64);
                count += 1;
            }
        }
        self.bits = Some(bits);
        self.count = count;
        self
    }

    pub(super) fn into_positions(self) -> impl Iterator<Item = Position> {
        let bits = self.bits;
        let is_set = move |at: usize| {
            bits.as_ref().is_none_or(|bits| {
                bits.get(at / 64)
                    .is_some_and(|word| word >> (at % 64) & 1 == 1)
            })
        };
        let positions = positions(self.groups.into_iter()).enumerate();
        positions.filter_map(move |(at, position)| is_set(at).then_some(position))
    }
}

fn positions(groups: impl Iterator<Item = Group>) -> impl Iterator<Item = Position> {
    groups.flat_map(|group| {
        (0..group.rows).map(move |instance| Position {
            study: group.study,
            series: group.series,
            instance,
        })
    })
}
