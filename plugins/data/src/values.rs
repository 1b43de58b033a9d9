//! Transforms of numbers: noise, scale, impute, one-hot.

use fluxbay_plugin::{prelude::*, steps::ValueStep};

/// That a field holds numbers of the type `f32`.
fn check_numbers(field: &Field) -> Result<()> {
    if field.dtype != DType::F32 {
        bail!("field `{}` holds {}, but numbers (f32) are needed", field.name, field.dtype);
    }
    Ok(())
}

config! {
    /// How strong it is.
    pub struct NoiseConfig {
        /// Standard deviation of what is added to each number.
        deviation: f64 = 0.01 => 0.0..,
    }
}

/// The transform `noise`.
pub struct Noise {
    deviation: f64,
}

impl Component for Noise {
    type Config = NoiseConfig;

    fn new(config: NoiseConfig, _: &mut Setup) -> Result<Self> {
        Ok(Noise { deviation: config.deviation })
    }
}

impl Transform for Noise {
    fn describe(&self, input: &Field) -> Result<Field> {
        check_numbers(input)?;
        Ok(input.clone())
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        for (to, from) in output.f32()?.iter_mut().zip(input.f32()?) {
            *to = from + (self.deviation * draws.normal()) as f32;
        }
        Ok(())
    }
}

config! {
    /// What becomes of a number: `(number - offset) / divisor`, then at least `least` and at most `most`.
    pub struct ScaleConfig {
        /// What is subtracted: one number, or one for each along the last dimension.
        offset: Vec<f64> = [0],
        /// What the difference is divided by, likewise.
        divisor: Vec<f64> = [1],
        /// The least result.
        least: Option<f64> = null,
        /// The greatest result.
        most: Option<f64> = null,
    }
}

/// The transform `scale`.
pub struct Scale {
    config: ScaleConfig,
}

impl Component for Scale {
    type Config = ScaleConfig;

    fn new(config: ScaleConfig, _: &mut Setup) -> Result<Self> {
        Scale::with(config)
    }
}

impl Scale {
    fn with(config: ScaleConfig) -> Result<Scale> {
        if config.offset.is_empty() || config.divisor.is_empty() {
            bail!("`offset` and `divisor` have at least one number");
        }
        if config.divisor.iter().any(|it| !it.is_finite() || *it == 0.0) {
            bail!("`divisor` is {:?}; no number of it is 0", config.divisor);
        }
        if config.least.zip(config.most).is_some_and(|(least, most)| least > most) {
            bail!("`least` is above `most`");
        }
        Ok(Scale { config })
    }
}

impl Transform for Scale {
    fn describe(&self, input: &Field) -> Result<Field> {
        let last = input.shape.last().copied().unwrap_or(1);
        for (name, numbers) in [("offset", &self.config.offset), ("divisor", &self.config.divisor)]
        {
            if ![1, last].contains(&numbers.len()) {
                bail!(
                    "`{name}` has {} numbers, but field `{}` has {last} along its last dimension",
                    numbers.len(),
                    input.name
                );
            }
        }
        if !matches!(input.dtype, DType::F32 | DType::U8) {
            bail!("field `{}` holds {}, but f32 or u8 is needed", input.name, input.dtype);
        }
        Ok(Field { dtype: DType::F32, ..input.clone() })
    }

    fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, _: &mut Draws) -> Result<()> {
        let ScaleConfig { offset, divisor, least, most } = &self.config;
        let change = |at: usize, from: f32| {
            let (offset, divisor) = (offset[at % offset.len()], divisor[at % divisor.len()]);
            let scaled = (f64::from(from) - offset) / divisor;
            let scaled = least.map_or(scaled, |least| scaled.max(least));
            most.map_or(scaled, |most| scaled.min(most)) as f32
        };
        let to = output.f32()?.iter_mut().enumerate();
        if input.dtype() == DType::U8 {
            to.zip(input.u8()?).for_each(|((at, to), from)| *to = change(at, f32::from(*from)));
        } else {
            to.zip(input.f32()?).for_each(|((at, to), from)| *to = change(at, *from));
        }
        Ok(())
    }

    fn steps(&self, input: &Field) -> Result<Option<Vec<ValueStep>>> {
        let ScaleConfig { offset, divisor, least, most } = self.config.clone();
        let axis = input.shape.len().saturating_sub(1);
        // One list may have a number for each, the other one for all.
        let width = offset.len().max(divisor.len());
        let all = |numbers: Vec<f64>| numbers.into_iter().cycle().take(width).collect();
        Ok(Some(vec![
            ValueStep::Affine { axis, offset: all(offset), divisor: all(divisor) },
            ValueStep::Clip { least, most },
        ]))
    }
}

config! {
    /// What stands in for a missing number.
    pub struct ImputeConfig {
        /// What replaces NaN: one number, or one for each along the last dimension.
        values: Vec<f64> = [0],
        /// Whether 1 for a missing number and 0 for another is added for each, so that the last
        /// dimension has twice its size.
        indicators: bool = false,
    }
}

/// The transform `impute`.
pub struct Impute {
    config: ImputeConfig,
}

