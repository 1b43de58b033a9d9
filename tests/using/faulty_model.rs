//! A model that fails for inputs whose first value says how.

use fluxbay_plugin::{
    nn::{Linear, linear},
    prelude::*,
};

struct Faulty;

impl Component for Faulty {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Faulty)
    }
}

impl Model for Faulty {
    type Network = Linear;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Linear> {
        linear(data.xs()?.elements(), data.outputs()?, params.pp("output"))
    }

    fn forward(&self, network: &Linear, xs: &Tensor) -> Result<Tensor> {
        let size: usize = xs.dims()?[1..].iter().product();
        for sample in xs.to_vec::<f32>()?.chunks(size) {
            match sample[0] as u32 {
                2 => unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(1) },
                3 => std::process::abort(),
                4 => loop {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                },
                5 => std::process::exit(0),
                6 => panic!("out of ideas"),
                7 => bail!("out of luck"),
                _ => {}
            }
        }
        network.forward_flat(xs)
    }
}

plugin! {
    summary: "A model that fails.",
    model "faulty-model" => Faulty { summary: "Fails for some inputs." },
}
