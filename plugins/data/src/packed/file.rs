//! A file of ready samples: `docs/data/packed.md` describes the format.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use fluxbay_plugin::{prelude::*, serde};

/// First and last bytes of a file; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"fbpack\0\x01";
/// Three numbers and the last bytes.
const FOOTER: u64 = 32;
/// Most bytes of a header.
const MOST_HEADER: u64 = 1 << 30;
/// Bytes of a checksum.
const SUM: usize = 4;

/// What is in the file.
#[derive(Debug, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
pub struct Header {
    pub fields: Vec<FieldHeader>,
    pub splits: Vec<SplitHeader>,
}

/// A field.
#[derive(Debug, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", rename_all = "kebab-case")]
pub struct FieldHeader {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    classes: usize,
    pub class_names: Vec<String>,
    /// Dimensions along which samples differ.
    pub differs: Vec<usize>,
    pub padding: f64,
}

/// A split: how many samples there are, and where.
#[derive(Debug, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", rename_all = "kebab-case")]
pub struct SplitHeader {
    pub name: String,
    pub samples: u64,
    /// Place of the first record.
    at: u64,
    /// Place of the table of the records' places, if their sizes differ.
    starts_at: Option<u64>,
    /// Place of the keys, if there are any.
    keys_at: Option<u64>,
}

/// An open file.
#[derive(Debug)]
pub struct Pack {
    path: PathBuf,
    file: File,
    length: u64,
    pub header: Header,
    fields: Vec<Field>,
    /// Bytes of a record if all have the maximal size.
    record: u64,
}

/// One field of a sample.
#[derive(Debug)]
pub struct Part<'a> {
    /// Its sizes along the dimensions that differ.
    pub lengths: Vec<usize>,
    /// Its sizes along all dimensions.
    used: Vec<usize>,
    bytes: &'a [u8],
}

/// A sample.
#[derive(Debug)]
pub struct Sample<'a> {
    pub parts: Vec<Part<'a>>,
}

/// Bytes of a sample of the maximal size.
pub fn bytes(field: &Field) -> usize {
    field.elements() * field.dtype.size()
}

impl Part<'_> {
    /// Writes the elements into a sample of the maximal `shape`.
    pub fn write(&self, shape: &[usize], element: usize, place: &mut [u8]) {
        copy((self.bytes, &self.used), (place, shape), element);
    }
}

/// Copies a sample of shape `from` into the beginning of one of shape `to`.
fn copy((source, from): (&[u8], &[usize]), (target, to): (&mut [u8], &[usize]), element: usize) {
    if from == to || from.is_empty() || from[1..] == to[1..] {
        return target[..source.len()].copy_from_slice(source);
    }
    let stride = |shape: &[usize]| shape[1..].iter().product::<usize>() * element;
    let (step, wide) = (stride(from), stride(to));
    if step == 0 {
        return;
    }
    for (source, target) in source.chunks_exact(step).zip(target.chunks_exact_mut(wide)) {
        copy((source, &from[1..]), (target, &to[1..]), element);
    }
}

