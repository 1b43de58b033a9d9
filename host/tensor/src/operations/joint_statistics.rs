//! Statistics of batch normalisation over the samples of all processes of a run.
//!
//! Every process has other samples of the batch, in one block or several. Means and variances of all blocks are
//! combined in their order, in double precision, so that they have the same bits everywhere, whichever
//! process has which block.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use smallvec::SmallVec;

use crate::backend::{Backend, Channels, Pair};
use crate::context::{Across, Context};
use crate::error::{Result, TensorError};
use crate::tape::{Gradients, InputGradients};
use crate::value::Value;

/// Mean and variance of each channel in one block of samples.
pub(crate) struct OwnStatistics {
    /// The input that they were taken of, contiguous.
    pub x: Value,
    pub sizes: Channels,
    pub mean: Value,
    pub variance: Value,
}

/// Mean and variance of each channel over the blocks of all processes.
pub(super) struct Joint {
    /// Values of each channel.
    pub count: usize,
    pub mean: Value,
    pub variance: Value,
}

/// The gradient that passes to the inputs through mean and variance: `(x - mean) slope + shift`.
pub(super) struct Through {
    negative_mean: Value,
    slopes: Value,
    shifts: Value,
}

/// The numbers of a value.
fn numbers(backend: &dyn Backend, value: &Value) -> Result<Vec<f64>> {
    Ok(backend.download(value)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}

/// A number for each channel, of the element type of `like`.
fn per_channel(backend: &dyn Backend, numbers: Vec<f64>, like: &Value) -> Result<Value> {
    let count = numbers.len();
    let tensor = Tensor::from_vec(numbers, count, &Device::Cpu)?.to_dtype(like.dtype())?;
    backend.upload(tensor)
}

/// The numbers of each block of all processes, from those of the blocks of this one.
fn send(across: &Across, own: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
    let numbers = own.concat();
    let all = across(&numbers).map_err(TensorError::request)?;
    if all.iter().any(|one| one.len() != numbers.len()) {
        return Err(TensorError::request("the processes normalise other numbers of channels"));
    }
    let each = (numbers.len() / own.len().max(1)).max(1);
    Ok(all.iter().flat_map(|one| one.chunks_exact(each).map(<[f64]>::to_vec)).collect())
}

impl Joint {
    /// Combines the statistics of the blocks of this process with those of the others.
    pub(super) fn of(
        backend: &dyn Backend,
        across: &Across,
        blocks: &[OwnStatistics],
    ) -> Result<Joint> {
        let mut own = Vec::with_capacity(blocks.len());
        for block in blocks {
            let count = (block.sizes.images * block.sizes.area) as f64;
            let (mean, variance) =
                (numbers(backend, &block.mean)?, numbers(backend, &block.variance)?);
            own.push([vec![count], mean, variance].concat());
        }
        let Some(like) = blocks.first().map(|block| &block.mean) else {
            return Err(TensorError::request("there is no block of samples"));
        };
        let channels = like.count();
        let all = send(across, &own)?;
        let total: f64 = all.iter().map(|one| one[0]).sum();
        let mut means = vec![0.0; channels];
        for one in &all {
            for (sum, mean) in means.iter_mut().zip(&one[1..=channels]) {
                *sum += one[0] / total * mean;
            }
        }
        let mut variances = vec![0.0; channels];
        for one in &all {
            let moments = one[1..=channels].iter().zip(&one[channels + 1..]);
            for ((sum, of_all), (mean, variance)) in variances.iter_mut().zip(&means).zip(moments) {
                let apart = mean - of_all;
                *sum += one[0] / total * (variance + apart * apart);
            }
        }
        Ok(Joint {
            count: total as usize,
            mean: per_channel(backend, means, like)?,
            variance: per_channel(backend, variances, like)?,
        })
    }

    /// What passes through mean and variance to the inputs. `sums` are the gradients of weights and bias in
    /// each block of this process.
    pub(super) fn through(
        &self,
        context: &Context,
        [scale, weights]: [&Value; 2],
        sums: &[[Value; 2]],
    ) -> Result<Through> {
        let backend = &*context.backend;
        let Some(across) = &context.across else {
            return Err(TensorError::request("the other processes are not connected any more"));
        };
        let mut own = Vec::with_capacity(sums.len());
        for [to_weights, to_bias] in sums {
            own.push([numbers(backend, to_weights)?, numbers(backend, to_bias)?].concat());
        }
        let channels = self.mean.count();
        let mut total = vec![0.0; 2 * channels];
        for one in send(across, &own)? {
            total.iter_mut().zip(one).for_each(|(sum, number)| *sum += number);
        }
        let (scales, weights) = (numbers(backend, scale)?, numbers(backend, weights)?);
        let share = |channel: usize, sum: f64| {
            -weights[channel] * scales[channel] * sum / self.count as f64
        };
        let slopes: Vec<f64> =
            (0..channels).map(|channel| scales[channel] * share(channel, total[channel])).collect();
        let shifts: Vec<f64> =
            (0..channels).map(|channel| share(channel, total[channels + channel])).collect();
        let negative: Vec<f64> = numbers(backend, &self.mean)?.iter().map(|mean| -mean).collect();
        let of = |numbers: Vec<f64>| per_channel(backend, numbers, scale);
        Ok(Through { negative_mean: of(negative)?, slopes: of(slopes)?, shifts: of(shifts)? })
    }
}

impl Through {
    /// The gradient of the input `x`, of which `direct` is what does not pass through mean and variance.
    pub(super) fn add_to(
        &self,
        backend: &dyn Backend,
        sizes: Channels,
        x: &Value,
        direct: &Value,
    ) -> Result<Value> {
        let ones = per_channel(backend, vec![1.0; sizes.channels], &self.slopes)?;
        let centred = backend.scale_channels(sizes, x, &ones, Some(&self.negative_mean))?;
        let through = backend.scale_channels(sizes, &centred, &self.slopes, Some(&self.shifts))?;
        backend.zip(Pair::Add, direct, &through, direct.shape())
    }
}

/// What the blocks of one batch normalisation share.
struct Shared {
    joint: Joint,
    blocks: Vec<OwnStatistics>,
    weights: Value,
    scale: RefCell<Option<Value>>,
    /// Gradients of weights and bias, by block.
    sums: RefCell<Vec<Option<[Value; 2]>>>,
}

/// Statistics of a batch normalisation over all blocks, as one block uses them.
#[derive(Clone)]
pub(crate) struct BlockStatistics {
    shared: Rc<Shared>,
    block: usize,
}

impl BlockStatistics {
    /// Combines the statistics of the blocks of this process with those of the others.
    pub(crate) fn join(
        context: &Context,
        blocks: Vec<OwnStatistics>,
        weights: Value,
    ) -> Result<BlockStatistics> {
        let Some(across) = &context.across else {
            return Err(TensorError::request("the other processes are not connected any more"));
        };
        let joint = Joint::of(&*context.backend, across, &blocks)?;
        let sums = RefCell::new(vec![None; blocks.len()]);
        let shared = Shared { joint, blocks, weights, scale: RefCell::default(), sums };
        Ok(BlockStatistics { shared: Rc::new(shared), block: 0 })
    }

    /// The same for a block, counted from the first of this process.
    pub(crate) fn of_block(&self, block: usize) -> BlockStatistics {
        BlockStatistics { shared: Rc::clone(&self.shared), block }
    }

    /// The contiguous input of each block.
    pub(crate) fn inputs(&self) -> Vec<Value> {
        self.shared.blocks.iter().map(|block| block.x.clone()).collect()
    }

    pub(super) fn joint(&self) -> &Joint {
        &self.shared.joint
    }

    /// Whether it is the first block of this process, which updates the running statistics.
    pub(super) fn is_first(&self) -> bool {
        self.block == 0
    }

    /// Keeps the inverse deviation of each channel.
    pub(super) fn keep_scale(&self, scale: &Value) {
        self.shared.scale.replace(Some(scale.clone()));
    }

    /// Keeps the gradients of weights and bias in this block.
    pub(super) fn keep_sums(&self, sums: [Value; 2]) {
        self.shared.sums.borrow_mut()[self.block] = Some(sums);
    }

    /// The gradients of the inputs of all blocks, from those that do not pass through mean and variance.
    pub(crate) fn input_gradients(
        &self,
        context: &mut Context,
        mut direct: Gradients<'_>,
    ) -> Result<InputGradients> {
        let Shared { joint, blocks, weights, scale, sums } = &*self.shared;
        let Some(scale) = scale.take() else {
            return Err(TensorError::request("a batch normalisation was not computed"));
        };
        let backend = &*context.backend;
        let mut known: Vec<[Value; 2]> = Vec::with_capacity(blocks.len());
        // A block whose results nobody used has no gradient.
        for sums in sums.take() {
            known.push(match sums {
                Some(sums) => sums,
                None => {
                    let zeros = backend.fill(scale.dtype(), scale.shape(), 0.0)?;
                    [zeros.clone(), zeros]
                }
            });
        }
        let through = joint.through(context, [&scale, weights], &known)?;
        let mut results = SmallVec::new();
        for (block, OwnStatistics { x, sizes, .. }) in blocks.iter().enumerate() {
            let gradient = match direct.outputs.get_mut(block).and_then(Option::take) {
                Some(gradient) => backend.contiguous(&gradient)?,
                None => backend.fill(x.dtype(), x.shape(), 0.0)?,
            };
            results.push(Some(through.add_to(backend, *sizes, x, &gradient)?));
        }
        Ok(results)
    }
}
