//! Hands pictures out of the step state to the run's loggers: `step/<phase>/images/<number>`.

use fluxbay_plugin::prelude::*;

use crate::phases::Chosen;

config! {
    /// Which pictures are logged.
    pub struct Config {
        /// Every how many steps.
        every: u64 = 100 => 1..,
        /// How many samples of the batch.
        count: u64 = 4 => 1..,
        /// State path of the pictures: `[samples, channels, height, width]`,
        /// `[samples, height, width]`, or with `shape` anything.
        path: String = "step.xs",
        /// Shape of one picture where the samples have another: `[height, width]` or
        /// `[channels, height, width]`.
        shape: Option<Vec<usize>> = null,
        /// Whether each picture's values are stretched to the range from 0 to 1.
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

/// The picture in sample `sample` of shape `dims`.
fn picture_shape(dims: &[usize], shape: Option<&Vec<usize>>) -> Result<Vec<usize>> {
    let shape = shape.map_or(dims, Vec::as_slice);
    if shape.iter().product::<usize>() != dims.iter().product::<usize>() {
        bail!(
            "a picture of shape {shape:?} has not as many elements as a sample of shape {dims:?}"
        );
    }
    match shape.len() {
        2 | 3 => Ok(shape.to_vec()),
        _ => bail!(
            "a sample of shape {shape:?} is no picture: give `shape` as [height, width] or [channels, height, width]"
        ),
    }
}

/// Factor and summand that bring `low` to 0 and `high` to 1.
fn stretching(low: f64, high: f64) -> (f64, f64) {
    if high > low { (1.0 / (high - low), -low / (high - low)) } else { (1.0, -low) }
}

impl LogImages {
    fn picture(&self, batch: &Tensor, sample: usize, shape: &[usize]) -> Result<Tensor> {
        let picture = batch.narrow(0, sample, 1)?.reshape(shape)?.to_dtype(DType::F32)?;
        if !self.config.stretch {
            return Ok(picture);
        }
        let (low, high) =
            (picture.min_all()?.to_scalar::<f64>()?, picture.max_all()?.to_scalar::<f64>()?);
        let (factor, summand) = stretching(low, high);
        picture.affine(factor, summand)
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
            bail!("`{}` is a single number, no pictures", self.config.path)
        };
        let shape = picture_shape(dims, self.config.shape.as_ref())
            .context(format_args!("`{}`", self.config.path))?;
        let phase = event.phase_name()?;
        for sample in 0..samples.min(self.config.count as usize) {
            let picture = self.picture(&batch, sample, &shape)?;
            learner.log(&Record::new(
                format!("step/{phase}/images/{sample}"),
                event.total_steps(),
                RecordValue::Image(picture),
            ))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_pictures_where_they_can() {
        assert_eq!(picture_shape(&[1, 8, 8], None).unwrap(), [1, 8, 8]);
        assert_eq!(picture_shape(&[64], Some(&vec![8, 8])).unwrap(), [8, 8]);
        assert!(picture_shape(&[64], None).unwrap_err().message().contains("`shape`"));
        assert!(picture_shape(&[64], Some(&vec![8, 9])).is_err());
    }

    #[test]
    fn values_are_stretched_to_the_whole_range() {
        let (factor, summand) = stretching(-2.0, 6.0);
        assert_eq!((-2.0 * factor + summand, 6.0 * factor + summand), (0.0, 1.0));
        assert_eq!(stretching(3.0, 3.0), (1.0, -3.0));
    }
}