impl Pack {
    /// Opens a file and reads what is in it, without its samples.
    ///
    /// # Errors
    /// It cannot be read, is no such file, or is damaged. The error names it.
    pub fn open(path: &Path) -> Result<Pack> {
        let open = || -> Result<Pack> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            let Some(footer_at) = length.checked_sub(FOOTER) else {
                bail!("it is no file that `fluxbay data pack` wrote");
            };
            let (mut magic, mut footer) = ([0; 8], [0; FOOTER as usize]);
            file.read_exact_at(&mut magic, 0)?;
            file.read_exact_at(&mut footer, footer_at)?;
            if magic[..7] != MAGIC[..7] {
                bail!("it is no file that `fluxbay data pack` wrote");
            }
            if magic != *MAGIC {
                bail!("it has version {} of the format, this plugin reads version 1", magic[7]);
            }
            let number =
                |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().unwrap_or_default());
            let (at, size, sum) = (number(0), number(8), number(16));
            if footer[24..] != *MAGIC || at.checked_add(size) != Some(footer_at) {
                bail!("it is cut off or damaged");
            }
            if size > MOST_HEADER {
                bail!("its header has {size} bytes");
            }
            let mut header = vec![0; size as usize];
            file.read_exact_at(&mut header, at)?;
            if u64::from(crc32fast::hash(&header)) != sum {
                bail!("its header is damaged");
            }
            let header: Header = serde_json::from_slice(&header)?;
            let fields = header.fields.iter().map(field).collect::<Result<Vec<_>>>()?;
            let numbers: usize = header.fields.iter().map(|field| field.differs.len()).sum();
            let record = 8 * numbers + fields.iter().map(bytes).sum::<usize>() + SUM;
            let record = record as u64;
            Ok(Pack { path: path.to_owned(), file, length: at, header, fields, record })
        };
        open().context(path.display())
    }

    /// The fields of a sample.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn damaged(&self, split: &SplitHeader, index: u64, what: &str) -> Error {
        Error::new(format!(
            "{}: sample {index} of split `{}`: {what}",
            self.path.display(),
            split.name
        ))
    }

    /// Reads `N` numbers of a table.
    fn numbers<const N: usize>(&self, table: u64, index: u64) -> Result<[u64; N]> {
        let mut bytes = vec![0; 8 * N];
        self.file.read_exact_at(&mut bytes, table + 8 * index).context(self.path.display())?;
        let mut all = [0; N];
        for (number, bytes) in all.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(all)
    }

    /// Reads a sample with the help of `record`, on any thread.
    ///
    /// # Errors
    /// It is damaged, or the file cannot be read.
    pub fn read<'a>(
        &self,
        split: usize,
        index: u64,
        record: &'a mut Vec<u8>,
    ) -> Result<Sample<'a>> {
        let split = &self.header.splits[split];
        let damaged = |what: &str| self.damaged(split, index, what);
        let (start, end) = match split.starts_at {
            None => {
                let start = split.at + index * self.record;
                (start, start + self.record)
            }
            Some(table) => {
                let [start, end] = self.numbers(table, index)?;
                (start, end)
            }
        };
        let size = end.checked_sub(start).filter(|size| (SUM as u64..=self.record).contains(size));
        let Some(size) = size.filter(|_| end <= self.length) else {
            return Err(damaged("the file is cut off or damaged"));
        };
        record.resize(size as usize, 0);
        self.file.read_exact_at(record, start).context(self.path.display())?;
        let (content, sum) = record.split_at(size as usize - SUM);
        if crc32fast::hash(content).to_le_bytes() != sum {
            return Err(damaged("its checksum is wrong: the file is damaged"));
        }
        let numbers: usize = self.header.fields.iter().map(|field| field.differs.len()).sum();
        let Some((lengths, mut rest)) = content.split_at_checked(8 * numbers) else {
            return Err(damaged("it is too short"));
        };
        let mut lengths = lengths
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()) as usize);
        let mut parts = Vec::with_capacity(self.fields.len());
        for (header, field) in self.header.fields.iter().zip(&self.fields) {
            let own: Vec<usize> = lengths.by_ref().take(header.differs.len()).collect();
            let mut used = field.shape.clone();
            for (dimension, length) in header.differs.iter().zip(&own) {
                used[*dimension] = (*length).min(field.shape[*dimension]);
            }
            let size = used.iter().product::<usize>() * field.dtype.size();
            let Some((bytes, behind)) = rest.split_at_checked(size) else {
                return Err(damaged("it is too short"));
            };
            rest = behind;
            parts.push(Part { lengths: own, used, bytes });
        }
        Ok(Sample { parts })
    }

    /// The key of a sample; `None` if it has none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn key(&self, split: usize, index: u64) -> Result<Option<String>> {
        let split = &self.header.splits[split];
        let Some(table) = split.keys_at else { return Ok(None) };
        let [start, end] = self.numbers(table, index)?;
        let size = end.checked_sub(start).filter(|size| *size <= 1 << 20);
        let Some(size) = size else { return Err(self.damaged(split, index, "its key is damaged")) };
        let mut key = vec![0; size as usize];
        let texts = table + 8 * (split.samples + 1);
        self.file.read_exact_at(&mut key, texts + start).context(self.path.display())?;
        let key = String::from_utf8_lossy(&key).into_owned();
        Ok((!key.is_empty()).then_some(key))
    }
}

