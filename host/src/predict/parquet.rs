//! Writes tables of texts and numbers as Parquet files: plain encoding, no compression, one page for each column of
//! a row group. That is all that predictions need, so the host has no library for the format.

use std::io::{self, Write};

const MAGIC: &[u8; 4] = b"PAR1";
/// Most rows of a row group.
const ROWS: usize = 1 << 16;
/// Bytes after which a row group ends.
const BYTES: usize = 32 << 20;

/// Numbers of the format.
mod number {
    pub const FLOAT: i32 = 4;
    pub const BYTE_ARRAY: i32 = 6;
    pub const REQUIRED: i32 = 0;
    pub const UTF8: i32 = 0;
    pub const PLAIN: i32 = 0;
    pub const RLE: i32 = 3;
    pub const UNCOMPRESSED: i32 = 0;
    pub const DATA_PAGE: i32 = 0;
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Number(f32),
}

/// A column of the row group that is being filled.
#[derive(Debug)]
struct Column {
    name: String,
    is_text: bool,
    data: Vec<u8>,
}

/// Where a column of a written row group is.
#[derive(Debug)]
struct Chunk {
    offset: u64,
    length: u64,
}

/// A row group that was written.
#[derive(Debug)]
struct Group {
    rows: usize,
    chunks: Vec<Chunk>,
}

/// A file that is written from the first byte to the last, so that `out` may be a pipe.
#[derive(Debug)]
pub struct ParquetWriter {
    columns: Vec<Column>,
    rows: usize,
    groups: Vec<Group>,
    /// Bytes that were written.
    position: u64,
}

impl ParquetWriter {
    /// A file whose columns have the types of the cells of its first row.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn begin(out: &mut impl Write, names: &[String], first: &[Cell]) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let columns = names.iter().zip(first).map(|(name, cell)| Column {
            name: name.clone(),
            is_text: matches!(cell, Cell::Text(_)),
            data: Vec::new(),
        });
        let position = MAGIC.len() as u64;
        Ok(ParquetWriter { columns: columns.collect(), rows: 0, groups: Vec::new(), position })
    }

    /// Adds a row with a cell for each column, of its type.
    ///
    /// # Errors
    /// `out` cannot be written to, or a cell is longer than 2 GiB.
    pub fn row(&mut self, out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            match cell {
                Cell::Number(number) => column.data.extend(number.to_le_bytes()),
                Cell::Text(text) => {
                    let length = i32::try_from(text.len()).map_err(io::Error::other)?;
                    column.data.extend(length.to_le_bytes());
                    column.data.extend(text.as_bytes());
                }
            }
        }
        self.rows += 1;
        let bytes: usize = self.columns.iter().map(|column| column.data.len()).sum();
        if self.rows >= ROWS || bytes >= BYTES { self.end_group(out) } else { Ok(()) }
    }

    fn write(&mut self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        out.write_all(bytes)
    }

    fn end_group(&mut self, out: &mut impl Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let mut chunks = Vec::with_capacity(self.columns.len());
        for index in 0..self.columns.len() {
            let data = std::mem::take(&mut self.columns[index].data);
            let mut header = Thrift::default();
            header.begin();
            header.i32(1, number::DATA_PAGE);
            header.i32(2, data.len() as i32);
            header.i32(3, data.len() as i32);
            header.field(5, STRUCT);
            header.begin();
            header.i32(1, rows as i32);
            header.i32(2, number::PLAIN);
            header.i32(3, number::RLE);
            header.i32(4, number::RLE);
            header.end();
            header.end();
            let (offset, length) = (self.position, (header.out.len() + data.len()) as u64);
            self.write(out, &header.out)?;
            self.write(out, &data)?;
            chunks.push(Chunk { offset, length });
        }
        self.groups.push(Group { rows, chunks });
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn end(mut self, out: &mut impl Write) -> io::Result<()> {
        if self.rows > 0 {
            self.end_group(out)?;
        }
        let footer = self.footer();
        let length = u32::try_from(footer.len()).map_err(io::Error::other)?;
        out.write_all(&footer)?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(MAGIC)
    }

    /// `FileMetaData` of the format.
    fn footer(&self) -> Vec<u8> {
        let rows: usize = self.groups.iter().map(|group| group.rows).sum();
        let mut meta = Thrift::default();
        meta.begin();
        meta.i32(1, 1);
        meta.list(2, STRUCT, self.columns.len() + 1);
        meta.begin();
        meta.text(4, "predictions");
        meta.i32(5, self.columns.len() as i32);
        meta.end();
        for column in &self.columns {
            meta.begin();
            meta.i32(1, column.kind());
            meta.i32(3, number::REQUIRED);
            meta.text(4, &column.name);
            if column.is_text {
                meta.i32(6, number::UTF8);
            }
            meta.end();
        }
        meta.i64(3, rows as i64);
        meta.list(4, STRUCT, self.groups.len());
        for group in &self.groups {
            meta.begin();
            meta.list(1, STRUCT, group.chunks.len());
            for (column, chunk) in self.columns.iter().zip(&group.chunks) {
                meta.begin();
                meta.i64(2, chunk.offset as i64);
                meta.field(3, STRUCT);
                meta.begin();
                meta.i32(1, column.kind());
                meta.list(2, I32, 1);
                meta.number(i64::from(number::PLAIN));
                meta.list(3, BINARY, 1);
                meta.bytes(column.name.as_bytes());
                meta.i32(4, number::UNCOMPRESSED);
                meta.i64(5, group.rows as i64);
                meta.i64(6, chunk.length as i64);
                meta.i64(7, chunk.length as i64);
                meta.i64(9, chunk.offset as i64);
                meta.end();
                meta.end();
            }
            meta.i64(2, group.chunks.iter().map(|chunk| chunk.length).sum::<u64>() as i64);
            meta.i64(3, group.rows as i64);
            meta.end();
        }
        meta.text(6, concat!("fluxbay version ", env!("CARGO_PKG_VERSION")));
        meta.end();
        meta.out
    }
}

