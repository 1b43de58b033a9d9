//! Sizes as formulas of the batch size and the length of sequences.

/// Batch size and length of one run of the model; the length is 0 where it is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub batch: i64,
    pub length: i64,
}

/// `constant + batch B + length L + both B L`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub constant: i64,
    pub batch: i64,
    pub length: i64,
    pub both: i64,
}

impl Number {
    pub const fn constant(constant: i64) -> Number {
        Number { constant, batch: 0, length: 0, both: 0 }
    }

    /// The value, if it is the same for all sizes.
    pub fn fixed(self) -> Option<i64> {
        (self.batch == 0 && self.length == 0 && self.both == 0).then_some(self.constant)
    }

    /// Its value for sizes.
    pub fn at(self, sizes: Sizes) -> i64 {
        self.constant
            + self.batch * sizes.batch
            + self.length * sizes.length
            + self.both * sizes.batch * sizes.length
    }

    /// The formula that has the values `values` at `sizes`; none if there is none.
    ///
    /// The first two sizes differ in the batch alone. Those after them are a third batch size, and, if
    /// the length is symbolic, a second length for the first two batch sizes and a third one.
    pub fn solve(sizes: &[Sizes], values: &[i64]) -> Option<Number> {
        let first = *values.first()?;
        if values.iter().all(|value| *value == first) {
            return Some(Number::constant(first));
        }
        let step = |from: usize, to: usize, by: i64| -> Option<i64> {
            let difference = values[to] - values[from];
            (by != 0 && difference % by == 0).then(|| difference / by)
        };
        let batches = sizes[1].batch - sizes[0].batch;
        let slope = step(0, 1, batches)?;
        let number = if sizes.len() > 4 {
            // Slopes in the batch at two lengths give the part that depends on both.
            let lengths = sizes[3].length - sizes[0].length;
            let other = step(3, 4, batches)?;
            let change = other - slope;
            if lengths == 0 || change % lengths != 0 {
                return None;
            }
            let both = change / lengths;
            let batch = slope - both * sizes[0].length;
            let along = step(0, 3, lengths)?;
            let length = along - both * sizes[0].batch;
            let constant = first
                - batch * sizes[0].batch
                - length * sizes[0].length
                - both * sizes[0].batch * sizes[0].length;
            Number { constant, batch, length, both }
        } else {
            Number { constant: first - slope * sizes[0].batch, batch: slope, length: 0, both: 0 }
        };
        sizes.iter().zip(values).all(|(sizes, value)| number.at(*sizes) == *value).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_found_and_others_are_not_invented() {
        let fixed: Vec<Sizes> = [2, 3, 5].map(|batch| Sizes { batch, length: 0 }).to_vec();
        let of = |values: [i64; 3]| Number::solve(&fixed, &values);
        assert_eq!(of([7, 7, 7]), Some(Number::constant(7)));
        assert_eq!(of([8, 12, 20]).map(|number| (number.batch, number.constant)), Some((4, 0)));
        assert_eq!(of([4, 9, 25]), None);
        let both: Vec<Sizes> = [(2, 7), (3, 7), (5, 7), (2, 4), (3, 4), (2, 3)]
            .map(|(batch, length)| Sizes { batch, length })
            .to_vec();
        for number in [
            Number { constant: 0, batch: 1, length: 0, both: 0 },
            Number { constant: 3, batch: 0, length: 2, both: 0 },
            Number { constant: -1, batch: 2, length: 5, both: 4 },
        ] {
            let values: Vec<i64> = both.iter().map(|sizes| number.at(*sizes)).collect();
            assert_eq!(Number::solve(&both, &values), Some(number));
        }
        let squares: Vec<i64> = both.iter().map(|sizes| sizes.length * sizes.length).collect();
        assert_eq!(Number::solve(&both, &squares), None);
    }
}
