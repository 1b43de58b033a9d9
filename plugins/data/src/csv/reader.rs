//! Reads a CSV file: block by block on several threads where its rows are regular, else row by row.

use std::{
    collections::VecDeque,
    io::{self, BufRead, Cursor, Read},
    num::NonZero,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use ::csv::ByteRecord;
use fluxbay_plugin::prelude::*;
use fluxbay_table::{Block, Plans, Raw, Reader, Rows};

use super::{
    config::Config,
    quotes::{QuoteError, Quotes},
};
use crate::source::Source;

/// Least size of a block in bytes. Tests have many small ones.
const BLOCK: usize = if cfg!(test) { 1 << 14 } else { 1 << 18 };
/// Most threads that parse blocks.
const THREADS: usize = 4;

/// A value of the row without white space around it.
pub fn value(record: &ByteRecord, index: usize) -> &[u8] {
    let text = record[index].trim_ascii();
    if text.is_ascii() {
        return text;
    }
    std::str::from_utf8(text).map_or(text, |text| text.trim().as_bytes())
}

/// The parser of a file.
pub type Parser<R = Source> = ::csv::Reader<Quotes<R>>;

/// A parser of `source` with the separators of the configuration.
pub fn parser<R: BufRead>(config: &Config, source: R) -> Parser<R> {
    let delimiter = config.delimiter.as_bytes()[0];
    ::csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(config.quotes)
        .has_headers(config.header)
        .flexible(true)
        .buffer_capacity(1 << 16)
        .from_reader(Quotes::new(source, delimiter, config.quotes))
}

/// Names of the columns in the header.
///
/// # Errors
/// A header that is not UTF-8, a quote that is not closed.
pub fn header_names<R: BufRead>(reader: &mut Parser<R>, path: &Path) -> Result<Vec<String>> {
    let header = reader.headers().map_err(|error| unreadable(path, &error))?;
    Ok(header.iter().map(|name| name.trim().to_owned()).collect())
}

/// A file at its first row.
pub struct File {
    path: PathBuf,
    names: Vec<String>,
    delimiter: u8,
    quotes: bool,
    place: Place,
}

/// Where the rows are.
enum Place {
    /// In records, of which the first one was read.
    Records(Parser, ByteRecord),
    /// In lines.
    Lines(Lines),
}

/// The rest of a file in blocks of whole lines.
struct Lines {
    source: Source,
    /// The first block.
    first: Option<Vec<u8>>,
    /// Line in which the next block begins.
    line: u64,
}

/// Appends at least [`BLOCK`] bytes to `block`, up to the end of a line or of the file. Returns whether
/// the file goes on.
fn more(source: &mut Source, block: &mut Vec<u8>) -> io::Result<bool> {
    source.by_ref().take(BLOCK as u64).read_to_end(block)?;
    if block.last().is_some_and(|byte| *byte != b'\n') {
        source.read_until(b'\n', block)?;
    }
    Ok(!source.fill_buf()?.is_empty())
}

impl Lines {
    /// The next block and the line in which it begins.
    fn next(&mut self) -> io::Result<Option<(Vec<u8>, u64)>> {
        let block = match self.first.take() {
            Some(block) => block,
            None => {
                let mut block = Vec::with_capacity(BLOCK + 1024);
                more(&mut self.source, &mut block)?;
                block
            }
        };
        let line = self.line;
        self.line += block.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok((!block.is_empty()).then_some((block, line)))
    }
}

impl File {
    /// Reads the header.
    ///
    /// # Errors
    /// A file without rows, a header that is not UTF-8, a quote that is not closed.
    pub fn open(config: &Config, path: &Path, mut source: Source) -> Result<File> {
        let (delimiter, quotes) = (config.delimiter.as_bytes()[0], config.quotes);
        let mut block = Vec::new();
        let goes_on = more(&mut source, &mut block).context(path.display())?;
        let file = |names, place| File { path: path.to_owned(), names, delimiter, quotes, place };
        let head = Cursor::new(block.clone());
        if let Ok((names, _, first)) = head_of(config, path, head)
            && let Some(position) = first.position()
            && (position.byte() as usize) < block.len()
        {
            let line = position.line();
            block.drain(..position.byte() as usize);
            return Ok(file(names, Place::Lines(Lines { source, first: Some(block), line })));
        }
        // A header that is longer than a block, or a problem, which is described here.
        let rest: Source = if goes_on { source } else { Box::new(io::empty()) };
        let whole: Source = Box::new(Cursor::new(block).chain(rest));
        let (names, reader, first) = head_of(config, path, whole)?;
        Ok(file(names, Place::Records(reader, first)))
    }

    fn records<R: Read>(&self, source: R) -> ::csv::Reader<R> {
        ::csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quoting(self.quotes)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(source)
    }

    /// Passes the rows of a reader on, the first of which is in `line`.
    fn rows<R: Read>(
        &self,
        mut reader: ::csv::Reader<R>,
        first: Option<ByteRecord>,
        line: u64,
        rows: &mut Rows<'_>,
    ) -> Result<()> {
        let (mut record, width) = (ByteRecord::new(), self.names.len());
        let positions = rows.positions().to_vec();
        let mut first = first;
        loop {
            match first.take() {
                Some(first) => record = first,
                None => {
                    let read = reader.read_byte_record(&mut record);
                    if !read.map_err(|error| unreadable(&self.path, &error))? {
                        return Ok(());
                    }
                }
            }
            let line = line - 1 + record.position().map_or(0, ::csv::Position::line);
            if record.len() != width {
                rows.bad(line, &format!("{} values instead of {width}", record.len()))?;
                continue;
            }
            let values: Vec<Raw<'_>> =
                positions.iter().map(|index| Raw::Text(value(&record, *index))).collect();
            rows.push(line, &values)?;
        }
    }

    /// Passes the rows of a block on that has no quotes.
    fn block(&self, block: &[u8], line: u64, rows: &mut Rows<'_>) -> Result<()> {
        self.rows(self.records(block), None, line, rows)
    }

    fn has_quotes(&self, block: &[u8]) -> bool {
        self.quotes && block.contains(&b'"')
    }

    fn lines(&self, mut lines: Lines, rows: &mut Rows<'_>) -> Result<()> {
        let mut quoted = None;
        while quoted.is_none() {
            let Some((block, line)) = lines.next().context(self.path.display())? else {
                return Ok(());
            };
            if self.has_quotes(&block) {
                quoted = Some((block, line));
                break;
            }
            // Shows what the columns hold, and so how blocks are parsed.
            self.block(&block, line, rows)?;
            if let Some(plans) = rows.plans(self.delimiter, self.names.len()) {
                quoted = self.blocks(&mut lines, &plans, rows)?;
            }
        }
        // From the first quote on, a value may go on in another line.
        let Some((block, line)) = quoted else { return Ok(()) };
        let rest: Source = Box::new(Cursor::new(block).chain(lines.source));
        let quotes = Quotes::at(rest, self.delimiter, self.quotes, line);
        self.rows(self.records(quotes), None, line, rows)
    }

    /// Parses blocks on several threads and merges them in order, until one has quotes, which is
    /// returned with its line, the plans change, or the file ends.
    fn blocks(
        &self,
        lines: &mut Lines,
        plans: &Plans,
        rows: &mut Rows<'_>,
    ) -> Result<Option<(Vec<u8>, u64)>> {
        type Parsed = (Vec<u8>, Option<Block>);
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
        thread::scope(|scope| {
            let workers: Vec<(mpsc::Sender<Vec<u8>>, mpsc::Receiver<Parsed>)> = (0..threads)
                .map(|_| {
                    let (give, take) = mpsc::channel::<Vec<u8>>();
                    let (put, get) = mpsc::channel();
                    scope.spawn(move || {
                        for block in take {
                            let parsed = plans.parse(&block);
                            if put.send((block, parsed)).is_err() {
                                return;
                            }
                        }
                    });
                    (give, get)
                })
                .collect();
            let (mut sent, mut waiting) = (0, VecDeque::new());
            let (mut quoted, mut ended) = (None, false);
            loop {
                while !ended && waiting.len() < 2 * threads {
                    match lines.next().context(self.path.display())? {
                        None => ended = true,
                        Some((block, line)) if self.has_quotes(&block) => {
                            (quoted, ended) = (Some((block, line)), true);
                        }
                        Some((block, line)) => {
                            let worker = sent % threads;
                            sent += 1;
                            if workers[worker].0.send(block).is_err() {
                                bail!("a thread that parses has stopped");
                            }
                            waiting.push_back((worker, line));
                        }
                    }
                }
                let Some((worker, line)) = waiting.pop_front() else { return Ok(quoted) };
                let Ok((block, parsed)) = workers[worker].1.recv() else {
                    bail!("a thread that parses has stopped");
                };
                if !parsed.is_some_and(|parsed| rows.merge(&parsed, plans, &block, line)) {
                    self.block(&block, line, rows)?;
                    // The blocks that wait are still to be read.
                    ended |= rows.plans(self.delimiter, self.names.len()).as_ref() != Some(plans);
                }
            }
        })
    }
}

/// The names of the columns, the parser behind the first row, and that row.
fn head_of<R: BufRead>(
    config: &Config,
    path: &Path,
    source: R,
) -> Result<(Vec<String>, Parser<R>, ByteRecord)> {
    let mut reader = parser(config, source);
    let mut names = Vec::new();
    if config.header {
        names = header_names(&mut reader, path)?;
    }
    let mut first = ByteRecord::new();
    let any = reader.read_byte_record(&mut first).map_err(|error| unreadable(path, &error))?;
    if !any {
        bail!("{}: the file has no rows", path.display());
    }
    if !config.header {
        names = (0..first.len()).map(|index| index.to_string()).collect();
    }
    Ok((names, reader, first))
}

impl Reader for File {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn read(mut self: Box<Self>, rows: &mut Rows<'_>) -> Result<()> {
        let nothing = Lines { source: Box::new(io::empty()), first: None, line: 1 };
        match std::mem::replace(&mut self.place, Place::Lines(nothing)) {
            Place::Records(reader, first) => self.rows(reader, Some(first), 1, rows),
            Place::Lines(lines) => self.lines(lines, rows),
        }
    }
}

/// An error of the CSV parser or of the file.
pub fn unreadable(path: &Path, error: &::csv::Error) -> Error {
    if let ::csv::ErrorKind::Io(io) = error.kind() {
        let quote = io.get_ref().and_then(|inner| inner.downcast_ref::<QuoteError>());
        return match quote {
            Some(quote) => Error::new(format!("{}:{}: {quote}", path.display(), quote.opened)),
            None => Error::new(format!("{}: {io}", path.display())),
        };
    }
    Error::new(format!("{}: {error}", path.display()))
}
