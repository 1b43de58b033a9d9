//! `fluxbay data pack`: the samples of a run in one file.
//!
//! `docs/data/packed.md` describes the format; the data set `packed` of the plugin for data reads it.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::cli::outcome::{Exit, Failure};
use crate::display::thousands;
use crate::library::escape;
use crate::loader::{Loader, LoaderError};
use crate::session::Composed;

/// First and last bytes of a file; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"fbpack\0\x01";

/// Why packing ended.
enum Problem {
    Data(LoaderError),
    File(io::Error),
}

impl From<LoaderError> for Problem {
    fn from(error: LoaderError) -> Problem {
        Problem::Data(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        Problem::File(error)
    }
}

/// Writes all samples of the loader's data set, and says how many there are.
///
/// # Errors
/// A sample cannot be read, or the file cannot be written. A file that was there before stays.
pub(super) fn pack(composed: &Composed, loader: &Loader, into: &Path) -> Result<String, Failure> {
    let written = || -> Result<String, Problem> {
        let dir = into.parent().filter(|dir| !dir.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".packing-")
            .tempfile_in(dir.unwrap_or(Path::new(".")))?;
        let said = write(composed, loader, file.as_file())?;
        file.as_file().sync_all()?;
        file.persist(into).map_err(|error| error.error)?;
        Ok(said)
    };
    written().map_err(|problem| match problem {
        Problem::Data(error) => super::failed(error),
        Problem::File(error) => {
            Failure::new(Exit::Failed, format!("{}: {error}", escape::path(into)))
        }
    })
}

/// Counts what is written.
struct Out<'a> {
    file: BufWriter<&'a File>,
    at: u64,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn numbers(&mut self, numbers: &[u64]) -> io::Result<()> {
        numbers.iter().try_for_each(|number| self.put(&number.to_le_bytes()))
    }
}

fn write(composed: &Composed, loader: &Loader, file: &File) -> Result<String, Problem> {
    let mut out = Out { file: BufWriter::with_capacity(1 << 20, file), at: 0 };
    out.put(MAGIC)?;
    let (mut splits, mut said) = (Vec::new(), Vec::new());
    for (number, split) in loader.splits().iter().enumerate() {
        let (json, samples, left_out) = write_split(loader, number, &split.name, &mut out)?;
        splits.push(json);
        let name = escape::text(&split.name);
        said.push(match left_out {
            0 => format!("{name}: {} samples", thousands(samples)),
            _ => format!(
                "{name}: {} samples, {} left out because they cannot be read",
                thousands(samples),
                thousands(left_out)
            ),
        });
    }
    let header = json!({
        "source": composed.run().data.as_ref().map(|spec| spec.component_text()),
        "fields": fields(composed, loader),
        "splits": splits,
    });
    let header = header.to_string().into_bytes();
    let at = out.at;
    out.put(&header)?;
    out.numbers(&[at, header.len() as u64, u64::from(crc32fast::hash(&header))])?;
    out.put(MAGIC)?;
    out.file.flush()?;
    let size = out.at as f64 / f64::from(1 << 20);
    Ok(format!("{}\n{size:.1} MiB\n", said.join("\n")))
}

fn fields(composed: &Composed, loader: &Loader) -> Vec<Json> {
    let describe = |(number, field): (usize, &crate::loader::Field)| {
        let classes = field.classes.unwrap_or(0);
        let names = (0..classes).map_while(|class| composed.class_name(number, class));
        let names: Vec<String> = names.take_while(|name| !name.is_empty()).collect();
        let ragged = loader.samples().ragged().iter().find(|one| one.field == number);
        json!({
            "name": field.name, "dtype": field.dtype.as_str(), "shape": field.shape,
            "classes": classes, "class-names": names,
            "differs": ragged.map_or(&[][..], |one| &one.dimensions),
            "padding": ragged.map_or(0.0, |one| one.padding),
        })
    };
    loader.samples().fields().iter().enumerate().map(describe).collect()
}

/// Writes the records of a split and its tables. Returns its part of the header, and how many samples were
/// written and left out.
fn write_split(
    loader: &Loader,
    split: usize,
    name: &str,
    out: &mut Out<'_>,
) -> Result<(Json, u64, u64), Problem> {
    let (mut starts, mut keys, mut ends) = (vec![out.at], Vec::new(), vec![0_u64]);
    let mut left_out = 0;
    let mut record = Vec::new();
    loader.each_piece(split, |piece| -> Result<(), Problem> {
        for sample in 0..piece.len() {
            if piece.is_left_out(sample) {
                left_out += 1;
                continue;
            }
            record.clear();
            for length in piece.lengths(sample) {
                record.extend(length.to_le_bytes());
            }
            for field in 0..loader.samples().fields().len() {
                record.extend(loader.bytes_of(piece, field, sample));
            }
            record.extend(crc32fast::hash(&record).to_le_bytes());
            out.put(&record)?;
            starts.push(out.at);
            let key = loader.samples().key(split, piece.first + sample as u64);
            keys.extend(key.unwrap_or_default().into_bytes());
            ends.push(keys.len() as u64);
        }
        Ok(())
    })?;
    let differ = !loader.samples().ragged().is_empty();
    let starts_at = out.at;
    if differ {
        out.numbers(&starts)?;
    }
    let (keys_at, has_keys) = (out.at, !keys.is_empty());
    if has_keys {
        out.numbers(&ends)?;
        out.put(&keys)?;
    }
    let samples = starts.len() as u64 - 1;
    let json = json!({
        "name": name, "samples": samples, "at": starts[0],
        "starts-at": differ.then_some(starts_at), "keys-at": has_keys.then_some(keys_at),
    });
    Ok((json, samples, left_out))
}
