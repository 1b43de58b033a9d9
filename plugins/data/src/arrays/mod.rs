//! Data set `arrays`: arrays of NumPy, and safetensors files.

mod element;
mod file;
mod npy;

use std::path::{Path, PathBuf};

use fluxbay_plugin::{prelude::*, serde};

use self::{
    element::Type,
    file::{Array, Arrays},
};
use fluxbay_table::statistics::{Deviations, Scaling, Sums};

choice! {
    /// Kind of the target.
    pub enum Task {
        /// Numbers that may have a fraction are predicted as numbers, whole ones are classes.
        Auto,
        /// Whole numbers from 0: classes.
        Classification,
        /// Numbers.
        Regression,
    }
}

config! {
    /// The files and their arrays.
    pub struct Config {
        /// A `.npz`, `.safetensors` or `.npy` file, relative to the run file.
        path: PathBuf,
        /// Array with the samples along its first dimension. By default the first of `x`, `xs`, `X`,
        /// `inputs`, `data`, `images`, `x_train`, `train_x` and `arr_0` that the file has.
        inputs: Option<String> = null,
        /// Array with the targets, or another `.npy` file. By default the first of `y`, `ys`, `Y`,
        /// `targets`, `labels`, `y_train`, `train_y` and `arr_1`.
        targets: Option<String> = null,
        /// File with the samples for validation; by default `path`, if it has arrays for validation.
        validation_path: Option<PathBuf> = null,
        /// Array with the samples for validation. By default that of `inputs` in `validation-path`;
        /// without such a file `x_val`, `x_valid`, `x_test`, `val_x` or `test_x` beside `x_train` or
        /// `train_x`. Without any the loader divides the samples.
        validation_inputs: Option<String> = null,
        /// Array with their targets.
        validation_targets: Option<String> = null,
        /// Kind of the target.
        task: Task = "auto",
        /// Whether the inputs are ids, such as those of tokens.
        ids: bool = false,
        /// Number that inputs are divided by; by default 255 for unsigned bytes, 1 for others.
        divide: Option<f64> = null,
        /// Whether each input is scaled to mean 0 and standard deviation 1 of the training samples.
        standardize: bool = false,
    }
}

const INPUTS: [&str; 9] =
    ["x", "xs", "X", "inputs", "data", "images", "x_train", "train_x", "arr_0"];
const TARGETS: [&str; 8] = ["y", "ys", "Y", "targets", "labels", "y_train", "train_y", "arr_1"];
const VALIDATION: [(&str, &[(&str, &str)]); 2] = [
    ("x_train", &[("x_val", "y_val"), ("x_valid", "y_valid"), ("x_test", "y_test")]),
    ("train_x", &[("val_x", "val_y"), ("test_x", "test_y")]),
];

/// What the training samples determine.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Learned {
    /// Number of classes of the target; `None` for numbers.
    classes: Option<usize>,
    /// Number of ids of the inputs; `None` for numbers.
    ids: Option<usize>,
    /// Mean and scale of each input; empty if they are not scaled.
    scaling: Vec<(f64, f64)>,
}

/// The arrays of a split.
struct Part {
    name: &'static str,
    inputs: Array,
    targets: Array,
}

/// The data set `arrays`.
pub struct ArrayData {
    config: Config,
    base: PathBuf,
    learned: Option<Learned>,
    /// Whether `learned` comes from another instance.
    restored: bool,
    parts: Vec<Part>,
}

impl Component for ArrayData {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        if let Some(path) = &mut config.validation_path {
            *path = setup.resolve_path(&*path)?;
        }
        if config.divide.is_some_and(|divide| divide == 0.0 || !divide.is_finite()) {
            bail!("divide = {}: inputs cannot be divided by it", config.divide.unwrap_or_default());
        }
        if config.ids && (config.standardize || config.divide.is_some()) {
            bail!("ids = true: ids are neither divided nor standardised");
        }
        Ok(ArrayData { base: setup.resolve_path("")?, ..ArrayData::with(config) })
    }
}

/// The array called `name`, or the first that has one of the `usual` names.
fn find(arrays: &Arrays, key: &str, name: Option<&str>, usual: &[&str]) -> Result<(String, Array)> {
    let get = |name: &str| arrays.iter().find(|(own, _)| own == name).cloned();
    let found = match name {
        Some(name) => get(name),
        None if key == "inputs" && arrays.len() == 1 => arrays.first().cloned(),
        None => usual.iter().find_map(|name| get(name)),
    };
    found.ok_or_else(|| {
        let names: Vec<String> =
            arrays.iter().map(|(name, array)| format!("{name} {:?}", array.shape)).collect();
        Error::new(match name {
            Some(name) => format!("there is no array `{name}`; there are: {}", names.join(", ")),
            None => format!("set {key} to one of the arrays: {}", names.join(", ")),
        })
    })
}

