//! A callback of the host that cancels steps, returns errors or sets inputs to NaN, to check how the
//! plugin reacts. Written with the plugin crate, like any other callback.

use fluxbay_plugin::prelude::*;
use fluxbay_plugin::{abi::entry, abi::event, trampoline};

use crate::bridge::HOST;
use crate::learner::{Declared, Prepared};
use crate::library::ComponentRows;

config! {
    /// Configuration of the callback.
    pub struct Trouble {
        /// `cancel-step`, `cancel-epoch`, `cancel-fit`, `error`, `records` or `nan`.
        what: String,
    }
}

/// Acts in the third training step of each epoch.
pub struct Troublemaker {
    what: String,
    xs: Write<Tensor>,
}

impl Component for Troublemaker {
    type Config = Trouble;

    fn new(config: Trouble, setup: &mut Setup) -> Result<Self> {
        Ok(Troublemaker { what: config.what, xs: setup.write("step.xs")? })
    }
}

impl Callback for Troublemaker {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training() || event.step() != 3 {
            return Ok(());
        }
        match self.what.as_str() {
            "cancel-step" => Err(Error::cancel_step(WORDS)),
            "cancel-epoch" => Err(Error::cancel_epoch(WORDS)),
            "cancel-fit" => Err(Error::cancel_fit(WORDS)),
            "error" => Err(Error::new(WORDS)),
            "records" => records(learner, &learner.get(&self.xs)?),
            _ => {
                let xs = learner.get(&self.xs)?;
                learner.set(&self.xs, xs.zeros_like()?.affine(0.0, f64::NAN)?)
            }
        }
    }
}

/// Logs a record of every kind.
fn records(learner: &Learner, xs: &Tensor) -> Result<()> {
    let image = match xs.dims()?[..] {
        [_, _, _] => xs.narrow(0, 0, 1)?,
        _ => Tensor::zeros((1, 2, 2), DType::F32)?,
    };
    for (tag, value) in [
        ("check/scalar", RecordValue::Scalar(0.5)),
        ("check/not-a-number", RecordValue::Scalar(f64::NAN)),
        ("check/text", RecordValue::Text("a text\nof two lines".into())),
        ("check/histogram", RecordValue::Histogram(xs.clone())),
        ("check/image", RecordValue::Image(image)),
        ("check/hyper-parameters", RecordValue::HyperParameters("{\"rate\":0.1}".into())),
    ] {
        learner.log(&Record::new(tag, 3, value))?;
    }
    Ok(())
}

/// The text of its errors.
pub(super) const WORDS: &str = "raised by fluxbay check";

static COMPONENT: entry::Component =
    trampoline::callback::component::<Troublemaker>("troublemaker", 1);

/// The component and its configuration, from which an instance is created.
pub(super) fn prepared(what: &str) -> Prepared {
    fluxbay_plugin::__private::init("fluxbay-check", &HOST);
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let at = if what == "nan" { event::STEP_BEGIN } else { event::BACKWARD_BEGIN };
    Prepared {
        component: &COMPONENT,
        rows: ComponentRows::default(),
        name: "callback/troublemaker".into(),
        plugin: "fluxbay-check".into(),
        config: serde_json::json!({ "what": what }).to_string(),
        declared: Declared {
            events: texts(&[event::NAMES[at as usize]]),
            writes: texts(&["step.xs"]),
            ..Declared::default()
        },
    }
}
