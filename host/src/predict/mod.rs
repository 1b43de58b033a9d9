//! Applying a trained model: predictions for files, and the model as a function for programs.
//!
//! | file | content |
//! |---|---|
//! | `applied` | a model with its parameters and, where it is needed, its data set |
//! | `stream` | batches of a run's data or of files, with the key of each sample |
//! | `reading` | what the outputs of a model mean: classes with probabilities, or values |
//! | `point` | a place within a model, whose tensor is read in place of the outputs |
//! | `table` | predictions as rows of CSV, JSON lines or Parquet |
//! | `parquet` | tables of texts and numbers as Parquet files |
//! | `generate` | a language model that continues a text |
//! | `sampling` | how the next token is chosen |
//! | `predictor` | the interface for programs: named inputs and outputs, usable from any thread |
//!
//! `fluxbay predict` and `fluxbay-serve` are made of these. The model runs in evaluation mode, as a
//! validation phase runs it; phases, callbacks and losses of the run take no part.

#![forbid(unsafe_code)]

mod applied;
mod generate;
mod parquet;
mod point;
mod predictor;
mod reading;
mod sampling;
mod stream;
mod table;

pub use applied::{Applied, DataUse, PredictError};
pub use generate::Generator;
pub use point::Point;
pub use predictor::{Port, Predictor, PredictorOptions};
pub use reading::{Meaning, Prediction, Reading};
pub use sampling::Sampling;
pub use stream::{KeyedBatch, Stream};
pub use table::{Format, Table, TableOptions};
