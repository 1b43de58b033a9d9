//! Recorded operations that can be applied again: what a recomputed part of the tape keeps instead
//! of intermediate values.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::OperationInfo;
use smallvec::SmallVec;

use super::context::{Context, Mode};
use super::error::Result;
use super::operations::{self, Call, Produced};
use super::random::Words;
use super::value::Value;

/// Where an input of an operation comes from when it is applied again.
#[derive(Debug)]
pub(crate) enum Given {
    /// It was kept.
    Value(Value),
    /// It is this result of this operation of the same part.
    Result(usize, usize),
    /// The operation overwrites it and does not read it: a tensor of this form that is thrown away,
    /// so that the real one is not changed twice.
    Scratch(DType, Shape),
}

/// One operation with its attributes.
#[derive(Debug)]
pub(crate) struct Replay {
    pub info: &'static OperationInfo,
    pub inputs: SmallVec<[Given; 4]>,
    /// Whether each input had a gradient.
    pub wants: SmallVec<[bool; 8]>,
    pub ints: SmallVec<[i64; 4]>,
    pub floats: SmallVec<[f64; 2]>,
    pub mode: Mode,
    /// The random words that it took.
    pub words: SmallVec<[Words; 1]>,
}

impl Replay {
    /// Applies the operation again: the same results, bit for bit. `earlier` has the results of the
    /// operations before it; random streams and tensors that it changes in place stay as they are.
    ///
    /// # Errors
    /// If there is no memory for its results.
    fn apply(self, context: &mut Context, earlier: &[Results]) -> Result<Produced> {
        let mut values: SmallVec<[Value; 6]> = SmallVec::new();
        for given in self.inputs {
            values.push(match given {
                Given::Value(value) => value,
                Given::Result(operation, output) => earlier[operation].values[output].clone(),
                Given::Scratch(dtype, shape) => context.backend.fill(dtype, &shape, 0.0)?,
            });
        }
        let inputs: SmallVec<[&Value; 6]> = values.iter().collect();
        let before = std::mem::replace(&mut context.mode, self.mode);
        context.random.take_again(self.words);
        let produced = operations::apply(
            context,
            &Call {
                info: self.info,
                inputs: &inputs,
                wants: &self.wants,
                ints: &self.ints,
                floats: &self.floats,
            },
        );
        context.random.taken();
        context.mode = before;
        produced
    }
}

/// The results of an operation that was applied again.
#[derive(Default)]
struct Results {
    values: SmallVec<[Value; 1]>,
    /// How many inputs of later operations are among them.
    uses: usize,
}

/// Applies the operations of a part again, and calls `done` with the number of each and what it
/// produced. A result is freed once no later operation of the part needs it.
///
/// # Errors
/// As [`Replay::apply`].
pub(crate) fn apply_all(
    context: &mut Context,
    replays: Vec<Replay>,
    mut done: impl FnMut(usize, operations::Gradient),
) -> Result<()> {
    let mut results: Vec<Results> = Vec::new();
    results.resize_with(replays.len(), Results::default);
    let used = |replay: &Replay| -> SmallVec<[usize; 4]> {
        let of = |given: &Given| match given {
            Given::Result(operation, _) => Some(*operation),
            _ => None,
        };
        replay.inputs.iter().filter_map(of).collect()
    };
    for operation in replays.iter().flat_map(used) {
        results[operation].uses += 1;
    }
    for (number, replay) in replays.into_iter().enumerate() {
        let inputs = used(&replay);
        let Produced { outputs, gradient } = replay.apply(context, &results)?;
        done(number, gradient);
        if results[number].uses > 0 {
            results[number].values = outputs;
        }
        for input in inputs {
            results[input].uses -= 1;
            if results[input].uses == 0 {
                results[input].values.clear();
            }
        }
    }
    Ok(())
}
