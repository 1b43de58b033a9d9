//! The fluxbay host: a library that loads plugins and trains models with them, and the `fluxbay`
//! command.
//!
//! A plugin is a shared library with components: phases, callbacks, models, losses, data sets,
//! metrics, optimizers, schedules, loggers. A run file names the components of a run. The host finds
//! the plugins, checks them, creates the instances, decides their order, and trains.
//!
//! # From files to a trained model
//!
//! 1. [`run_file`] reads TOML files and overrides into a checked
//!    [`RunDescription`](run_file::RunDescription).
//! 2. [`library`] scans folders into a [`Catalog`](library::Catalog) of components, and loads the
//!    plugins that a run needs.
//! 3. [`compose`] decides the order of the callbacks, or reports why they do not fit together.
//! 4. [`session`] creates the instances, opens the data with [`loader`], builds the models, and
//!    returns a [`Session`](session::Session). Start there to embed fluxbay in a program; the page
//!    has an example.
//! 5. [`learner`] runs the training loop and calls the plugins through [`calls`], which leaves a
//!    [`breadcrumb`] of each call. Plugins call back through the function tables of [`bridge`].
//! 6. [`tensor`] computes: operations, gradients, parameters, random numbers. It is a crate of its
//!    own.
//! 7. [`record`] writes the run folder, [`durable`] decides which checkpoints exist and resumes from
//!    them, [`display`] prints progress.
//! 8. [`supervisor`] runs all this in a child process and reports crashes and hangs with the plugin
//!    that was being called.
//!
//! [`cli`] is the command line, with one file for each command. [`check`] tests a plugin for its
//! author.
//!
//! # Layers
//!
//! A folder imports only from its own layer or from those below:
//!
//! | layer | folders |
//! |---|---|
//! | commands | `cli` |
//! | uses of a run | `check`, `durable`, `export`, `predict`, `bundle`, `session` |
//! | the loop | `supervisor`, `record`, `bridge`, `loader`, `display`, `learner` |
//! | descriptions | `compose`, `run_file` |
//! | plugins | `library`, `calls`, `breadcrumb` |
//! | tensors | crate `fluxbay-tensor` |
//! | contract with plugins | crate `fluxbay-plugin` |
//!
//! `docs/architecture.md` has the picture, the route of one batch through these folders, the life of
//! a plugin, and a glossary. `docs/how-to-add.md` lists the files to change for a new command,
//! event, operation and others.

pub mod breadcrumb;
pub mod bridge;
pub mod bundle;
pub mod calls;
pub mod check;
pub mod cli;
pub mod compose;
pub mod display;
pub mod durable;
pub mod export;
pub mod learner;
pub mod library;
pub mod loader;
pub mod predict;
pub mod record;
pub mod report;
pub mod run_file;
pub mod session;
pub mod supervisor;
pub mod surroundings;

pub use predict::Predictor;

/// Tensors of a run: handles, operations with gradients, parameters, random numbers. A separate
/// crate, so that the host compiles without recompiling the kernels.
pub use fluxbay_tensor as tensor;