impl ArrayData {
    fn with(config: Config) -> ArrayData {
        ArrayData {
            config,
            base: PathBuf::new(),
            learned: None,
            restored: false,
            parts: Vec::new(),
        }
    }

    /// The arrays of a split and the name of the one with the inputs.
    fn part(
        &self,
        name: &'static str,
        path: &Path,
        inputs: Option<&str>,
        targets: Option<&str>,
    ) -> Result<(String, Part)> {
        let arrays = file::open(path)?;
        let unnamed = arrays.len() == 1 && arrays[0].0.is_empty();
        let (own, inputs) = if unnamed && inputs.is_none() {
            arrays[0].clone()
        } else {
            find(&arrays, "inputs", inputs, &INPUTS).context(path.display())?
        };
        let other = targets.filter(|targets| targets.ends_with(".npy"));
        let targets = match other {
            Some(other) => {
                let path = self.base.join(other);
                find(&file::open(&path)?, "inputs", None, &[]).context(path.display())?.1
            }
            None if unnamed => {
                bail!("{}: set targets to the .npy file with the targets", path.display())
            }
            None => find(&arrays, "targets", targets, &TARGETS).context(path.display())?.1,
        };
        if inputs.samples() != targets.samples() || inputs.samples() == 0 {
            bail!(
                "{}: there are {} inputs {:?} and {} targets {:?}",
                path.display(),
                inputs.samples(),
                inputs.shape,
                targets.samples(),
                targets.shape
            );
        }
        Ok((own, Part { name, inputs, targets }))
    }

    /// All splits.
    fn find_parts(&self) -> Result<Vec<Part>> {
        let config = &self.config;
        let (inputs, targets) = (config.inputs.as_deref(), config.targets.as_deref());
        let (own, mut first) = self.part("all", &config.path, inputs, targets)?;
        let mut validation =
            config.validation_inputs.clone().zip(config.validation_targets.clone());
        if config.validation_inputs.is_some() != config.validation_targets.is_some() {
            bail!("set both or neither of validation-inputs and validation-targets");
        }
        if validation.is_none() && config.validation_path.is_none() && inputs.is_none() {
            let names: Vec<String> =
                file::open(&config.path)?.into_iter().map(|(name, _)| name).collect();
            let has = |name: &str| names.iter().any(|own| own == name);
            validation = VALIDATION
                .iter()
                .filter(|(name, _)| own == *name)
                .flat_map(|(_, pairs)| *pairs)
                .find(|(inputs, targets)| has(inputs) && has(targets))
                .map(|(inputs, targets)| ((*inputs).to_owned(), (*targets).to_owned()));
        }
        if validation.is_none() && config.validation_path.is_none() {
            return Ok(vec![first]);
        }
        first.name = "training";
        let path = config.validation_path.as_ref().unwrap_or(&config.path);
        let (inputs, targets) = match &validation {
            Some((inputs, targets)) => (Some(inputs.as_str()), Some(targets.as_str())),
            None => (inputs, targets),
        };
        let (_, second) = self.part("validation", path, inputs, targets)?;
        if first.inputs.shape[1..] != second.inputs.shape[1..]
            || first.targets.shape[1..] != second.targets.shape[1..]
        {
            bail!(
                "training samples have the shapes {:?} and {:?}, those for validation {:?} and {:?}",
                &first.inputs.shape[1..],
                &first.targets.shape[1..],
                &second.inputs.shape[1..],
                &second.targets.shape[1..]
            );
        }
        Ok(vec![first, second])
    }

    /// One more than the largest id in an array.
    fn largest(array: &Array, what: &str) -> Result<usize> {
        let (mut most, width) = (0, array.width().max(1));
        let mut ids = Vec::new();
        array.scan(|first, bytes| {
            ids.resize(bytes.len() / array.element.size(), 0);
            if let Err(error) = array.element.ids(bytes, &mut ids) {
                let count = ids.len() / width;
                bail!("{what} of samples {first} to {}: {error}", first + count);
            }
            most = ids.iter().fold(most, |most, id| most.max(*id as usize + 1));
            Ok(())
        })?;
        Ok(most)
    }

    fn learn(&mut self) -> Result<()> {
        let float = self.parts[0].targets.element.is_float();
        let classes = match self.config.task {
            Task::Auto => !float,
            Task::Classification => true,
            Task::Regression => false,
        };
        let mut found = Learned { classes: None, ids: None, scaling: Vec::new() };
        for part in &self.parts {
            if classes {
                let count = Self::largest(&part.targets, "targets")
                    .map_err(|error| error.context(format!("the {} split", part.name)))?;
                found.classes = found.classes.max(Some(count));
            }
            if self.config.ids {
                found.ids = found.ids.max(Some(Self::largest(&part.inputs, "inputs")?));
            }
        }
        match &self.learned {
            None => self.learned = Some(found),
            Some(known) => {
                for (what, known, found) in
                    [("classes", known.classes, found.classes), ("ids", known.ids, found.ids)]
                {
                    if known.is_some() != found.is_some() || found > known {
                        bail!(
                            "the training data have {} {what}, these have {}",
                            known.unwrap_or(0),
                            found.unwrap_or(0)
                        );
                    }
                }
                let width = self.parts[0].inputs.width();
                if !known.scaling.is_empty() && known.scaling.len() != width {
                    bail!(
                        "the training data have {} inputs per sample, these have {width}",
                        known.scaling.len()
                    );
                }
            }
        }
        Ok(())
    }

