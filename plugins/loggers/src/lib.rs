//! The standard loggers: TensorBoard event files, CSV, JSON lines.

mod csv;
mod histogram;
mod jsonl;
mod log_file;
mod picture;
mod protobuf;
mod tensorboard;

use csv::Csv;
use fluxbay_plugin::prelude::*;
use jsonl::JsonLines;
use tensorboard::TensorBoard;

plugin! {
    summary: "The standard loggers: TensorBoard event files, CSV, JSON lines.",
    logger "tensorboard" => TensorBoard {
        summary: "Writes event files that TensorBoard shows: scalars, texts, histograms, images, hyper-parameters.",
        details: "They lie in the run's folder under the logger's id: tensorboard --logdir FOLDER shows them.",
        example: "[[logger]]\ncomponent = \"tensorboard\"\n",
    },
    logger "csv" => Csv {
        summary: "Writes a table with a line per record: time, kind, tag, step, value.",
        details: "A histogram becomes its count, mean, deviation, least and largest value; images are left out.",
        example: "[[logger]]\ncomponent = \"csv\"\n",
    },
    logger "jsonl" => JsonLines {
        summary: "Writes a JSON object per record and line.",
        details: "Histograms are written with their bins; images become PNG files beside the table, which the line names.",
        example: "[[logger]]\ncomponent = \"jsonl\"\n",
    },
}
