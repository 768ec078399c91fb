//! What the exact functions promise: of sums, against an oracle; of queries, against DataFusion's own functions and over
//! every way to run them.

mod grid;
mod measure;
mod oracle;
mod queries;

/// A generator of equal numbers for equal seeds (xorshift64*).
pub(in crate::aggregate) struct Random(u64);

impl Random {
    pub(in crate::aggregate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(in crate::aggregate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(in crate::aggregate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
