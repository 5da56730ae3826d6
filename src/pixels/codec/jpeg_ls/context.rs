//! The counters of a context, which adapt to the samples (A.2.1 and A.6).

use super::super::samples::damaged;
use crate::pixels::Error;

/// A.2.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) a: i32,
    pub(super) b: i32,
    pub(super) c: i32,
    pub(super) n: i32,
}

impl Context {
    // A.6.
    pub(super) fn update(&mut self, error: i32, step: i32, reset: i32) {
        self.b += error * step;
        self.a += error.abs();
        if self.n == reset {
            self.a >>= 1;
            self.b = if self.b >= 0 {
                self.b >> 1
            } else {
                -((1 - self.b) >> 1)
            };
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// A.5.1.
pub(super) fn order(n: i32, a: i32) -> Result<u32, Error> {
    let mut k = 0;
    while (i64::from(n) << k) < i64::from(a) {
        k += 1;
        if k > 24 {
            return Err(damaged("prediction errors are too large"));
        }
    }
    Ok(k)
}
