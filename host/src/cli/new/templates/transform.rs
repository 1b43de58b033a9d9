//! The transform `{{name}}`: a part of the elements of a sample becomes 0.

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// Probability with which an element becomes 0.
        share: f64 = 0.1 => 0.0..=1.0,
    }
}

struct {{Type}} {
    config: Config,
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { config })
    }
}

impl Transform for {{Type}} {
    // Called before the first sample: check the field here, and return what it becomes.
    fn describe(&self, input: &Field) -> Result<Field> {
        if input.dtype != DType::F32 {
            return Err(Error::new(format!("field `{}` holds {}, but f32 is needed", input.name, input.dtype)));
        }
        Ok(input.clone())
    }

    // Called on the loader's threads. Every random choice comes from `draws`.
    fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, draws: &mut Draws) -> Result<()> {
        for (y, x) in output.f32()?.iter_mut().zip(input.f32()?) {
            *y = if draws.chance(self.config.share) { 0.0 } else { *x };
        }
        Ok(())
    }
}

plugin! {
    summary: "The transform {{name}}.",
    transform "{{name}}" => {{Type}} {
        summary: "A part of the elements of a sample becomes 0.",
        // Applied to training samples only, unless the run file sets `when`.
        augments: true,
    },
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::transformed;

    use super::*;

    #[test]
    fn about_the_given_share_becomes_0_and_the_rest_stays() {
        let transform = {{Type}} { config: Config { share: 0.25 } };
        let field = Field::new("xs", DType::F32, &[1000]);
        let (_, ys): (_, Vec<f32>) = transformed(&transform, &field, &[2.0_f32; 1000], &mut Draws::new(1)).unwrap();
        let zeros = ys.iter().filter(|y| **y == 0.0).count();
        assert!((200..300).contains(&zeros) && ys.iter().all(|y| *y == 0.0 || *y == 2.0), "{zeros}");
    }
}
