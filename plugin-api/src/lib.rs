//! The crate that a fluxbay plugin depends on.
//!
//! A plugin is a shared library that offers components: phases, callbacks, models, losses, data
//! sets, metrics, schedules, loggers, optimizers, transforms, samplers, communicators. Each is a Rust type that implements [`Component`]
//! (created from a configuration) and the trait of its kind; [`plugin!`] exports them. The host
//! finds the file in a folder, reads its description without running it, checks that it fits, and
//! calls it.
//!
//! A whole plugin, a callback that ends the training when the loss is low enough:
//!
//! ```
//! use fluxbay_plugin::prelude::*;
//!
//! config! {
//!     /// When to stop.
//!     struct Config {
//!         /// Loss below which the training ends.
//!         below: f64 = 0.1 => 0.0..,
//!     }
//! }
//!
//! struct LowLoss {
//!     below: f64,
//!     loss: Read<f64>,
//! }
//!
//! impl Component for LowLoss {
//!     type Config = Config;
//!     fn new(config: Config, setup: &mut Setup) -> Result<Self> {
//!         Ok(LowLoss { below: config.below, loss: setup.read("step.loss")? })
//!     }
//! }
//!
//! impl Callback for LowLoss {
//!     fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
//!         let loss = learner.get(&self.loss)?;
//!         if event.is_training() && loss < self.below {
//!             return Err(Error::cancel_fit(format!("loss {loss} is below {}", self.below)));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! plugin! {
//!     summary: "Ends the training at a low loss.",
//!     callback "low-loss" => LowLoss {
//!         summary: "Ends the fit below a loss.",
//!         on: [StepEnd],
//!         reads: ["step.loss"],
//!     },
//! }
//! # fn main() {}
//! ```
//!
//! In its `Cargo.toml`: `crate-type = ["cdylib"]` and `fluxbay-plugin` as the only dependency.
//! `fluxbay new KIND NAME` makes such a crate, and `fluxbay dev` builds, checks and installs it.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the trait of a kind, each with an example | [`Phase`], [`Callback`], [`Model`], [`Loss`], [`Dataset`], [`Metric`], [`Schedule`], [`Optimizer`], [`Logger`], [`Transform`], [`Sampler`], [`Communicator`] |
//! | settings from a run file | [`config!`], [`choice!`], [`variants!`] |
//! | what a new instance declares: access, order, children | [`Setup`] |
//! | state of the run, records, the terminal | [`Learner`], and for phases [`PhaseLearner`] and [`Step`] |
//! | slots of the state tree | [`Read`], [`Write`], [`Value`] |
//! | events | [`Event`], [`EventKind`] |
//! | tensors and layers | [`Tensor`], [`nn`] |
//! | state that survives a resume | [`state!`], and for data sets [`learns!`] |
//! | errors and cancelling | [`Error`], [`bail!`], [`Context`] |
//! | what crosses the border, for other languages | [`abi`] |
//!
//! # What the host promises
//!
//! Functions marked `[training thread]` are called by one thread, one instance at a time; a type so
//! marked cannot leave it. A panic is caught at the border and ends the use of that instance.
//! Records of `log`'s macros reach the host's log. Errors are returned with `?`, and so are the
//! requests to cancel a step, an epoch or the fit.
//!
//! The repository's `docs/writing-plugins.md` is the guide, and `docs/how-to-add.md` lists the files
//! for an addition to this crate.

#![warn(clippy::missing_errors_doc)]

// The macros name this crate by its name, also within its own tests.
extern crate self as fluxbay_plugin;

pub mod abi;
mod anomaly;
mod callback;
mod children;
mod communicator;
mod component;
pub mod config;
pub mod dataset;
mod draws;
mod error;
pub mod event;
mod export;
mod figures;
mod json;
mod learner;
mod log_bridge;
mod logger;
mod loss;
pub mod manifest;
mod metric;
mod model;
pub mod nn;
mod optimizer;
mod phase;
mod pretrained;
mod sampler;
mod schedule;
mod setup;
mod state;
pub mod steps;
mod tensor;
#[doc(hidden)]
pub mod trampoline;
mod transform;

pub use anomaly::Anomaly;
pub use callback::{Callback, Resolution};
pub use children::{ChildCallback, ChildMetric, ChildSchedule};
pub use communicator::{Communicator, Joined, Parts};
pub use component::{Component, from_bytes, to_bytes};
pub use config::{Config, NoConfig};
pub use dataset::{Buffers, DataSpec, Dataset, Field, FillContext, Ragged, Split};
pub use draws::Draws;
pub use error::{Context, Error, Reason, Result};
pub use event::{Event, EventKind, PhaseKind};
pub use figures::{Figure, WatchedFigure};
pub use learner::{
    Batch, Better, Epoch, Learner, LossIndex, ModelIndex, PhaseLearner, Position, Ranking,
    Rehearsal, Step,
};
pub use logger::{Logger, Record, RecordValue};
pub use loss::Loss;
pub use metric::{Direction, Metric, MetricInput};
pub use model::Model;
pub use nn::{Activation, Init, Module, Params};
pub use optimizer::{Optimizer, Update};
pub use phase::Phase;
pub use pretrained::{AdapterNames, Family, Names, Pretrained, Rule};
pub use sampler::{Sampler, TrainingSamples};
pub use schedule::Schedule;
pub use setup::Setup;
pub use state::{Json, Node, Point, Read, Readable, Series, Tensors, Value, Write};
pub use tensor::{Attention, CrossEntropy, DType, Dims, Element, Resize, Shape, Tensor};
pub use transform::{Sample, SampleMut, Transform, transformed};

pub use log;
pub use serde;
pub use serde_json;

/// The code of the author's guide and of the repository's first page, compiled with the examples.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/writing-plugins.md")]
    struct Guide;
    #[doc = include_str!("../../docs/using-a-model.md")]
    struct Using;
    #[doc = include_str!("../../README.md")]
    struct Readme;
}

/// What most plugins use: `use fluxbay_plugin::prelude::*;`. It includes the standard events as
/// plain names (`StepEnd`) and the macros.
pub mod prelude {
    pub use crate::{
        Activation, Batch, Buffers, Callback, Communicator, Component, Context, DType, DataSpec,
        Dataset, Direction, Draws, Error, Event, EventKind, EventKind::*, Field, FillContext, Init,
        Joined, Json, Learner, Logger, Loss, Metric, MetricInput, Model, Module, NoConfig, Node,
        Optimizer, Params, Parts, Phase, PhaseLearner, Ragged, Read, Record, RecordValue,
        Resolution, Result, Sample, SampleMut, Sampler, Schedule, Series, Setup, Split, Step,
        Tensor, Tensors, TrainingSamples, Transform, Update, Write, bail, choice, config,
        from_bytes, learns, log, plugin, serde_json, state, to_bytes, variants,
    };
}

/// What the macros need.
#[doc(hidden)]
pub mod __private {
    pub use crate::trampoline::plugin::{
        ConstructorResult, Extension, LibHeader, count, entry, extension, header, init, root, rows,
    };
    pub use serde;
}
