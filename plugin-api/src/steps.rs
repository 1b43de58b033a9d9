//! Preprocessing as steps that exported models can do.

use serde::{Deserialize, Serialize};

use crate::{Result, bail};

/// A place of the result of [`ValueStep::Mix`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weighted {
    /// First place that it is made of.
    pub first: usize,
    /// Weights of the places from there on.
    pub weights: Vec<f64>,
}

/// What is done with the values of a sample. Axes count the dimensions of a sample from 0; steps compute in double
/// precision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueStep {
    /// Permutes the dimensions.
    Transpose(Vec<usize>),
    /// Another shape.
    Reshape(Vec<usize>),
    /// A part along an axis.
    Cut {
        /// The axis.
        axis: usize,
        /// First place.
        start: usize,
        /// Number of places.
        size: usize,
    },
    /// Zeros on both sides.
    Pad {
        /// The axis.
        axis: usize,
        /// Places before.
        before: usize,
        /// Places after.
        after: usize,
    },
    /// Each place of the result is a weighted sum along an axis.
    Mix {
        /// The axis.
        axis: usize,
        /// The weights of each place of the result.
        weights: Vec<Weighted>,
        /// 0; or the weights are whole numbers of `2^-bits`, and results are rounded to bytes.
        bits: u32,
    },
    /// `(x - offset) / divisor`.
    Affine {
        /// The axis that the numbers lie along; with one number each it does not matter.
        axis: usize,
        /// What is subtracted.
        offset: Vec<f64>,
        /// What the difference is divided by.
        divisor: Vec<f64>,
    },
    /// Cuts off.
    Clip {
        /// The least result.
        least: Option<f64>,
        /// The greatest result.
        most: Option<f64>,
    },
    /// Replaces NaN.
    Impute {
        /// One value, or one for each along the last axis.
        values: Vec<f64>,
        /// Whether 1 for a replaced number and 0 for another follow along the last axis.
        indicators: bool,
    },
    /// A new last axis with 1 at the number of the class.
    OneHot {
        /// Number of classes.
        classes: usize,
    },
}

/// A raw input of [`DatasetSteps`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawInput {
    /// Its name.
    pub name: String,
    /// `u8`, `i64`, `f32` or `f64`.
    pub dtype: String,
    /// Shape of a sample.
    pub shape: Vec<usize>,
    /// What is done with it.
    pub steps: Vec<ValueStep>,
    /// The words that whole numbers from 0 stand for; empty for numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// How raw values become the field of inputs of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetSteps {
    /// The raw inputs; results of several are put together along the last axis.
    pub inputs: Vec<RawInput>,
    /// Element type and shape of the field.
    pub output: StepsOutput,
}

/// Element type and shape of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepsOutput {
    /// `u8`, `u32`, `f32`.
    pub dtype: String,
    /// Shape of a sample.
    pub shape: Vec<usize>,
}

impl From<&crate::dataset::Field> for StepsOutput {
    fn from(field: &crate::dataset::Field) -> StepsOutput {
        StepsOutput { dtype: field.dtype.to_string(), shape: field.shape.clone() }
    }
}

/// Does steps with one sample: its shape and values before, and returns those after. For tests of components: exported
/// models do the steps themselves.
///
/// # Errors
/// A step that does not fit the shape.
///
/// ```
/// use fluxbay_plugin::steps::{ValueStep, run};
///
/// let steps = [ValueStep::Affine { axis: 1, offset: vec![1.0, 2.0], divisor: vec![2.0] }];
/// let (shape, values) = run(&steps, &[1, 2], &[3.0, 3.0])?;
/// assert_eq!((shape, values), (vec![1, 2], vec![1.0, 0.5]));
/// # Ok::<(), fluxbay_plugin::Error>(())
/// ```
pub fn run(steps: &[ValueStep], shape: &[usize], values: &[f64]) -> Result<(Vec<usize>, Vec<f64>)> {
    let mut sample = (shape.to_vec(), values.to_vec());
    for step in steps {
        sample = after(step, &sample.0, &sample.1)?;
    }
    Ok(sample)
}

