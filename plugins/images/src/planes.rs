//! What the transforms share: fields of images, and values from 0 to 1 or from 0 to 255.

use fluxbay_plugin::prelude::*;

use crate::resample;

/// A value of a pixel: f32, by convention from 0 to 1, or u8.
pub trait Value: resample::Value {
    /// The value as a number from 0 to 1.
    fn unit(self) -> f32;
    /// The value for a number from 0 to 1; bytes are rounded, and cut off outside.
    fn from_unit(unit: f32) -> Self;
}

impl Value for f32 {
    fn unit(self) -> f32 {
        self
    }

    fn from_unit(unit: f32) -> f32 {
        unit
    }
}

impl Value for u8 {
    fn unit(self) -> f32 {
        f32::from(self) / 255.0
    }

    fn from_unit(unit: f32) -> u8 {
        (unit * 255.0 + 0.5).clamp(0.0, 255.0) as u8
    }
}

/// Channels, height and width of a field of images: `[channels, height, width]`, or `[height, width]`
/// with one channel.
///
/// # Errors
/// If the field has another shape or element type.
pub fn dims(field: &Field) -> Result<[usize; 3]> {
    if !matches!(field.dtype, DType::F32 | DType::U8) {
        bail!("field `{}` holds {}, but an image of f32 or u8 is needed", field.name, field.dtype);
    }
    let dims = match field.shape[..] {
        [height, width] => [1, height, width],
        [channels, height, width] => [channels, height, width],
        _ => bail!(
            "field `{}` has shape {:?}, but an image is needed: [channels, height, width] or \
             [height, width]",
            field.name,
            field.shape
        ),
    };
    if dims.contains(&0) {
        bail!("field `{}` has no pixels: its shape is {:?}", field.name, field.shape);
    }
    Ok(dims)
}

/// Channels, height and width of a sample whose field [`dims`] accepted.
///
/// # Errors
/// If it is no image.
pub fn dims_of(sample: &Sample<'_>) -> Result<[usize; 3]> {
    match sample.dims::<3>() {
        Ok(dims) => Ok(dims),
        Err(_) => sample.dims::<2>().map(|[height, width]| [1, height, width]),
    }
}

/// The field of images that a transform leaves in their form.
///
/// # Errors
/// As [`dims`].
pub fn same(field: &Field) -> Result<Field> {
    dims(field)?;
    Ok(field.clone())
}

/// A field of the same kind with another height and width.
pub fn with_size(field: &Field, size: [usize; 2]) -> Field {
    let mut resized = field.clone();
    let rank = resized.shape.len();
    resized.shape[rank - 2..].copy_from_slice(&size);
    resized
}

/// Height and width from a setting of one or two numbers.
///
/// # Errors
/// If it has another number of numbers, or one is out of range.
pub fn size(setting: &[usize]) -> Result<[usize; 2]> {
    let size = match *setting {
        [side] => [side, side],
        [height, width] => [height, width],
        _ => bail!("`size` has {} numbers; it is [height, width], or one side", setting.len()),
    };
    if size.iter().any(|side| !(1..=1 << 16).contains(side)) {
        bail!("`size` is {size:?}; each side has 1 to 65536 pixels");
    }
    Ok(size)
}

/// Runs `$body` with the elements of both samples, which have the same type: f32 or u8.
macro_rules! with_values {
    ($input:expr, $output:expr, |$from:ident, $to:ident| $body:expr) => {
        match $input.dtype() {
            DType::U8 => {
                let ($from, $to) = ($input.u8()?, $output.u8()?);
                $body
            }
            _ => {
                let ($from, $to) = ($input.f32()?, $output.f32()?);
                $body
            }
        }
    };
}

/// Defines a transform that keeps its configuration, which has nothing more to check.
macro_rules! configured {
    ($(#[$doc:meta])* $name:ident: $config:ty) => {
        $(#[$doc])*
        pub struct $name {
            config: $config,
        }

        impl Component for $name {
            type Config = $config;

            fn new(config: $config, _: &mut Setup) -> Result<Self> {
                Ok($name { config })
            }
        }
    };
}

pub(crate) use {configured, with_values};
