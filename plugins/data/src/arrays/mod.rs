//! Data set `arrays`: arrays of NumPy, and safetensors files.

mod element;
mod file;
mod filling;
mod npy;

use std::{
    collections::VecDeque,
    ops::Range,
    path::{Path, PathBuf},
};

use fluxbay_plugin::{
    prelude::*,
    serde,
    steps::{DatasetSteps, RawInput, ValueStep},
};

use self::{
    element::Type,
    file::{Array, Arrays},
    filling::Filling,
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
    /// Shape of the targets of a sample; runs of older releases do not say it.
    #[serde(default)]
    target: Option<Vec<usize>>,
    /// Shape of the inputs of a sample, and what they are divided by; likewise.
    #[serde(default)]
    input: Option<(Vec<usize>, f64)>,
}

/// The arrays of a split.
struct Part {
    name: &'static str,
    inputs: Array,
    /// Those of a file to predict from are not read.
    targets: Option<Array>,
}

impl Part {
    fn targets(&self) -> Result<&Array> {
        self.targets.as_ref().ok_or_else(|| Error::new("these samples have no targets"))
    }
}

/// Files that are predicted from. The samples of the present one are the first part.
#[derive(Default)]
struct Inputs {
    /// Files that were not read yet.
    files: VecDeque<PathBuf>,
    /// The present file, if there are several.
    name: Option<PathBuf>,
    several: bool,
    /// The samples of the last piece.
    piece: Range<usize>,
}

/// The data set `arrays`.
pub struct ArrayData {
    config: Config,
    base: PathBuf,
    learned: Option<Learned>,
    /// Whether `learned` comes from another instance.
    restored: bool,
    parts: Vec<Part>,
    inputs: Inputs,
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
            inputs: Inputs::default(),
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
        Ok((own, Part { name, inputs, targets: Some(targets) }))
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
            || first.targets()?.shape[1..] != second.targets()?.shape[1..]
        {
            bail!(
                "training samples have the shapes {:?} and {:?}, those for validation {:?} and {:?}",
                &first.inputs.shape[1..],
                &first.targets()?.shape[1..],
                &second.inputs.shape[1..],
                &second.targets()?.shape[1..]
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
        let targets = self.parts[0].targets()?;
        let float = targets.element.is_float();
        let target = Some(targets.shape[1..].to_vec());
        let classes = match self.config.task {
            Task::Auto => !float,
            Task::Classification => true,
            Task::Regression => false,
        };
        let inputs = &self.parts[0].inputs;
        let input = Some((inputs.shape[1..].to_vec(), self.divisor(inputs)));
        let mut found = Learned { classes: None, ids: None, scaling: Vec::new(), target, input };
        for part in &self.parts {
            if classes {
                let count = Self::largest(part.targets()?, "targets")
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
        let field = |name: &str, shape: &[usize], classes: Option<usize>| match classes {
            Some(_) => Field { classes, ..Field::new(name, DType::U32, shape) },
            // A number for each sample is a vector of one, as in other data sets.
            None if shape.is_empty() => Field::new(name, DType::F32, &[1]),
            None => Field::new(name, DType::F32, shape),
        };
        let target = match &part.targets {
            Some(targets) => &targets.shape[1..],
            None => learned.target.as_deref().unwrap_or_default(),
        };
        vec![
            field("xs", &part.inputs.shape[1..], learned.ids),
            field("ys", target, learned.classes),
        ]
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

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        if self.learned.is_none() {
            bail!("the model was saved without what its data set learned");
        }
        self.inputs = Inputs {
            files: files.iter().cloned().collect(),
            several: files.len() > 1,
            ..Inputs::default()
        };
        self.next_input().map(drop)
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        loop {
            let start = self.inputs.piece.end;
            let samples = self.parts.first().map_or(0, |part| part.inputs.samples());
            if start < samples {
                self.inputs.piece = start..samples.min(start + most);
                return Ok(self.inputs.piece.len());
            }
            if !self.next_input()? {
                return Ok(0);
            }
        }
    }

    fn input_key(&self, index: usize) -> String {
        let sample = self.inputs.piece.start + index;
        match &self.inputs.name {
            Some(path) => format!("{}:{sample}", path.display()),
            None => sample.to_string(),
        }
    }

    fn steps(&self, _: &[usize]) -> Result<Option<DatasetSteps>> {
        let learned = self.learned()?;
        let Some((shape, divisor)) = learned.input.clone() else { return Ok(None) };
        let (mut steps, mut output) = (Vec::new(), Field::new("xs", DType::F32, &shape));
        if learned.ids.is_some() {
            output.dtype = DType::U32;
        } else if shape.is_empty() {
            // A number for each sample is a vector of one.
            steps.push(ValueStep::Reshape(vec![1]));
            output.shape = vec![1];
        }
        if divisor != 1.0 {
            steps.push(ValueStep::Affine { axis: 0, offset: vec![0.0], divisor: vec![divisor] });
        }
        if !learned.scaling.is_empty() {
            let (offset, divisor) = learned.scaling.iter().copied().unzip();
            steps.extend([
                ValueStep::Reshape(vec![learned.scaling.len()]),
                ValueStep::Affine { axis: 0, offset, divisor },
                ValueStep::Reshape(output.shape.clone()),
            ]);
        }
        let dtype = if learned.ids.is_some() { "i64" } else { "f64" }.to_owned();
        let (name, categories) = ("inputs".to_owned(), Vec::new());
        let input = RawInput { name, dtype, shape, steps, categories };
        Ok(Some(DatasetSteps { inputs: vec![input], output: (&output).into() }))
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (part, learned) = (&self.parts[split], self.learned()?);
        let first = self.inputs.piece.start as u64;
        let inputs = Filling {
            array: &part.inputs,
            are_ids: learned.ids.is_some(),
            divisor: self.divisor(&part.inputs),
            scaling: &learned.scaling,
        };
        inputs.write(0, first, indices, buffers)?;
        let are_ids = learned.classes.is_some();
        match &part.targets {
            Some(array) => {
                let targets = Filling { array, are_ids, divisor: 1.0, scaling: &[] };
                targets.write(1, first, indices, buffers)
            }
            None if are_ids => {
                buffers.u32(1)?.fill(0);
                Ok(())
            }
            None => {
                buffers.f32(1)?.fill(0.0);
                Ok(())
            }
        }
    }
}

impl ArrayData {
    /// Opens the next file to predict from; false after the last.
    fn next_input(&mut self) -> Result<bool> {
        self.inputs.piece = 0..0;
        self.parts.clear();
        let Some(path) = self.inputs.files.pop_front() else { return Ok(false) };
        let arrays = file::open(&path)?;
        let inputs = match &arrays[..] {
            [(name, only)] if name.is_empty() => only.clone(),
            _ => {
                let name = self.config.inputs.as_deref();
                find(&arrays, "inputs", name, &INPUTS).context(path.display())?.1
            }
        };
        let learned = self.learned()?;
        let width = inputs.width();
        if !learned.scaling.is_empty() && learned.scaling.len() != width {
            bail!(
                "{}: samples have {width} inputs, those of the training data {}",
                path.display(),
                learned.scaling.len()
            );
        }
        if let Some(ids) = learned.ids {
            let found = Self::largest(&inputs, "inputs").context(path.display())?;
            if found > ids {
                bail!(
                    "{}: there is the id {}, the training data have ids below {ids}",
                    path.display(),
                    found - 1
                );
            }
        }
        self.parts.push(Part { name: "inputs", inputs, targets: None });
        self.inputs.name = self.inputs.several.then_some(path);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