impl Component for Impute {
    type Config = ImputeConfig;

    fn new(config: ImputeConfig, _: &mut Setup) -> Result<Self> {
        if config.values.is_empty() || config.values.iter().any(|value| value.is_nan()) {
            bail!("`values` has at least one number, and none is NaN");
        }
        Ok(Impute { config })
    }
}

impl Transform for Impute {
    fn describe(&self, input: &Field) -> Result<Field> {
        check_numbers(input)?;
        let Some(last) = input.shape.last().copied() else {
            bail!("field `{}` is a single number; a row of numbers is needed", input.name);
        };
        if ![1, last].contains(&self.config.values.len()) {
            bail!(
                "`values` has {} numbers, but field `{}` has {last} along its last dimension",
                self.config.values.len(),
                input.name
            );
        }
        let mut output = input.clone();
        if let Some(size) = output.shape.last_mut().filter(|_| self.config.indicators) {
            *size *= 2;
        }
        Ok(output)
    }

    fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, _: &mut Draws) -> Result<()> {
        let factor = if self.config.indicators { 2 } else { 1 };
        let output_row = output.last_size();
        let (values, from, to) = (&self.config.values, input.f32()?, output.f32()?);
        let row = output_row / factor;
        for (from, to) in from.chunks_exact(row).zip(to.chunks_exact_mut(row * factor)) {
            let (numbers, indicators) = to.split_at_mut(row);
            for (at, (to, from)) in numbers.iter_mut().zip(from).enumerate() {
                *to = if from.is_nan() { values[at % values.len()] as f32 } else { *from };
            }
            for (to, from) in indicators.iter_mut().zip(from) {
                *to = f32::from(u8::from(from.is_nan()));
            }
        }
        Ok(())
    }

    fn steps(&self, _: &Field) -> Result<Option<Vec<ValueStep>>> {
        let ImputeConfig { values, indicators } = self.config.clone();
        Ok(Some(vec![ValueStep::Impute { values, indicators }]))
    }
}

config! {
    /// Which number is which class.
    pub struct OneHotConfig {
        /// Number of classes; by default that of the field.
        classes: Option<usize> = null => 1..=1048576,
        /// Whether numbers from `classes` on are taken modulo it, by a hash, so that any number of
        /// categories fits.
        hashed: bool = false,
    }
}

/// The transform `one-hot`.
pub struct OneHot {
    config: OneHotConfig,
}

impl Component for OneHot {
    type Config = OneHotConfig;

    fn new(config: OneHotConfig, _: &mut Setup) -> Result<Self> {
        if config.hashed && config.classes.is_none() {
            bail!("`hashed` needs `classes`: how many places there are");
        }
        Ok(OneHot { config })
    }
}

/// A place for a category, evenly spread (the finaliser of MurmurHash3).
fn place(category: u32, places: usize) -> usize {
    let mut hash = category;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
    ((u64::from(hash ^ (hash >> 16)) * places as u64) >> 32) as usize
}

impl Transform for OneHot {
    fn describe(&self, input: &Field) -> Result<Field> {
        if input.dtype != DType::U32 {
            bail!("field `{}` holds {}, but classes (u32) are needed", input.name, input.dtype);
        }
        let Some(classes) = self.config.classes.or(input.classes) else {
            bail!("field `{}` does not say how many classes it has: set `classes`", input.name);
        };
        if input.classes.is_some_and(|own| own > classes) && !self.config.hashed {
            bail!(
                "field `{}` has {} classes, more than `classes = {classes}`: set `hashed = true` to \
                 let some share a place",
                input.name,
                input.classes.unwrap_or(0)
            );
        }
        let mut shape = input.shape.clone();
        shape.push(classes);
        Ok(Field::new(&input.name, DType::F32, &shape))
    }

    fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, _: &mut Draws) -> Result<()> {
        let (from, to) = (input.u32()?, output.f32()?);
        to.fill(0.0);
        let classes = to.len() / from.len().max(1);
        for (row, &category) in to.chunks_exact_mut(classes.max(1)).zip(from) {
            let at = if self.config.hashed { place(category, classes) } else { category as usize };
            match row.get_mut(at) {
                Some(place) => *place = 1.0,
                None => bail!("class {category} is not below `classes = {classes}`"),
            }
        }
        Ok(())
    }

    fn steps(&self, input: &Field) -> Result<Option<Vec<ValueStep>>> {
        // No step has the hash.
        let classes = self.config.classes.or(input.classes).filter(|_| !self.config.hashed);
        Ok(classes.map(|classes| vec![ValueStep::OneHot { classes }]))
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::{Config as _, transformed};

    use super::*;

    fn numbers(shape: &[usize]) -> Field {
        Field::new("xs", DType::F32, shape)
    }

    #[test]
    fn noise_has_its_deviation_and_follows_from_the_draws() {
        let noise = Noise { deviation: 0.5 };
        let run = |seed| -> Vec<f32> {
            let field = numbers(&[10_000]);
            transformed(&noise, &field, &[1.0_f32; 10_000], &mut Draws::new(seed)).unwrap().1
        };
        let found = run(1);
        let mean = found.iter().sum::<f32>() / 10_000.0;
        let variance = found.iter().map(|it| (it - mean).powi(2)).sum::<f32>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.02 && (variance.sqrt() - 0.5).abs() < 0.02);
        assert!(found == run(1) && found != run(2));
    }

    #[test]
    fn numbers_are_scaled_by_column_and_cut_off() {
        let scale = |config: &str| Scale::with(ScaleConfig::from_json(config).unwrap());
        let one = scale(r#"{"offset": [1, 2], "divisor": [2], "most": 1.5}"#).unwrap();
        let (_, found): (_, Vec<f32>) =
            transformed(&one, &numbers(&[2, 2]), &[1.0_f32, 2.0, 3.0, 9.0], &mut Draws::new(1))
                .unwrap();
        assert_eq!(found, [0.0, 0.0, 1.0, 1.5]);
        let bytes = Field::new("xs", DType::U8, &[2]);
        let unit = scale(r#"{"divisor": [255]}"#).unwrap();
        let (field, found): (_, Vec<f32>) =
            transformed(&unit, &bytes, &[0_u8, 255], &mut Draws::new(1)).unwrap();
        assert_eq!((field.dtype, found), (DType::F32, vec![0.0, 1.0]));
        let error = one.describe(&numbers(&[3])).unwrap_err();
        assert!(error.message().contains("`offset` has 2 numbers"), "{error}");
        assert!(scale(r#"{"divisor": [0]}"#).is_err());
    }

    #[test]
    fn missing_numbers_are_replaced_and_marked() {
        let config = |text: &str| Impute { config: ImputeConfig::from_json(text).unwrap() };
        let run = |impute: &Impute| -> Vec<f32> {
            let values = [f32::NAN, 1.0, 2.0, f32::NAN];
            transformed(impute, &numbers(&[2, 2]), &values, &mut Draws::new(1)).unwrap().1
        };
        assert_eq!(run(&config(r#"{"values": [5, 6]}"#)), [5.0, 1.0, 2.0, 6.0]);
        let marked = config(r#"{"indicators": true}"#);
        assert_eq!(run(&marked), [0.0, 1.0, 1.0, 0.0, 2.0, 0.0, 0.0, 1.0]);
        assert_eq!(marked.describe(&numbers(&[2, 2])).unwrap().shape, [2, 4]);
    }

    #[test]
    fn classes_become_rows_with_a_single_one() {
        let hot = |text: &str| OneHot { config: OneHotConfig::from_json(text).unwrap() };
        let field = Field { classes: Some(3), ..Field::new("xs", DType::U32, &[2]) };
        let (described, found): (_, Vec<f32>) =
            transformed(&hot("{}"), &field, &[2_u32, 0], &mut Draws::new(1)).unwrap();
        assert_eq!((&described.shape[..], described.classes), (&[2, 3][..], None));
        assert_eq!(found, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let few = hot(r#"{"classes": 2}"#);
        assert!(few.describe(&field).unwrap_err().message().contains("hashed"));
        let hashed = hot(r#"{"classes": 8, "hashed": true}"#);
        let ids = Field::new("xs", DType::U32, &[4000]);
        let many: Vec<u32> = (0..4000).collect();
        let (_, found): (_, Vec<f32>) =
            transformed(&hashed, &ids, &many, &mut Draws::new(1)).unwrap();
        for class in 0..8 {
            let count: f32 = found.iter().skip(class).step_by(8).sum();
            assert!((430.0..570.0).contains(&count), "{count} of 4000 in place {class}");
        }
    }

    #[test]
    fn the_steps_of_a_transform_do_what_it_does() {
        fn same<T: Transform>(transform: &T, field: &Field, values: &[f32]) {
            let (_, expected): (_, Vec<f32>) =
                transformed(transform, field, values, &mut Draws::new(1)).unwrap();
            let numbers: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let steps = transform.steps(field).unwrap().expect("it says its steps");
            let (shape, found) =
                fluxbay_plugin::steps::run(&steps, &field.shape, &numbers).unwrap();
            assert_eq!(shape, transform.describe(field).unwrap().shape);
            assert_eq!(found.iter().map(|value| *value as f32).collect::<Vec<_>>(), expected);
        }
        let config = r#"{"offset": [1, 2], "divisor": [2], "least": -0.5, "most": 1.5}"#;
        let scale = Scale::with(ScaleConfig::from_json(config).unwrap()).unwrap();
        same(&scale, &numbers(&[2, 2]), &[1.0, 2.0, -3.0, 9.0]);
        let config = ImputeConfig::from_json(r#"{"values": [5, 6], "indicators": true}"#).unwrap();
        same(&Impute { config }, &numbers(&[2, 2]), &[f32::NAN, 1.0, 2.0, f32::NAN]);
        let hashed = OneHotConfig::from_json(r#"{"classes": 4, "hashed": true}"#).unwrap();
        let ids = Field { classes: Some(9), ..Field::new("xs", DType::U32, &[1]) };
        assert_eq!(OneHot { config: hashed }.steps(&ids).unwrap(), None);
    }
}