fn field(header: &FieldHeader) -> Result<Field> {
    let dtype = match header.dtype.as_str() {
        "u8" => DType::U8,
        "u32" => DType::U32,
        "i64" => DType::I64,
        "bf16" => DType::BF16,
        "f16" => DType::F16,
        "f32" => DType::F32,
        "f64" => DType::F64,
        other => bail!("field `{}` has element type {other}", header.name),
    };
    let mut sizes = header.shape.iter().copied().chain([dtype.size()]);
    let fits = sizes.try_fold(1_usize, usize::checked_mul);
    if fits.is_none_or(|bytes| bytes > isize::MAX as usize) {
        bail!("field `{}` has the shape {:?}", header.name, header.shape);
    }
    if header.differs.iter().any(|dimension| *dimension >= header.shape.len()) {
        bail!("field `{}` has {} dimensions", header.name, header.shape.len());
    }
    let classes = (header.classes > 0).then_some(header.classes);
    Ok(Field { classes, ..Field::new(&header.name, dtype, &header.shape) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with two samples that differ in size, as docs/data/packed.md describes it.
    fn example() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let mut starts = vec![8_u64];
        for (length, elements) in [(2_u64, &[1_u32, 2][..]), (1, &[3])] {
            let mut record = length.to_le_bytes().to_vec();
            record.extend(elements.iter().flat_map(|element| element.to_le_bytes()));
            record.extend([length as u8]);
            record.extend(crc32fast::hash(&record).to_le_bytes());
            bytes.extend(record);
            starts.push(bytes.len() as u64);
        }
        let numbers = |numbers: &[u64]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        };
        let starts_at = bytes.len();
        bytes.extend(numbers(&starts));
        let keys_at = bytes.len();
        bytes.extend(numbers(&[0, 1, 3]));
        bytes.extend(b"abc");
        let header = format!(
            r#"{{"source":"jsonl","fields":[
            {{"name":"xs","dtype":"u32","shape":[4],"classes":9,"class-names":["one"],"differs":[0],"padding":7.0}},
            {{"name":"ys","dtype":"u8","shape":[],"classes":0,"class-names":[],"differs":[],"padding":0}}],
            "splits":[{{"name":"all","samples":2,"at":8,"starts-at":{starts_at},"keys-at":{keys_at}}}]}}"#
        );
        let at = bytes.len() as u64;
        bytes.extend(header.as_bytes());
        let sum = u64::from(crc32fast::hash(header.as_bytes()));
        bytes.extend(numbers(&[at, header.len() as u64, sum]));
        bytes.extend(MAGIC);
        bytes
    }

    fn open(dir: &Path, bytes: &[u8]) -> Result<Pack> {
        let path = dir.join("some.pack");
        std::fs::write(&path, bytes).unwrap();
        Pack::open(&path)
    }

    #[test]
    fn samples_and_keys_are_read_from_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let pack = open(dir.path(), &example()).unwrap();
        let xs = Field { classes: Some(9), ..Field::new("xs", DType::U32, &[4]) };
        assert_eq!(pack.fields(), [xs, Field::new("ys", DType::U8, &[])]);
        let mut record = Vec::new();
        let sample = pack.read(0, 1, &mut record).unwrap();
        assert_eq!(sample.parts[0].lengths, [1]);
        let mut place = [9; 16];
        sample.parts[0].write(&[4], 4, &mut place);
        assert_eq!(place, [3, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(sample.parts[1].bytes, [1]);
        let keys = [0, 1].map(|index| pack.key(0, index).unwrap());
        assert_eq!(keys, [Some("a".to_owned()), Some("bc".to_owned())]);
    }

    #[test]
    fn every_byte_that_matters_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let whole = example();
        let reads = |bytes: &[u8]| -> Result<()> {
            let pack = open(dir.path(), bytes)?;
            for index in 0..2 {
                pack.read(0, index, &mut Vec::new())?;
            }
            Ok(())
        };
        reads(&whole).unwrap();
        let keys = 8 + (8 + 8 + 1 + 4) + (8 + 4 + 1 + 4) + 24..;
        let keys = keys.start..keys.start + 27;
        for at in (0..whole.len()).filter(|at| !keys.contains(at)) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            let error = reads(&flipped).unwrap_err();
            assert!(error.message().contains("some.pack"), "byte {at}: {error}");
        }
        for length in 0..whole.len() {
            assert!(reads(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn shorter_samples_are_spread_over_the_maximal_shape() {
        let part = Part { lengths: vec![2], used: vec![2, 2], bytes: &[1, 2, 3, 4] };
        let mut place = [0; 9];
        part.write(&[3, 3], 1, &mut place);
        assert_eq!(place, [1, 2, 0, 3, 4, 0, 0, 0, 0]);
    }
}
