//! The sampler `{{name}}`: an epoch reads a part of the training samples, others in each epoch.

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// Share of the training samples that an epoch reads.
        share: f64 = 0.5 => 0.0..=1.0,
    }
}

struct {{Type}} {
    config: Config,
    samples: usize,
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { config, samples: 0 })
    }
}

impl Sampler for {{Type}} {
    // Called once; returns the number of samples that an epoch reads.
    fn open(&mut self, training: &TrainingSamples<'_>) -> Result<usize> {
        self.samples = training.count;
        Ok(((training.count as f64 * self.config.share).round() as usize).max(1))
    }

    // Must depend on the arguments alone, so that a resumed run reads the same samples.
    fn order(&self, _epoch: u64, draws: &mut Draws, order: &mut [u64]) -> Result<()> {
        let mut all: Vec<u64> = (0..self.samples as u64).collect();
        draws.shuffle(&mut all);
        order.copy_from_slice(&all[..order.len()]);
        Ok(())
    }
}

plugin! {
    summary: "The sampler {{name}}.",
    sampler "{{name}}" => {{Type}} {
        summary: "An epoch reads a part of the training samples, others in each epoch.",
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_reads_its_share_and_no_sample_twice() {
        let mut sampler = {{Type}} { config: Config { share: 0.5 }, samples: 0 };
        let training = TrainingSamples { count: 10, labels: None, classes: 0 };
        let mut order = vec![0; sampler.open(&training).unwrap()];
        sampler.order(1, &mut Draws::new(1), &mut order).unwrap();
        order.sort_unstable();
        order.dedup();
        assert!(order.len() == 5 && order.iter().all(|sample| *sample < 10), "{order:?}");
    }
}
