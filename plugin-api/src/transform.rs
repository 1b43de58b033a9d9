//! Transforms.

use crate::{
    Component, Draws, Error, Result,
    abi::transform::TransformContext,
    dataset::Field,
    tensor::{DType, Element},
    trampoline::memory,
};

/// Changes one field of a sample before it becomes part of a batch. Transforms are listed under
/// `[[transform]]` in a run file, and applied in that order on the loader's threads.
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// config! {
///     /// How strong it is.
///     struct Config {
///         /// Standard deviation of the noise.
///         deviation: f64 = 0.1 => 0.0..,
///     }
/// }
///
/// struct Noise {
///     config: Config,
/// }
///
/// impl Component for Noise {
///     type Config = Config;
///
///     fn new(config: Config, _: &mut Setup) -> Result<Self> {
///         Ok(Noise { config })
///     }
/// }
///
/// impl Transform for Noise {
///     fn describe(&self, input: &Field) -> Result<Field> {
///         Ok(input.clone())
///     }
///
///     fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, draws: &mut Draws) -> Result<()> {
///         for (y, x) in output.f32()?.iter_mut().zip(input.f32()?) {
///             *y = x + (self.config.deviation * draws.normal()) as f32;
///         }
///         Ok(())
///     }
/// }
///
/// plugin! {
///     summary: "Noise.",
///     transform "noise" => Noise { summary: "Adds normal noise.", augments: true },
/// }
/// # fn main() {}
/// ```
pub trait Transform: Component + Send + Sync {
    /// Checks a field, and returns what it becomes: element type and shape may differ, the name stays.
    /// Called before the first sample, for each chain that the transform is part of.
    /// `[training thread]`
    ///
    /// # Errors
    /// The run does not start. Name what the transform takes, and what it got.
    fn describe(&self, input: &Field) -> Result<Field>;

    /// Transforms one sample: writes all of `output`. Every random choice comes from `draws`, and
    /// nothing may be kept from one sample for another. `[loader threads, several at a time]`
    ///
    /// # Errors
    /// The step that needs the sample ends with the error, which names the sample.
    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()>;

    /// What it does with a field as steps, for exported models that do it themselves; none, the default, if
    /// [`ValueStep`](crate::steps::ValueStep)s cannot say it. `[training thread]`
    ///
    /// # Errors
    /// A setting that no step can express; name it.
    fn steps(&self, input: &Field) -> Result<Option<Vec<crate::steps::ValueStep>>> {
        let _ = input;
        Ok(None)
    }
}

macro_rules! elements {
    ($($name:ident: $type:ty),+ $(,)?) => {
        impl<'a> Sample<'a> { $(
            #[doc = concat!("The elements as `", stringify!($type), "`, in row-major order.")]
            ///
            /// # Errors
            /// If they have another type.
            pub fn $name(&self) -> Result<&'a [$type]> {
                self.elements::<$type>()
            }
        )+ }

        impl SampleMut<'_> { $(
            #[doc = concat!("The elements to write, as `", stringify!($type), "`, in row-major order.")]
            ///
            /// # Errors
            /// If they have another type.
            pub fn $name(&mut self) -> Result<&mut [$type]> {
                self.elements::<$type>()
            }
        )+ }
    };
}

/// One field of one sample, to read.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    dtype: DType,
    shape: &'a [u64],
    bytes: &'a [u8],
    epoch: u64,
    index: u64,
    training: bool,
}

/// One field of one sample, to write.
#[derive(Debug)]
pub struct SampleMut<'a> {
    dtype: DType,
    shape: &'a [u64],
    bytes: &'a mut [u8],
}

fn dims<const N: usize>(shape: &[u64]) -> Result<[usize; N]> {
    let sizes: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
    sizes.try_into().map_err(|sizes: Vec<usize>| {
        Error::new(format!("a field with {N} dimensions is needed, but its shape is {sizes:?}"))
    })
}

fn wrong_type(found: DType, wanted: DType) -> Error {
    Error::new(format!("the field holds {found}, not {wanted}"))
}

impl<'a> Sample<'a> {
    pub(crate) fn from_parts(
        dtype: DType,
        shape: &'a [u64],
        bytes: &'a [u8],
        context: &TransformContext,
    ) -> Sample<'a> {
        let TransformContext { epoch, index, training, .. } = *context;
        Sample { dtype, shape, bytes, epoch, index, training: training != 0 }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions of the sample.
    ///
    /// # Errors
    /// If it has another number of them.
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        dims(self.shape)
    }

    /// Epoch, counted from 1; 0 outside of an epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Index of the sample within its split of the data set.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether the sample is read for training.
    pub fn is_training(&self) -> bool {
        self.training
    }

    fn elements<T: Element>(&self) -> Result<&'a [T]> {
        if self.dtype != T::DTYPE {
            return Err(wrong_type(self.dtype, T::DTYPE));
        }
        memory::elements(self.bytes).ok_or_else(|| Error::new("the host's sample is misaligned"))
    }
}

impl<'a> SampleMut<'a> {
    pub(crate) fn from_parts(dtype: DType, shape: &'a [u64], bytes: &'a mut [u8]) -> SampleMut<'a> {
        SampleMut { dtype, shape, bytes }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions of the sample.
    ///
    /// # Errors
    /// If it has another number of them.
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        dims(self.shape)
    }

    /// The size of the sample's last dimension; 1 for a single element.
    pub fn last_size(&self) -> usize {
        self.shape.last().map_or(1, |size| *size as usize)
    }

    fn elements<T: Element>(&mut self) -> Result<&mut [T]> {
        if self.dtype != T::DTYPE {
            return Err(wrong_type(self.dtype, T::DTYPE));
        }
        memory::elements_mut(self.bytes)
            .ok_or_else(|| Error::new("the host's buffer for a sample is misaligned"))
    }
}

elements! { u8: u8, u32: u32, i64: i64, f32: f32, f64: f64 }

/// Applies a transform to one sample outside of a run, for tests: `values` are the elements of `field`,
/// and the result has the field that the transform describes.
///
/// # Errors
/// Those of the transform, or if the element types are not `I` and `O`.
pub fn transformed<T: Transform, I: Element, O: Element>(
    transform: &T,
    field: &Field,
    values: &[I],
    draws: &mut Draws,
) -> Result<(Field, Vec<O>)> {
    let described = transform.describe(field)?;
    if field.dtype != I::DTYPE || described.dtype != O::DTYPE || values.len() != field.elements() {
        return Err(Error::new(format!(
            "{} elements of {} for {field:?}, which becomes {described:?}",
            values.len(),
            I::DTYPE
        )));
    }
    let widen =
        |field: &Field| -> Vec<u64> { field.shape.iter().map(|size| *size as u64).collect() };
    let (from, to) = (widen(field), widen(&described));
    let input = Sample {
        dtype: field.dtype,
        shape: &from,
        bytes: memory::bytes_of(values),
        epoch: 1,
        index: 0,
        training: true,
    };
    let mut result = vec![O::default(); described.elements()];
    let bytes = memory::bytes_of_mut(&mut result);
    transform.apply(&input, &mut SampleMut::from_parts(described.dtype, &to, bytes), draws)?;
    Ok((described, result))
}