fn after(step: &ValueStep, shape: &[usize], values: &[f64]) -> Result<(Vec<usize>, Vec<f64>)> {
    let last = shape.last().copied().unwrap_or(1).max(1);
    let every = |change: &dyn Fn(usize, f64) -> f64| {
        values.iter().enumerate().map(|(at, value)| change(at, *value)).collect()
    };
    Ok(match step {
        ValueStep::Transpose(axes) => transposed(axes, shape, values)?,
        ValueStep::Reshape(to) => {
            if to.iter().product::<usize>() != values.len() {
                bail!("{} values do not have shape {to:?}", values.len());
            }
            (to.clone(), values.to_vec())
        }
        ValueStep::Cut { axis, start, size } => {
            along(*axis, shape, values, |line| Ok(line[*start..start + size].to_vec()))?
        }
        ValueStep::Pad { axis, before, after } => along(*axis, shape, values, |line| {
            Ok([&vec![0.0; *before][..], line, &vec![0.0; *after]].concat())
        })?,
        ValueStep::Mix { axis, weights, bits } => along(*axis, shape, values, |line| {
            let sum = |place: &Weighted| {
                let values = line[place.first..].iter().zip(&place.weights);
                let sum = values.map(|(value, weight)| value * weight).sum::<f64>();
                if *bits == 0 {
                    return sum;
                }
                let half = 2f64.powi(*bits as i32 - 1);
                ((sum + half) / (2.0 * half)).floor().clamp(0.0, 255.0)
            };
            Ok(weights.iter().map(sum).collect())
        })?,
        ValueStep::Affine { axis, offset, divisor } => {
            let behind: usize = shape.iter().skip(axis + 1).product();
            let place = |at: usize, numbers: &[f64]| numbers[at / behind.max(1) % numbers.len()];
            if offset.is_empty() || divisor.is_empty() {
                bail!("`affine` has no numbers");
            }
            (shape.to_vec(), every(&|at, value| (value - place(at, offset)) / place(at, divisor)))
        }
        ValueStep::Clip { least, most } => {
            let cut = |value: f64| least.map_or(value, |least| value.max(least));
            let both = |_: usize, value: f64| most.map_or(cut(value), |most| cut(value).min(most));
            (shape.to_vec(), every(&both))
        }
        ValueStep::Impute { values: replacements, indicators } => {
            let filled = |at: usize, value: f64| match value.is_nan() {
                true => replacements[at % last % replacements.len()],
                false => value,
            };
            let numbers: Vec<f64> = every(&filled);
            if !indicators {
                return Ok((shape.to_vec(), numbers));
            }
            let marks = every(&|_, value| f64::from(u8::from(value.is_nan())));
            let rows = numbers.chunks(last).zip(marks.chunks(last));
            let all = rows.flat_map(|(numbers, marks)| [numbers, marks].concat()).collect();
            let mut shape = shape.to_vec();
            if let Some(size) = shape.last_mut() {
                *size *= 2;
            }
            (shape, all)
        }
        ValueStep::OneHot { classes } => {
            let row = |value: &f64| {
                let class = *value;
                (0..*classes).map(move |one| f64::from(u8::from(one as f64 == class)))
            };
            ([shape, &[*classes]].concat(), values.iter().flat_map(row).collect())
        }
    })
}

/// Changes each line along an axis.
fn along(
    axis: usize,
    shape: &[usize],
    values: &[f64],
    change: impl Fn(&[f64]) -> Result<Vec<f64>>,
) -> Result<(Vec<usize>, Vec<f64>)> {
    let Some(size) = shape.get(axis).copied() else { bail!("shape {shape:?} has no axis {axis}") };
    let behind: usize = shape[axis + 1..].iter().product();
    let before: usize = shape[..axis].iter().product();
    let mut lines = Vec::with_capacity(before * behind);
    for start in 0..before * behind {
        let first = start / behind * size * behind + start % behind;
        let line: Vec<f64> = (0..size).map(|place| values[first + place * behind]).collect();
        lines.push(change(&line)?);
    }
    let to = lines.first().map_or(0, Vec::len);
    let mut out = Vec::with_capacity(lines.len() * to);
    for block in lines.chunks(behind.max(1)) {
        for place in 0..to {
            out.extend(block.iter().map(|line| line[place]));
        }
    }
    let mut shape = shape.to_vec();
    shape[axis] = to;
    Ok((shape, out))
}

