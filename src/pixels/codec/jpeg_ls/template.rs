//! The neighbours of a sample, which it is predicted from (A.2 to A.4).

/// The current line and the line above, of each interleaved component, with one sample before and
/// one after the `width` samples.
pub(super) struct Lines<'a> {
    pub(super) above: &'a [Vec<i32>],
    pub(super) line: &'a mut [Vec<i32>],
    pub(super) width: usize,
}

/// The causal template: the reconstructed samples on the left (a), above (b), above on the left (c)
/// and above on the right (d).
#[derive(Debug, Clone, Copy)]
pub(super) struct Template {
    ra: i32,
    rb: i32,
    rc: i32,
    rd: i32,
}

impl Lines<'_> {
    /// The template of a place in each component.
    pub(super) fn templates(&self, x: usize) -> impl Iterator<Item = Template> {
        let lines = self.above.iter().zip(self.line.iter());
        lines.map(move |(above, line)| Template::at(above, line, x))
    }
}

impl Template {
    pub(super) fn at(above: &[i32], line: &[i32], x: usize) -> Self {
        Self {
            ra: line[x - 1],
            rb: above[x],
            rc: above[x - 1],
            rd: above[x + 1],
        }
    }

    /// A.3.1.
    pub(super) fn gradients(self) -> [i32; 3] {
        let Self { ra, rb, rc, rd } = self;
        [rd - rb, rb - rc, rc - ra]
    }

    /// A.4.1: the edge detector.
    pub(super) fn predicted(self) -> i32 {
        let Self { ra, rb, rc, .. } = self;
        if rc >= ra.max(rb) {
            ra.min(rb)
        } else if rc <= ra.min(rb) {
            ra.max(rb)
        } else {
            ra + rb - rc
        }
    }
}
