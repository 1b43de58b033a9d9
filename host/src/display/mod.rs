//! What a person sees while a run goes on: bars on a terminal, plain lines elsewhere, nothing when
//! asked to be quiet.
//!
//! Everything goes to stderr, through one [`Screen`], so that lines of the log and of plugins stand
//! above the bars and never tear them. Texts of plugins are escaped here, at the last moment.
//! Nothing here knows how a run is trained.

#![forbid(unsafe_code)]

mod bars;
mod launch;
mod log;
mod plot;
mod screen;
mod summary;
mod table;
mod width;

pub use self::{
    bars::Bars,
    launch::{Launch, LaunchData, LaunchModel, LaunchPlugin},
    log::{HostLog, Verbosity},
    plot::plot,
    screen::{Colors, Look, Screen},
    summary::{Conclusion, Summary},
};
pub(crate) use self::{
    table::{bytes, columns, number},
    width::width_of_stdout,
};
