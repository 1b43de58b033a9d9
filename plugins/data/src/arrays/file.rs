//! Arrays in files: `.npy`, `.npz` and `.safetensors`.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use fluxbay_plugin::prelude::*;

use super::{
    element::Element,
    npy::{self, Header},
};

/// Where the elements are.
#[derive(Clone, Debug)]
enum Source {
    /// In a file: a sample is read when a batch needs it.
    File(Arc<File>),
    /// In memory: those of a compressed file.
    Memory(Arc<Vec<u8>>),
}

/// An array: samples along its first dimension.
#[derive(Clone, Debug)]
pub struct Array {
    source: Source,
    /// Place of the first element.
    offset: u64,
    pub element: Element,
    pub shape: Vec<usize>,
}

/// The arrays of a file, by name. The array of a `.npy` file has no name.
pub type Arrays = Vec<(String, Array)>;

/// Finds the arrays of a file. Elements are read later, unless they are compressed.
///
/// # Errors
/// The file cannot be read, is damaged, or of another kind. The error names it.
pub fn open(path: &Path) -> Result<Arrays> {
    arrays(path).context(path.display())
}

fn arrays(path: &Path) -> Result<Arrays> {
    let mut file = File::open(path)?;
    let mut start = [0; npy::START];
    let count = read_up_to(&mut file, &mut start)?;
    if start.starts_with(b"PK") {
        return npz(file);
    }
    if start.starts_with(b"\x93NUMPY") {
        let end = file.metadata()?.len();
        let header = header(&mut file, 0)?;
        return Ok(vec![(
            String::new(),
            Array::new(Source::File(Arc::new(file)), 0, end, header)?,
        )]);
    }
    if path.extension().is_some_and(|extension| extension == "safetensors") && count >= 8 {
        return tensors(file);
    }
    bail!("this is no .npy, .npz or .safetensors file")
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> Result<usize> {
    let mut count = 0;
    loop {
        match file.read(&mut buffer[count..])? {
            0 => return Ok(count),
            more => count += more,
        }
    }
}

/// The header of a `.npy` file that begins at `start`.
fn header(file: &mut File, start: u64) -> Result<Header> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; npy::START];
    file.read_exact(&mut bytes)?;
    let size = npy::size(&bytes)?;
    bytes.resize(size.max(npy::START), 0);
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Header::parse(&bytes[..size])
}

fn npz(file: File) -> Result<Arrays> {
    let wrong = |error: zip::result::ZipError| Error::new(format!("the archive: {error}"));
    let shared = Arc::new(file.try_clone()?);
    let mut archive = zip::ZipArchive::new(file).map_err(wrong)?;
    let mut found = Vec::new();
    for index in 0..archive.len() {
        // Unpacked here: the crate's own unpacking is a feature that the host does not have.
        let mut entry = archive.by_index_raw(index).map_err(wrong)?;
        let Some(name) = entry.name().map_err(wrong)?.strip_suffix(".npy").map(str::to_owned)
        else {
            continue;
        };
        let array = match (entry.compression(), entry.data_start()) {
            (zip::CompressionMethod::Stored, Some(start)) => {
                let end = start + entry.size();
                let mut file = shared.try_clone()?;
                header(&mut file, start)
                    .and_then(|header| Array::new(Source::File(shared.clone()), start, end, header))
            }
            (zip::CompressionMethod::DEFLATE, _) => {
                let mut bytes = Vec::new();
                // A damaged archive unpacks to no more than it says.
                let size = entry.size();
                flate2::read::DeflateDecoder::new(&mut entry).take(size).read_to_end(&mut bytes)?;
                in_memory(bytes)
            }
            (other, _) => Err(Error::new(format!("it is packed with {other}, not with deflate"))),
        };
        found.push((name.clone(), array.context(format!("array `{name}`"))?));
    }
    Ok(found)
}

/// The array of a whole `.npy` file.
fn in_memory(bytes: Vec<u8>) -> Result<Array> {
    let end = bytes.len() as u64;
    let size = bytes.get(..npy::START).map_or(Ok(0), npy::size)?;
    match bytes.get(..size).filter(|header| header.len() >= npy::START) {
        None => bail!("the array is cut short"),
        Some(header) => {
            let header = Header::parse(header)?;
            Array::new(Source::Memory(Arc::new(bytes)), 0, end, header)
        }
    }
}

fn tensors(mut file: File) -> Result<Arrays> {
    let end = file.metadata()?.len();
    let mut length = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > end.saturating_sub(8).min(100 << 20) {
        bail!("the header claims to have {length} bytes: the file is damaged");
    }
    let mut head = vec![0; length as usize + 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head)?;
    let metadata: safetensors::tensor::Metadata =
        serde_json::from_slice(&head[8..]).context("the header")?;
    let shared = Arc::new(file);
    let mut found = Vec::new();
    for (name, info) in metadata.tensors() {
        let Some(element) = Element::safetensors(info.dtype) else { continue };
        let start = 8 + length + info.data_offsets.0 as u64;
        let header = Header { element, shape: info.shape.clone(), size: 0 };
        let array = Array::new(Source::File(shared.clone()), start, end, header);
        found.push((name.clone(), array.context(format!("tensor `{name}`"))?));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

impl Array {
    /// An array whose header is at `start`, in a source that ends at `end`.
    fn new(source: Source, start: u64, end: u64, header: Header) -> Result<Array> {
        let Header { element, shape, size } = header;
        let offset = start + size as u64;
        let bytes = shape
            .iter()
            .try_fold(element.size() as u64, |bytes, size| bytes.checked_mul(*size as u64));
        if bytes.is_none_or(|bytes| bytes > end.saturating_sub(offset)) {
            bail!(
                "{shape:?} elements of {} bytes do not fit into the {} bytes that are there: the file is cut short",
                element.size(),
                end.saturating_sub(offset)
            );
        }
        Ok(Array { source, offset, element, shape })
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Elements of a sample.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Passes the bytes of `count` samples from `first` on to `use_bytes`. May be called on several
    /// threads at a time.
    ///
    /// # Errors
    /// The file cannot be read; or an error of `use_bytes`.
    pub fn with<T>(
        &self,
        first: usize,
        count: usize,
        buffer: &mut Vec<u8>,
        use_bytes: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let size = self.width() * self.element.size();
        let (start, length) = (self.offset + (first * size) as u64, count * size);
        match &self.source {
            Source::Memory(bytes) => use_bytes(&bytes[start as usize..start as usize + length]),
            Source::File(file) => {
                buffer.resize(length, 0);
                file.read_exact_at(buffer, start)
                    .context(format!("reading samples {first} to {}", first + count))?;
                use_bytes(buffer)
            }
        }
    }

    /// Passes the bytes of all samples to `use_bytes`, a part at a time, with the number of the
    /// first sample.
    ///
    /// # Errors
    /// As [`Array::with`].
    pub fn scan(&self, mut use_bytes: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let size = (self.width() * self.element.size()).max(1);
        let (step, mut buffer) = ((1_usize << 20).div_ceil(size), Vec::new());
        for first in (0..self.samples()).step_by(step) {
            let count = step.min(self.samples() - first);
            self.with(first, count, &mut buffer, |bytes| use_bytes(first, bytes))?;
        }
        Ok(())
    }
}