impl Column {
    fn kind(&self) -> i32 {
        if self.is_text { number::BYTE_ARRAY } else { number::FLOAT }
    }
}

/// Types of the compact protocol.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Structs in Thrift's compact protocol.
#[derive(Default)]
struct Thrift {
    out: Vec<u8>,
    /// The last field of each open struct.
    last: Vec<i32>,
}

impl Thrift {
    fn begin(&mut self) {
        self.last.push(0);
    }

    fn end(&mut self) {
        self.last.pop();
        self.out.push(0);
    }

    /// The header of a field; fields come in the order of their numbers.
    fn field(&mut self, number: i32, kind: u8) {
        let last = self.last.last_mut().map_or(0, |last| std::mem::replace(last, number));
        // The format's numbers are below 16.
        self.out.push(((number - last) as u8) << 4 | kind);
    }

    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn number(&mut self, value: i64) {
        self.unsigned((value << 1 ^ value >> 63) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.unsigned(bytes.len() as u64);
        self.out.extend(bytes);
    }

    fn i32(&mut self, field: i32, value: i32) {
        self.field(field, I32);
        self.number(i64::from(value));
    }

    fn i64(&mut self, field: i32, value: i64) {
        self.field(field, I64);
        self.number(value);
    }

    fn text(&mut self, field: i32, text: &str) {
        self.field(field, BINARY);
        self.bytes(text.as_bytes());
    }

    /// The header of a list; its elements follow.
    fn list(&mut self, field: i32, kind: u8, count: usize) {
        self.field(field, LIST);
        if count < 15 {
            self.out.push((count as u8) << 4 | kind);
        } else {
            self.out.push(0xf0 | kind);
            self.unsigned(count as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_compact_protocol() {
        let mut thrift = Thrift::default();
        for (value, bytes) in
            [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[127]), (64, &[128, 1]), (300, &[216, 4])]
        {
            thrift.out.clear();
            thrift.number(value);
            assert_eq!(thrift.out, bytes, "{value}");
        }
        thrift.out.clear();
        thrift.begin();
        thrift.i32(2, 1);
        thrift.list(3, I32, 20);
        thrift.end();
        assert_eq!(thrift.out, [0x25, 2, 0x19, 0xf5, 20, 0]);
    }

    #[test]
    fn rows_are_written_in_groups_of_bounded_size() {
        let names = ["key".to_owned(), "value".to_owned()];
        let row = |text: String| [Cell::Text(text), Cell::Number(1.5)];
        let mut out = Vec::new();
        let mut writer = ParquetWriter::begin(&mut out, &names, &row(String::new())).unwrap();
        for text in 0..ROWS + 3 {
            writer.row(&mut out, &row(text.to_string())).unwrap();
        }
        writer.row(&mut out, &row("x".repeat(BYTES))).unwrap();
        assert_eq!(writer.groups.iter().map(|group| group.rows).collect::<Vec<_>>(), [ROWS, 4]);
        assert_eq!((writer.rows, writer.position), (0, out.len() as u64));
        writer.end(&mut out).unwrap();
        assert!(out.starts_with(MAGIC) && out.ends_with(MAGIC));
        let length = u32::from_le_bytes(out[out.len() - 8..out.len() - 4].try_into().unwrap());
        assert!((length as usize) < 400, "{length}");
    }
}
