//! The standard loggers: TensorBoard event files, CSV, JSON lines.
//!
//! A logger receives the records of callbacks (scalars, texts, histograms, images,
//! hyper-parameters), each with a tag and a step, and appends them to a file in its folder of the
//! run. Its saved state is the length of the file, so that a resumed run truncates the file to the
//! checkpoint and continues it.
//!
//! | module | content |
//! |---|---|
//! | `csv`, `jsonl`, `tensorboard` | the loggers |
//! | `log_file` | the append-only file behind each of them |
//! | `histogram`, `image` | conversion of tensors |
//! | `protobuf` | wire format of event files |

mod csv;
mod histogram;
mod image;
mod jsonl;
mod log_file;
mod protobuf;
mod tensorboard;

use csv::Csv;
use fluxbay_plugin::prelude::*;
use jsonl::JsonLines;
use tensorboard::TensorBoard;

plugin! {
    summary: "The standard loggers: TensorBoard event files, CSV, JSON lines.",
    logger "tensorboard" => TensorBoard {
        summary: "Writes TensorBoard event files: scalars, texts, histograms, images, hyper-parameters.",
        details: "The files are in the folder of the run, in a folder named after the logger's id. `tensorboard --logdir FOLDER` shows them.",
        example: "[[logger]]\ncomponent = \"tensorboard\"\n",
    },
    logger "csv" => Csv {
        summary: "Writes one line per record: time, kind, tag, step, value.",
        details: "A histogram becomes five lines: count, mean, standard deviation, minimum and maximum. Images are omitted.",
        example: "[[logger]]\ncomponent = \"csv\"\n",
    },
    logger "jsonl" => JsonLines {
        summary: "Writes one JSON object per record.",
        details: "Histograms are written with their bins; images become PNG files, named in their record.",
        example: "[[logger]]\ncomponent = \"jsonl\"\n",
    },
}
