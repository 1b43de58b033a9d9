//! Augmentation policies without a search: RandAugment (Cubuk et al. 2019) and TrivialAugment (Müller
//! and Hutter 2021), with torchvision's operations and ranges.

use fluxbay_plugin::prelude::*;

use crate::{
    affine::{self, Interpolation, Matrix},
    colour::Planes,
    planes::{self, Value, configured, with_values},
};

/// An operation of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Saturation,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

use Operation::*;

const ALL: [Operation; 14] = [
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Saturation,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
];

/// Strength of the operations at the largest magnitude.
struct Ranges {
    shear: f64,
    /// In pixels, by the side of the image.
    translation: fn(usize) -> f64,
    degrees: f64,
    factor: f64,
    /// Bits that posterizing takes away.
    bits: f64,
}

const RAND: Ranges = Ranges {
    shear: 0.3,
    translation: |side| 150.0 / 331.0 * side as f64,
    degrees: 30.0,
    factor: 0.9,
    bits: 4.0,
};

const TRIVIAL: Ranges =
    Ranges { shear: 0.99, translation: |_| 32.0, degrees: 135.0, factor: 0.99, bits: 6.0 };

/// Applies an operation with a magnitude from 0 to 1; `negative` turns signed ones round.
fn operate<V: Value>(
    operation: Operation,
    (magnitude, negative): (f64, bool),
    ranges: &Ranges,
    values: &mut Vec<V>,
    dims: [usize; 3],
) {
    let signed = |strength: f64| if negative { -strength } else { strength };
    let [_, height, width] = dims;
    let matrix = match operation {
        ShearX => Some(Matrix::shear(signed(ranges.shear * magnitude), 0.0)),
        ShearY => Some(Matrix::shear(0.0, signed(ranges.shear * magnitude))),
        TranslateX => {
            let pixels = ((ranges.translation)(width) * magnitude).trunc();
            Some(Matrix::translation(signed(pixels), 0.0))
        }
        TranslateY => {
            let pixels = ((ranges.translation)(height) * magnitude).trunc();
            Some(Matrix::translation(0.0, signed(pixels)))
        }
        Rotate => Some(Matrix::rotation(signed(ranges.degrees * magnitude), height, width)),
        _ => None,
    };
    if let Some(matrix) = matrix {
        let mut mapped = vec![V::default(); values.len()];
        affine::apply(values, dims, &mut mapped, &matrix, Interpolation::Nearest);
        *values = mapped;
        return;
    }
    let mut image = Planes::of(values, dims);
    let factor = (1.0 + signed(ranges.factor * magnitude)) as f32;
    match operation {
        Brightness => image.brightness(factor),
        Saturation => image.saturation(factor),
        Contrast => image.contrast(factor),
        Sharpness => image.sharpness(factor),
        Posterize => image.posterize((8.0 - (ranges.bits * magnitude).round()) as u32),
        Solarize => image.solarize((256.0 * (1.0 - magnitude)).round() as u32),
        AutoContrast => image.auto_contrast(),
        Equalize => image.equalize(),
        _ => return,
    }
    let before = values.clone();
    image.write(&before, values);
}

config! {
    /// How many operations, and how strong they are.
    pub struct RandConfig {
        /// Operations that are applied to an image, one after the other.
        operations: usize = 2 => 0..=10,
        /// Their strength, from 0 to 30.
        magnitude: f64 = 9.0 => 0.0..=30.0,
    }
}

configured! {
    /// The transform `rand-augment`.
    RandAugment: RandConfig
}

/// The largest magnitude.
const MOST: f64 = 30.0;

impl Transform for RandAugment {
    fn describe(&self, input: &Field) -> Result<Field> {
        planes::same(input)
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let magnitude = self.config.magnitude / MOST;
        with_values!(input, output, |from, to| {
            let mut values = from.to_vec();
            for _ in 0..self.config.operations {
                let operation = ALL[draws.below(ALL.len())];
                operate(operation, (magnitude, draws.chance(0.5)), &RAND, &mut values, dims);
            }
            to.copy_from_slice(&values);
        });
        Ok(())
    }
}

/// The transform `trivial-augment`.
pub struct TrivialAugment;

impl Component for TrivialAugment {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(TrivialAugment)
    }
}

impl Transform for TrivialAugment {
    fn describe(&self, input: &Field) -> Result<Field> {
        planes::same(input)
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let operation = ALL[draws.below(ALL.len())];
        let magnitude = draws.below(MOST as usize + 1) as f64 / MOST;
        let negative = draws.chance(0.5);
        with_values!(input, output, |from, to| {
            let mut values = from.to_vec();
            operate(operation, (magnitude, negative), &TRIVIAL, &mut values, dims);
            to.copy_from_slice(&values);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::{Config as _, transformed};

    use super::*;
    use crate::reference;

    const DIMS: [usize; 3] = [3, 9, 12];

    fn operated(operation: Operation, magnitude: f64, negative: bool) -> Vec<u8> {
        let mut values = reference::planes([9, 12], 3);
        operate(operation, (magnitude, negative), &TRIVIAL, &mut values, DIMS);
        values
    }

    #[test]
    fn operations_without_strength_change_nothing_and_others_do() {
        let still = reference::planes([9, 12], 3);
        for operation in ALL {
            let weak = operated(operation, 0.0, false);
            let always = [AutoContrast, Equalize].contains(&operation);
            assert!(weak == still || always, "{operation:?}");
            let strong = operated(operation, 1.0, true);
            // So few pixels are not equalized.
            let never = [Identity, Equalize].contains(&operation);
            assert_eq!(strong == still, never, "{operation:?}");
        }
        assert_ne!(operated(ShearX, 0.5, true), operated(ShearX, 0.5, false));
        assert!(operated(TranslateX, 1.0, false).iter().all(|value| *value == 0));
        assert!(operated(Posterize, 1.0, false).iter().all(|value| *value % 64 == 0));
    }

    #[test]
    fn policies_follow_their_draws() {
        let (field, values) = (Field::new("xs", DType::U8, &DIMS), reference::planes([9, 12], 3));
        let trivial = |seed| -> Vec<u8> {
            transformed(&TrivialAugment, &field, &values, &mut Draws::new(seed)).unwrap().1
        };
        let rand = |config: &str, seed| -> Vec<u8> {
            let augment = RandAugment { config: RandConfig::from_json(config).unwrap() };
            transformed(&augment, &field, &values, &mut Draws::new(seed)).unwrap().1
        };
        assert_eq!(trivial(5), trivial(5));
        let different: std::collections::BTreeSet<_> = (0..40).map(trivial).collect();
        assert!(different.len() > 25, "{}", different.len());
        let different: std::collections::BTreeSet<_> =
            (0..40).map(|seed| rand("{}", seed)).collect();
        assert!(different.len() > 25, "{}", different.len());
        assert_eq!(rand("{\"operations\":0}", 1), values);
    }
}
