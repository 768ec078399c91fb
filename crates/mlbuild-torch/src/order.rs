//! The generator of everything random but weights and dropout: data order, cuts, negatives.

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014). Its state is one number,
/// so a checkpoint can hold it.
#[derive(Clone, Debug)]
pub struct Order(u64);

impl Order {
    /// A generator that starts from a seed.
    pub fn new(seed: i64) -> Order {
        Order(seed as u64)
    }

    /// A generator for one step, which does not depend on what was drawn before it.
    pub fn of_step(seed: i64, step: u64) -> Order {
        let mut order = Order(seed as u64 ^ step.wrapping_mul(0xd129_0d3f_5cf5_a6a7));
        // Neighbouring steps start far apart.
        Order(order.bits())
    }

    /// A generator with the state of another.
    pub fn from_state(state: u64) -> Order {
        Order(state)
    }

    /// Its state.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; `bound` is at least 1. Its bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number in `0..1`, of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_goes_on_as_its_generator_would_have() {
        let mut order = Order::new(7);
        order.bits();
        let mut again = Order::from_state(order.state());
        assert_eq!(order.bits(), again.bits());
    }

    #[test]
    fn steps_differ_and_repeat() {
        let first = |step| Order::of_step(7, step).bits();
        assert_eq!(first(3), first(3));
        assert!(first(3) != first(4) && first(3) != Order::of_step(8, 3).bits());
    }

    #[test]
    fn units_lie_in_their_range() {
        let mut order = Order::new(0);
        let mean = (0..10_000).map(|_| order.unit()).sum::<f64>() / 1e4;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }
}
