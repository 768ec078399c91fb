//! Solving: symmetric systems by Cholesky, and smooth convex functions by Newton's method or L-BFGS.
//!
//! All of it runs on one thread in one order; what an objective sums over rows it sums in a fixed order too
//! ([`super::matrix`]). So equal inputs give equal bits, whatever the threads.

/// A square matrix, row-major; of symmetric ones only the lower triangle counts.
pub(crate) struct Square {
    pub(crate) size: usize,
    pub(crate) values: Vec<f64>,
}

impl Square {
    #[cfg(test)]
    fn zero(size: usize) -> Self {
        Self {
            size,
            values: vec![0.0; size * size],
        }
    }

    /// Adds to an entry of the lower triangle.
    pub(crate) fn add(&mut self, row: usize, column: usize, value: f64) {
        debug_assert!(row >= column, "the lower triangle counts");
        self.values[row * self.size + column] += value;
    }

    /// Factors it as `L L'` in its lower triangle.
    ///
    /// # Errors
    /// The first row whose pivot is nothing beside its diagonal entry: this row is a combination of those before it.
    pub(crate) fn cholesky(mut self) -> Result<Cholesky, usize> {
        let n = self.size;
        for i in 0..n {
            let (above, row) = self.values.split_at_mut(i * n);
            let diagonal = row[i];
            for j in 0..i {
                let other = &above[j * n..j * n + j];
                let dot: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
                row[j] = (row[j] - dot) / above[j * n + j];
            }
            let pivot = diagonal - row[..i].iter().map(|a| a * a).sum::<f64>();
            // A thousand times what rounding leaves of an exact combination.
            if !(pivot > diagonal * 1e-12 && pivot > 0.0) {
                return Err(i);
            }
            row[i] = pivot.sqrt();
        }
        Ok(Cholesky(self))
    }
}

/// A factored matrix.
pub(crate) struct Cholesky(Square);

impl Cholesky {
    /// Solves for one right-hand side.
    pub(crate) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let Square { size: n, values } = &self.0;
        let mut x = right.to_vec();
        for i in 0..*n {
            let row = &values[i * n..i * n + i];
            let dot: f64 = row.iter().zip(&x).map(|(a, b)| a * b).sum();
            x[i] = (x[i] - dot) / values[i * n + i];
        }
        for i in (0..*n).rev() {
            x[i] /= values[i * n + i];
            let (before, solved) = x.split_at_mut(i);
            let row = &values[i * n..i * n + i];
            for (value, factor) in before.iter_mut().zip(row) {
                *value -= factor * solved[0];
            }
        }
        x
    }
}

/// A smooth convex function of many variables.
pub(crate) trait Objective {
    /// Its value and gradient.
    fn gradient(&self, at: &[f64]) -> (f64, Vec<f64>);
}

/// One that also knows its curvature.
pub(crate) trait Curved: Objective {
    /// Its Hessian, positive semi-definite.
    fn hessian(&self, at: &[f64]) -> Square;
}

/// Where a function is least.
pub(crate) struct Minimum {
    pub(crate) at: Vec<f64>,
    pub(crate) iterations: usize,
}

/// Why no minimum was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoMinimum {
    /// At the start this variable had no curvature of its own.
    Flat(usize),
    /// It falls without end, or too slowly to tell.
    Endless,
    /// `stop` said so.
    Stopped,
}

