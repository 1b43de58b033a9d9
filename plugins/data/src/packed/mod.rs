//! Data set `packed`: ready samples of one file.

mod file;

use std::path::PathBuf;

use file::Pack;
use fluxbay_plugin::prelude::*;

config! {
    /// The file.
    pub struct Config {
        /// File that `fluxbay data pack` wrote, relative to the run file.
        path: PathBuf,
    }
}

/// The data set `packed`.
pub struct Packed {
    path: PathBuf,
    pack: Option<Pack>,
    inputs: Inputs,
}

/// Files that are predicted from: their splits, one after the other.
#[derive(Default)]
struct Inputs {
    files: std::vec::IntoIter<PathBuf>,
    /// Split of the open file, and the samples of it that were read last.
    split: usize,
    piece: std::ops::Range<u64>,
}

impl Component for Packed {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Packed {
            path: setup.resolve_path(&config.path)?,
            pack: None,
            inputs: Inputs::default(),
        })
    }
}

impl Packed {
    fn pack(&self) -> Result<&Pack> {
        self.pack.as_ref().ok_or_else(|| Error::new("the data set is not open"))
    }

    /// Split and index in the file of a sample that the host asks for.
    fn place(&self, split: usize, index: u64) -> (usize, u64) {
        (self.inputs.split + split, self.inputs.piece.start + index)
    }
}

impl Dataset for Packed {
    fn open(&mut self) -> Result<()> {
        self.inputs = Inputs::default();
        self.pack = Some(Pack::open(&self.path)?);
        Ok(())
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        let Some((first, rest)) = files.split_first() else {
            bail!("there is no file to predict from");
        };
        self.pack = Some(Pack::open(first)?);
        self.inputs = Inputs { files: Vec::from(rest).into_iter(), ..Inputs::default() };
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        loop {
            let pack = self.pack()?;
            let splits = pack.header.splits.iter().map(|split| split.samples).collect::<Vec<_>>();
            let Inputs { split, piece, .. } = &mut self.inputs;
            if let Some(&samples) = splits.get(*split) {
                if piece.end < samples {
                    *piece = piece.end..samples.min(piece.end + most as u64);
                    return Ok((piece.end - piece.start) as usize);
                }
                (*split, *piece) = (*split + 1, 0..0);
                continue;
            }
            let Some(next) = self.inputs.files.next() else { return Ok(0) };
            let opened = Pack::open(&next)?;
            if opened.fields() != self.pack()?.fields() {
                bail!("{}: its fields are not those of the files before", next.display());
            }
            (self.inputs.split, self.inputs.piece, self.pack) = (0, 0..0, Some(opened));
        }
    }

    fn input_key(&self, index: usize) -> String {
        let (split, index) = self.place(0, index as u64);
        let key = self.pack.as_ref().and_then(|pack| pack.key(split, index).ok().flatten());
        key.unwrap_or_else(|| index.to_string())
    }

    fn class_name(&self, field: usize, class: usize) -> Option<String> {
        self.pack.as_ref()?.header.fields.get(field)?.class_names.get(class).cloned()
    }

    fn fields(&self) -> Vec<Field> {
        self.pack.as_ref().map(|pack| pack.fields().to_vec()).unwrap_or_default()
    }

    fn ragged(&self, field: usize) -> Option<Ragged> {
        let field = self.pack.as_ref()?.header.fields.get(field)?;
        let dimensions = field.differs.clone();
        (!dimensions.is_empty()).then_some(Ragged { dimensions, padding: field.padding })
    }

    fn splits(&self) -> Vec<Split> {
        let splits = self.pack.iter().flat_map(|pack| &pack.header.splits);
        splits.map(|split| Split::new(&split.name, split.samples as usize)).collect()
    }

    fn fill(&self, _: usize, _: &[u64], _: &mut Buffers<'_>) -> Result<()> {
        // Not called where `plugin!` has `context: true`.
        Err(Error::new("samples are written by `fill_with`"))
    }

    fn fill_with(
        &self,
        context: &mut FillContext<'_>,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        let pack = self.pack()?;
        let mut record = Vec::new();
        for (at, &index) in indices.iter().enumerate() {
            let (split, index) = self.place(context.split, index);
            let sample = pack.read(split, index, &mut record)?;
            for (number, (field, part)) in pack.fields().iter().zip(&sample.parts).enumerate() {
                if !part.lengths.is_empty() {
                    context.set_lengths(at, number, &part.lengths)?;
                }
                if !buffers.wants(number) {
                    continue;
                }
                let bytes = file::bytes(field);
                let place = &mut buffers.bytes(number)?[at * bytes..(at + 1) * bytes];
                part.write(&field.shape, field.dtype.size(), place);
            }
        }
        Ok(())
    }

    fn key(&self, split: usize, index: u64) -> Option<String> {
        let (split, index) = self.place(split, index);
        self.pack.as_ref()?.key(split, index).ok().flatten()
    }
}
