//! Records named values of each step of a phase as series.

use std::collections::BTreeMap;

use fluxbay_plugin::prelude::*;

use crate::{nested::check_name, phases::Chosen};

choice! {
    /// How a tensor with several elements becomes one number.
    pub enum Summary {
        /// Mean of the elements.
        Mean,
        /// Euclidean norm.
        Norm,
        /// Smallest element.
        Min,
        /// Largest element.
        Max,
    }
}

config! {
    /// What is traced.
    pub struct Config {
        /// The state path of a number or tensor for each name, such as `loss = "step.loss"`.
        values: BTreeMap<String, String>,
        /// The phase, by id or kind.
        phase: String = "training",
        /// How a tensor with several elements becomes one number.
        summary: Summary = "mean",
        /// Number of steps between values.
        every: u64 = 1 => 1..,
    }
}

/// The callback `traces`.
pub struct Traces {
    values: Vec<Traced>,
    phase: Chosen,
    summary: Summary,
    every: u64,
    traces: Write<Node>,
}

struct Traced {
    name: String,
    source: Read<f64>,
    tensor: Read<Tensor>,
}

impl Component for Traces {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut values = Vec::new();
        for (name, path) in config.values {
            check_name(&name, "trace")?;
            let source: Read<f64> = setup.read(&path).context(format_args!("trace `{name}`"))?;
            values.push(Traced { name, source, tensor: source.typed() });
        }
        let phase = Chosen::new(Some(config.phase));
        Ok(Traces {
            values,
            phase,
            summary: config.summary,
            every: config.every,
            traces: setup.write("cbstate.traces")?,
        })
    }
}

impl Summary {
    fn of(self, tensor: &Tensor) -> Result<f64> {
        let tensor = tensor.detach()?;
        match self {
            Summary::Mean => tensor.mean_all(),
            Summary::Norm => tensor.norm(),
            Summary::Min => tensor.min_all(),
            Summary::Max => tensor.max_all(),
        }?
        .to_scalar()
    }
}

impl Callback for Traces {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !self.phase.includes(event)? || !(event.total_steps() - 1).is_multiple_of(self.every) {
            return Ok(());
        }
        let node: Write<Node> = self.traces.child(&event.phase_name()?)?;
        for traced in &self.values {
            let value = match learner.find(&traced.tensor) {
                Ok(Some(tensor)) if tensor.elem_count()? != 1 => Some(self.summary.of(&tensor)?),
                _ => {
                    learner.find(&traced.source).context(format_args!("trace `{}`", traced.name))?
                }
            };
            if let Some(value) = value {
                node.child::<Series>(&traced.name)?.push(event.total_steps() as f64, value)?;
            }
        }
        Ok(())
    }
}