/// Newton's method with backtracking, from zero. Near the minimum each step doubles the digits; there differences of values
/// drown in rounding, and whole steps are taken on the gradient's word alone. What still falls after a few of those falls
/// without end.
pub(crate) fn newton(
    objective: &impl Curved,
    variables: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Minimum, NoMinimum> {
    const MOST: usize = 100;
    const MOST_WHOLE: usize = 8;
    let mut at = vec![0.0; variables];
    let (mut value, mut gradient) = objective.gradient(&at);
    let mut whole = 0;
    for iterations in 1..=MOST {
        if stop() {
            return Err(NoMinimum::Stopped);
        }
        let factored = objective.hessian(&at).cholesky();
        let factored = factored.map_err(|row| match iterations {
            1 => NoMinimum::Flat(row),
            _ => NoMinimum::Endless,
        })?;
        let step = factored.solve(&gradient);
        // Twice what the quadratic model expects to gain.
        let gain = dot(&step, &gradient);
        let scale = value.abs().max(1.0);
        if gain <= 1e-16 * scale {
            let at = moved(&at, &step, -1.0);
            return Ok(Minimum { at, iterations });
        }
        whole += usize::from(gain <= 1e-9 * scale);
        let mut length = 1.0;
        loop {
            let there: Vec<_> = moved(&at, &step, -length);
            let (found, slope) = objective.gradient(&there);
            if whole > 0 || found <= value - 1e-4 * length * gain {
                (at, value, gradient) = (there, found, slope);
                break;
            }
            length /= 2.0;
            if length < 1e-10 {
                return Err(NoMinimum::Endless);
            }
        }
        if whole > MOST_WHOLE {
            return Err(NoMinimum::Endless);
        }
    }
    Err(NoMinimum::Endless)
}

/// L-BFGS with a line search that holds the weak Wolfe conditions, from zero, until the gradient has fallen by nine orders
/// of magnitude.
pub(crate) fn lbfgs(
    objective: &impl Objective,
    variables: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Minimum, NoMinimum> {
    const MOST: usize = 5000;
    const MEMORY: usize = 20;
    let mut at = vec![0.0; variables];
    let (mut value, mut gradient) = objective.gradient(&at);
    let enough = 1e-9 * largest(&gradient);
    let mut memory: Vec<Pair> = Vec::new();
    for iterations in 0..MOST {
        if stop() {
            return Err(NoMinimum::Stopped);
        }
        if largest(&gradient) <= enough {
            return Ok(Minimum { at, iterations });
        }
        let direction = direction(&memory, &gradient);
        let Some((there, found, slope)) = wolfe(objective, &at, value, &gradient, &direction)
        else {
            // Rounding may end the search a little before the gradient is as small as asked for.
            return match largest(&gradient) <= 1e3 * enough {
                true => Ok(Minimum { at, iterations }),
                false => Err(NoMinimum::Endless),
            };
        };
        let (s, y) = (moved(&there, &at, -1.0), moved(&slope, &gradient, -1.0));
        let curvature = dot(&s, &y);
        if curvature > 0.0 {
            if memory.len() == MEMORY {
                memory.remove(0);
            }
            memory.push(Pair { s, y, curvature });
        }
        (at, value, gradient) = (there, found, slope);
    }
    Err(NoMinimum::Endless)
}

/// A step and what it did to the gradient.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    /// Their product, positive.
    curvature: f64,
}

/// Minus the gradient, times the inverse Hessian that the pairs imply (Nocedal and Wright, algorithm 7.4).
fn direction(memory: &[Pair], gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(memory.len());
    for Pair { s, y, curvature } in memory.iter().rev() {
        let factor = dot(s, &q) / curvature;
        q = moved(&q, y, -factor);
        factors.push(factor);
    }
    if let Some(Pair { y, curvature, .. }) = memory.last() {
        let scale = curvature / dot(y, y);
        q.iter_mut().for_each(|value| *value *= scale);
    }
    for (Pair { s, y, curvature }, factor) in memory.iter().zip(factors.iter().rev()) {
        let back = dot(y, &q) / curvature;
        q = moved(&q, s, factor - back);
    }
    q
}

/// A step along `direction` that gains enough and flattens the slope enough, by bisection (Lewis and Overton 2013). Where
/// the gain drowns in rounding, the slope says whether there is one (Hager and Zhang 2005).
fn wolfe(
    objective: &impl Objective,
    at: &[f64],
    value: f64,
    gradient: &[f64],
    direction: &[f64],
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let slope = dot(gradient, direction);
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut length = 1.0;
    for _ in 0..60 {
        let there = moved(at, direction, length);
        let (found, gradient) = objective.gradient(&there);
        let there_slope = dot(&gradient, direction);
        // What is not a number gains nothing.
        let gains = found <= value + 1e-4 * length * slope
            || (found <= value + 1e-13 * value.abs() && there_slope <= -0.9998 * slope);
        if !gains {
            high = length;
        } else if there_slope < 0.9 * slope {
            low = length;
        } else {
            return Some((there, found, gradient));
        }
        length = match high.is_finite() {
            true => f64::midpoint(low, high),
            false => 2.0 * low,
        };
    }
    None
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `from + length * direction`
fn moved(from: &[f64], direction: &[f64], length: f64) -> Vec<f64> {
    let moved = from.iter().zip(direction);
    moved.map(|(from, step)| from + length * step).collect()
}

fn largest(values: &[f64]) -> f64 {
    values
        .iter()
        .fold(0.0, |most, value| f64::max(most, value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(rows: &[&[f64]]) -> Square {
        Square {
            size: rows.len(),
            values: rows.concat(),
        }
    }

    /// The matrix of Cholesky's article on Wikipedia, whose factor has integers: 2; 6 1; -8 5 3.
    #[test]
    fn a_known_matrix_is_factored_and_solved() {
        let rows: &[&[f64]] = &[
            &[4.0, 12.0, -16.0],
            &[12.0, 37.0, -43.0],
            &[-16.0, -43.0, 98.0],
        ];
        let factored = square(rows).cholesky().ok().unwrap();
        let lower: Vec<_> = (0..3).map(|i| &factored.0.values[i * 3..=i * 4]).collect();
        assert_eq!(lower, [&[2.0][..], &[6.0, 1.0], &[-8.0, 5.0, 3.0]]);
        // Of (1, 2, 3).
        assert_eq!(factored.solve(&[-20.0, -43.0, 192.0]), [1.0, 2.0, 3.0]);
    }

    /// The Hilbert matrix of order 6 has condition 1.5e7 and an inverse of integers.
    #[test]
    fn a_bad_condition_costs_digits_and_no_more() {
        let mut hilbert = Square::zero(6);
        for i in 0..6 {
            for j in 0..6 {
                hilbert.values[i * 6 + j] = 1.0 / (i + j + 1) as f64;
            }
        }
        let x = hilbert
            .cholesky()
            .ok()
            .unwrap()
            .solve(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let exact = [36.0, -630.0, 3360.0, -7560.0, 7560.0, -2772.0];
        for (found, exact) in x.iter().zip(exact) {
            assert!((found / exact - 1.0).abs() < 1e-8, "{found} {exact}");
        }
    }

    #[test]
    fn a_combination_of_earlier_rows_is_named() {
        let rows: &[&[f64]] = &[&[2.0, 1.0, 3.0], &[1.0, 2.0, 3.0], &[3.0, 3.0, 6.0]];
        assert_eq!(square(rows).cholesky().err(), Some(2));
        assert_eq!(Square::zero(2).cholesky().err(), Some(0));
    }

    /// `sum_i i (x_i - i)^2 + (x_0 - x_1)^4`, whose minimum has no closed form but is where the gradient vanishes.
    struct Valley(usize);

    impl Objective for Valley {
        fn gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
            let apart = at[0] - at[1];
            let mut value = apart.powi(4);
            let mut gradient = vec![0.0; self.0];
            for (i, x) in at.iter().enumerate() {
                let weight = (i + 1) as f64;
                value += weight * (x - weight).powi(2);
                gradient[i] = 2.0 * weight * (x - weight);
            }
            gradient[0] += 4.0 * apart.powi(3);
            gradient[1] -= 4.0 * apart.powi(3);
            (value, gradient)
        }
    }

    impl Curved for Valley {
        fn hessian(&self, at: &[f64]) -> Square {
            let curve = 12.0 * (at[0] - at[1]).powi(2);
            let mut hessian = Square::zero(self.0);
            (0..self.0).for_each(|i| hessian.add(i, i, 2.0 * (i + 1) as f64));
            hessian.add(0, 0, curve);
            hessian.add(1, 1, curve);
            hessian.add(1, 0, -curve);
            hessian
        }
    }

    #[test]
    fn both_methods_find_the_same_minimum() {
        let never = || false;
        let exact = newton(&Valley(30), 30, &never).ok().unwrap();
        let (_, gradient) = Valley(30).gradient(&exact.at);
        // Beside terms of 1e3 that is what rounding leaves.
        assert!(largest(&gradient) < 1e-9, "{gradient:?}");
        let close = lbfgs(&Valley(30), 30, &never).ok().unwrap();
        let apart = largest(&moved(&exact.at, &close.at, -1.0));
        // Nine orders of a gradient of 2e3, over a curvature of 2.
        assert!(apart < 1e-6, "{apart}");
        assert!(exact.iterations < 10 && close.iterations < 60);
    }

    /// `exp(-x)` falls for ever.
    struct Slope;

    impl Objective for Slope {
        fn gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
            ((-at[0]).exp(), vec![-(-at[0]).exp()])
        }
    }

    impl Curved for Slope {
        fn hessian(&self, at: &[f64]) -> Square {
            square(&[&[(-at[0]).exp()]])
        }
    }

    #[test]
    fn what_has_no_minimum_is_said_to_have_none() {
        let never = || false;
        assert_eq!(newton(&Slope, 1, &never).err(), Some(NoMinimum::Endless));
        assert_eq!(newton(&Slope, 1, &|| true).err(), Some(NoMinimum::Stopped));
        assert_eq!(lbfgs(&Slope, 1, &|| true).err(), Some(NoMinimum::Stopped));
    }
}
