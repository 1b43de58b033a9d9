//! Logs images from the step state under `step/<phase>/images/<number>`.

use fluxbay_plugin::prelude::*;

use crate::phases::Chosen;

config! {
    /// Which images are logged.
    pub struct Config {
        /// Number of steps between records.
        every: u64 = 100 => 1..,
        /// How many samples of the batch.
        count: u64 = 4 => 1..,
        /// State path of the images: `[samples, channels, height, width]`,
        /// `[samples, height, width]`, or any shape if `shape` is given.
        path: String = "step.xs",
        /// Shape of one image if the samples have another shape: `[height, width]` or
        /// `[channels, height, width]`.
        shape: Option<Vec<usize>> = null,
        /// Whether the values of each image are stretched to the range from 0 to 1.
        stretch: bool = true,
        /// The phase, by id or kind; by default all.
        phase: Option<String> = null,
    }
}

/// The callback `log-images`.
pub struct LogImages {
    config: Config,
    phase: Chosen,
    source: Read<Tensor>,
}

impl Component for LogImages {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(LogImages {
            phase: Chosen::new(config.phase.clone()),
            source: setup.read(&config.path)?,
            config,
        })
    }
}

/// The shape of the image in a sample of shape `dims`.
fn image_shape(dims: &[usize], shape: Option<&Vec<usize>>) -> Result<Vec<usize>> {
    let shape = shape.map_or(dims, Vec::as_slice);
    if shape.iter().product::<usize>() != dims.iter().product::<usize>() {
        bail!(
            "an image of shape {shape:?} and a sample of shape {dims:?} have different numbers of elements"
        );
    }
    match shape.len() {
        2 | 3 => Ok(shape.to_vec()),
        _ => bail!(
            "a sample of shape {shape:?} is not an image: give `shape` as [height, width] or [channels, height, width]"
        ),
    }
}

/// Factor and summand that bring `low` to 0 and `high` to 1.
fn stretching(low: f64, high: f64) -> (f64, f64) {
    if high > low { (1.0 / (high - low), -low / (high - low)) } else { (1.0, -low) }
}

impl LogImages {
    fn image(&self, batch: &Tensor, sample: usize, shape: &[usize]) -> Result<Tensor> {
        let image = batch.narrow(0, sample, 1)?.reshape(shape)?.to_dtype(DType::F32)?;
        if !self.config.stretch {
            return Ok(image);
        }
        let (low, high) =
            (image.min_all()?.to_scalar::<f64>()?, image.max_all()?.to_scalar::<f64>()?);
        let (factor, summand) = stretching(low, high);
        image.affine(factor, summand)
    }
}

impl Callback for LogImages {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !(event.total_steps() - 1).is_multiple_of(self.config.every)
            || !self.phase.includes(event)?
            || learner.loggers()? == 0
        {
            return Ok(());
        }
        let Some(batch) = learner.find(&self.source)? else { return Ok(()) };
        let batch = batch.detach()?;
        let dims = batch.dims()?;
        let Some((&samples, dims)) = dims.split_first() else {
            bail!("`{}` is a single number, not a batch of images", self.config.path)
        };
        let shape = image_shape(dims, self.config.shape.as_ref())
            .context(format_args!("`{}`", self.config.path))?;
        let phase = event.phase_name()?;
        for sample in 0..samples.min(self.config.count as usize) {
            let image = self.image(&batch, sample, &shape)?;
            learner.log(&Record::new(
                format!("step/{phase}/images/{sample}"),
                event.total_steps(),
                RecordValue::Image(image),
            ))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_a_fitting_shape_become_images() {
        assert_eq!(image_shape(&[1, 8, 8], None).unwrap(), [1, 8, 8]);
        assert_eq!(image_shape(&[64], Some(&vec![8, 8])).unwrap(), [8, 8]);
        assert!(image_shape(&[64], None).unwrap_err().message().contains("`shape`"));
        assert!(image_shape(&[64], Some(&vec![8, 9])).is_err());
    }

    #[test]
    fn values_are_stretched_to_the_whole_range() {
        let (factor, summand) = stretching(-2.0, 6.0);
        assert_eq!((-2.0 * factor + summand, 6.0 * factor + summand), (0.0, 1.0));
        assert_eq!(stretching(3.0, 3.0), (1.0, -3.0));
    }
}