    /// What inputs are divided by.
    fn divisor(&self, inputs: &Array) -> f64 {
        let bytes = inputs.element.kind == Type::U8;
        self.config.divide.unwrap_or(if bytes { 255.0 } else { 1.0 })
    }

    fn learned(&self) -> Result<&Learned> {
        self.learned.as_ref().ok_or_else(|| Error::new("the data set is not open"))
    }
}

impl Dataset for ArrayData {
    fn learnt(&self) -> Result<Vec<u8>> {
        to_bytes(&self.learned)
    }

    fn restore(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.learned = from_bytes(bytes)?;
        let usable =
            |&(mean, scale): &(f64, f64)| mean.is_finite() && scale.is_finite() && scale > 0.0;
        if !self.learned.iter().flat_map(|learned| &learned.scaling).all(usable) {
            bail!("the saved scaling is damaged");
        }
        self.restored = self.learned.is_some();
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        self.parts = self.find_parts()?;
        self.learn().context(self.config.path.display())
    }

    fn fields(&self) -> Vec<Field> {
        let Some((part, learned)) = self.parts.first().zip(self.learned.as_ref()) else {
            return Vec::new();
        };
        let field = |name: &str, array: &Array, classes: Option<usize>| {
            let shape = &array.shape[1..];
            match classes {
                Some(_) => Field { classes, ..Field::new(name, DType::U32, shape) },
                // A number for each sample is a vector of one, as in other data sets.
                None if shape.is_empty() => Field::new(name, DType::F32, &[1]),
                None => Field::new(name, DType::F32, shape),
            }
        };
        vec![field("xs", &part.inputs, learned.ids), field("ys", &part.targets, learned.classes)]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.inputs.samples())).collect()
    }

    fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
        if self.restored || !self.config.standardize {
            return Ok(());
        }
        let inputs = &self.parts[split].inputs;
        let (divisor, mut buffer) = (self.divisor(inputs), Vec::new());
        let mut sums = vec![Sums::default(); inputs.width()];
        let mut pass = |each: &mut dyn FnMut(usize, f64)| -> Result<()> {
            for index in indices {
                inputs.with(*index as usize, 1, &mut buffer, |bytes| {
                    let mut at = 0;
                    inputs.element.each(bytes, |value| {
                        each(at, value / divisor);
                        at += 1;
                    });
                    Ok(())
                })?;
            }
            Ok(())
        };
        pass(&mut |at, value| sums[at].add(value))?;
        let mut deviations: Vec<_> =
            sums.iter().map(|sums| Deviations::from(sums.mean())).collect();
        pass(&mut |at, value| deviations[at].add(value))?;
        let scaling = deviations.iter().map(|deviations| {
            let Scaling { mean, scale } = deviations.scaling(indices.len() as u64);
            (mean, scale)
        });
        let scaling: Vec<_> = scaling.collect();
        if let Some(at) = scaling.iter().position(|(mean, scale)| !(mean + scale).is_finite()) {
            bail!("input {at} of the samples has values that are not finite");
        }
        if let Some(learned) = &mut self.learned {
            learned.scaling = scaling;
        }
        Ok(())
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (part, learned, mut bytes) = (&self.parts[split], self.learned()?, Vec::new());
        for (field, array) in [&part.inputs, &part.targets].into_iter().enumerate() {
            let width = array.width();
            let ids = if field == 0 { learned.ids } else { learned.classes };
            if ids.is_some() {
                let places = buffers.u32(field)?.chunks_exact_mut(width.max(1));
                for (place, index) in places.zip(indices) {
                    array.with(*index as usize, 1, &mut bytes, |bytes| {
                        array.element.ids(bytes, place)
                    })?;
                }
                continue;
            }
            let (divisor, scaling) = match field {
                0 => (self.divisor(array), &learned.scaling[..]),
                _ => (1.0, &[][..]),
            };
            let places = buffers.f32(field)?.chunks_exact_mut(width.max(1));
            for (place, index) in places.zip(indices) {
                array.with(*index as usize, 1, &mut bytes, |bytes| {
                    let mut at = 0;
                    array.element.each(bytes, |value| {
                        let value = value / divisor;
                        place[at] = match scaling.get(at) {
                            Some((mean, scale)) => ((value - mean) / scale) as f32,
                            None => value as f32,
                        };
                        at += 1;
                    });
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