fn transposed(axes: &[usize], shape: &[usize], values: &[f64]) -> Result<(Vec<usize>, Vec<f64>)> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if sorted.iter().copied().ne(0..shape.len()) {
        bail!("{axes:?} does not permute shape {shape:?}");
    }
    let to: Vec<usize> = axes.iter().map(|axis| shape[*axis]).collect();
    let strides: Vec<usize> =
        (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    let place = |mut at: usize| {
        let mut from = 0;
        for (axis, size) in axes.iter().zip(&to).rev() {
            from += at % size * strides[*axis];
            at /= size;
        }
        from
    };
    Ok((to.clone(), (0..values.len()).map(|at| values[place(at)]).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(step: ValueStep, shape: &[usize], values: &[f64]) -> (Vec<usize>, Vec<f64>) {
        run(&[step], shape, values).unwrap()
    }

    #[test]
    fn steps_move_and_mix_values_along_their_axis() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let turned = done(ValueStep::Transpose(vec![1, 0]), &[2, 3], &values);
        assert_eq!(turned, (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        let cut = done(ValueStep::Cut { axis: 1, start: 1, size: 2 }, &[2, 3], &values);
        assert_eq!(cut, (vec![2, 2], vec![1.0, 2.0, 4.0, 5.0]));
        let padded = done(ValueStep::Pad { axis: 0, before: 1, after: 0 }, &[1, 2], &[1.0, 2.0]);
        assert_eq!(padded, (vec![2, 2], vec![0.0, 0.0, 1.0, 2.0]));
        let halves = Weighted { first: 0, weights: vec![2.0, 2.0] };
        let mix = ValueStep::Mix { axis: 0, weights: vec![halves], bits: 2 };
        // (0 + 3) / 2 is rounded up.
        assert_eq!(done(mix, &[2, 3], &values), (vec![1, 3], vec![2.0, 3.0, 4.0]));
        assert!(run(&[ValueStep::Transpose(vec![0, 0])], &[2, 3], &values).is_err());
        assert!(run(&[ValueStep::Reshape(vec![4])], &[2, 3], &values).is_err());
    }

    #[test]
    fn missing_numbers_and_classes() {
        let impute = ValueStep::Impute { values: vec![7.0, 8.0], indicators: true };
        let values = [1.0, f64::NAN, f64::NAN, 2.0];
        let expected = vec![1.0, 8.0, 0.0, 1.0, 7.0, 2.0, 1.0, 0.0];
        assert_eq!(done(impute, &[2, 2], &values), (vec![2, 4], expected));
        let hot = done(ValueStep::OneHot { classes: 2 }, &[3], &[1.0, -1.0, 0.0]);
        assert_eq!(hot, (vec![3, 2], vec![0.0, 1.0, 0.0, 0.0, 1.0, 0.0]));
        let clip = ValueStep::Clip { least: Some(0.0), most: None };
        assert_eq!(done(clip, &[2], &[-1.0, 9.0]).1, [0.0, 9.0]);
    }

    #[test]
    fn steps_are_written_as_the_contract_says() {
        let json = serde_json::to_string(&ValueStep::OneHot { classes: 3 }).unwrap();
        assert_eq!(json, r#"{"one-hot":{"classes":3}}"#);
        let json = r#"[{"transpose":[1,0]},{"clip":{"least":null,"most":1.0}}]"#;
        let steps: Vec<ValueStep> = serde_json::from_str(json).unwrap();
        assert_eq!(steps[1], ValueStep::Clip { least: None, most: Some(1.0) });
    }
}
