//! Finds quotes that are never closed, or closed in the wrong place, while a CSV file is read. The
//! parser itself accepts both and takes everything up to the next quote as one value.

use std::{
    fmt,
    io::{self, BufRead, Read},
};

/// A quote that the rest of the file does not match.
#[derive(Debug)]
pub struct QuoteError {
    /// Line in which the quote opens, from 1.
    pub opened: u64,
    /// Line of text behind the closing quote; `None` if the quote is never closed.
    pub followed: Option<u64>,
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.followed {
            None => write!(f, "the quote that opens in this line is never closed"),
            Some(line) => write!(
                f,
                "the quote that opens in this line is closed in line {line} before other text"
            ),
        }?;
        write!(
            f,
            ": quote the value or double the quotes within it; `quotes = false` reads quotes as ordinary characters"
        )
    }
}

impl std::error::Error for QuoteError {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// At the start of a value.
    Start,
    /// Within a value without quotes.
    Plain,
    /// Within quotes.
    Quoted,
    /// Behind a quote within quotes: the end of the value, or the first of a pair.
    Closed,
    /// In white space behind a quoted value.
    After,
}

/// Passes bytes on and fails with a [`QuoteError`] at the end of the file or at the byte that shows
/// the mistake.
pub struct Quotes<R> {
    source: R,
    delimiter: u8,
    state: State,
    line: u64,
    opened: u64,
    enabled: bool,
}

impl<R: BufRead> Quotes<R> {
    /// Passes everything on if not `enabled`.
    pub fn new(source: R, delimiter: u8, enabled: bool) -> Quotes<R> {
        Quotes::at(source, delimiter, enabled, 1)
    }

    /// For the rest of a file from the beginning of `line` on.
    pub fn at(source: R, delimiter: u8, enabled: bool, line: u64) -> Quotes<R> {
        Quotes { source, delimiter, state: State::Start, line, opened: 0, enabled }
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), QuoteError> {
        if matches!(self.state, State::Start | State::Plain) && !bytes.contains(&b'"') {
            self.line += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            let Some(last) = bytes.last() else { return Ok(()) };
            let at_start = *last == self.delimiter || matches!(last, b'\n' | b'\r');
            self.state = if at_start { State::Start } else { State::Plain };
            return Ok(());
        }
        for &byte in bytes {
            let ends = byte == self.delimiter || matches!(byte, b'\n' | b'\r');
            self.state = match self.state {
                State::Quoted if byte == b'"' => State::Closed,
                State::Quoted => State::Quoted,
                State::Start | State::Closed if byte == b'"' => {
                    if self.state == State::Start {
                        self.opened = self.line;
                    }
                    State::Quoted
                }
                _ if ends => State::Start,
                State::Start | State::Plain => State::Plain,
                State::Closed | State::After if matches!(byte, b' ' | b'\t') => State::After,
                State::Closed | State::After => {
                    return Err(QuoteError { opened: self.opened, followed: Some(self.line) });
                }
            };
            self.line += u64::from(byte == b'\n');
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        if count == 0 && !buffer.is_empty() && self.state == State::Quoted {
            return Err(wrong(QuoteError { opened: self.opened, followed: None }));
        }
        if self.enabled {
            self.check(&buffer[..count]).map_err(wrong)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line in which the wrong quote opens, read in pieces of `size` bytes.
    fn opened(content: &str, size: usize) -> Option<u64> {
        let mut quotes = Quotes::new(content.as_bytes(), b',', true);
        let mut buffer = vec![0; size];
        loop {
            match quotes.read(&mut buffer) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    let error = error.into_inner().unwrap().downcast::<QuoteError>().unwrap();
                    return Some(error.opened);
                }
            }
        }
    }

    #[test]
    fn quotes_that_are_not_closed_are_found_and_closed_ones_are_not() {
        for size in [1, 2, 3, 7, 100] {
            assert_eq!(opened("a,b\n1,\"x\n2,y\n3,z\n", size), Some(2));
            assert_eq!(opened("\"a,b\n1,x\n", size), Some(1));
            assert_eq!(opened("a,b\n1,\"x\"\"\n2,y\n", size), Some(2));
            // Another quote, further down, closes it too early.
            assert_eq!(opened("a,b\n1,\"x\n2,\"y\"\n", size), Some(2));
            assert_eq!(opened("a,b\n1,\"x\" y\n", size), Some(2));
            for good in [
                "a,b\n1,\"x\ny\"\n2,\"\"\n",
                "a,b\n1,\"x \"\"y\"\"\" \n",
                "a,5\" wide\n\"1\",\"2\"",
                "",
            ] {
                assert_eq!(opened(good, size), None, "{good:?}");
            }
        }
    }
}
