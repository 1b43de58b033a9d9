//! Messages between the server and the process of the model, over a pair of connected sockets. Numbers are
//! little-endian; every message begins with its length in bytes, without these eight.

use std::{
    io::{self, Read},
    time::Duration,
};

/// Bytes of the length.
const LENGTH: usize = 8;
/// Longest message; anything longer is no message.
const LONGEST: u64 = 1 << 34;

/// How the predictions of a request are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub top: usize,
    pub probabilities: bool,
    pub raw: bool,
}

/// What a request asks to predict from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Inputs of the model: the number of samples and their elements in the model's type.
    Inputs { samples: usize, bytes: Vec<u8> },
    /// The content of a file that the data set reads.
    File(Vec<u8>),
}

/// A request for the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub id: u64,
    pub content: Content,
    pub form: Form,
    /// Most samples.
    pub most: usize,
    /// How long somebody waits for the answer.
    pub left: Duration,
}

/// A message of the process of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The model is open; what it is, as JSON.
    Opened(String),
    /// The model cannot be opened.
    NotOpened(String),
    /// Predictions for a request, as JSON.
    Answer(u64, String),
    /// The input of a request is not usable.
    Input(u64, String),
    /// The model failed for a request.
    Model(u64, String),
    /// So many samples were computed in one call.
    Computed(u64),
    /// The process ends after this, since an instance cannot be called any more.
    Ending(String),
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that cannot be read")
}

/// Reads the parts of a message.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn number(&mut self) -> io::Result<u64> {
        let (number, rest) = self.0.split_first_chunk().ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn size(&mut self) -> io::Result<usize> {
        usize::try_from(self.number()?).map_err(|_| corrupt())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let (byte, rest) = self.0.split_first().ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }

    fn text(self) -> io::Result<String> {
        String::from_utf8(self.0.to_vec()).map_err(|_| corrupt())
    }
}

/// Begins a message in `out`; [`end`] fills in its length.
fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend([0; LENGTH]);
    start
}

fn end(out: &mut [u8], start: usize) {
    let length = (out.len() - start - LENGTH) as u64;
    out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
}

/// The length of the message at the start of `bytes`, with the bytes of the length; none if they are not
/// there yet.
///
/// # Errors
/// It is longer than any message.
pub fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(first) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = u64::from_le_bytes(*first);
    if length > LONGEST {
        return Err(corrupt());
    }
    Ok(Some(length as usize + LENGTH))
}

impl Request {
    /// Appends the message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = begin(out);
        let (kind, samples, bytes) = match &self.content {
            Content::Inputs { samples, bytes } => (0, *samples, bytes),
            Content::File(bytes) => (1, 0, bytes),
        };
        let flags = u8::from(self.form.probabilities) | u8::from(self.form.raw) << 1;
        let left = u64::try_from(self.left.as_micros()).unwrap_or(u64::MAX);
        out.extend([kind, flags]);
        for number in [self.id, self.form.top as u64, self.most as u64, left, samples as u64] {
            out.extend(number.to_le_bytes());
        }
        out.extend(bytes);
        end(out, start);
    }

    /// Reads a whole message, as [`length`] measures it.
    ///
    /// # Errors
    /// It is no such message.
    pub fn read(message: &[u8]) -> io::Result<Request> {
        let mut parts = Parts(message.get(LENGTH..).ok_or_else(corrupt)?);
        let (kind, flags) = (parts.byte()?, parts.byte()?);
        let id = parts.number()?;
        let (top, most, left) = (parts.size()?, parts.size()?, parts.number()?);
        let samples = parts.size()?;
        let bytes = parts.rest().to_vec();
        Ok(Request {
            id,
            content: match kind {
                0 => Content::Inputs { samples, bytes },
                1 => Content::File(bytes),
                _ => return Err(corrupt()),
            },
            form: Form { top, probabilities: flags & 1 != 0, raw: flags & 2 != 0 },
            most,
            left: Duration::from_micros(left),
        })
    }
}

impl Reply {
    /// Appends the message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = begin(out);
        let (kind, number, text): (u8, u64, &str) = match self {
            Reply::Opened(about) => (0, 0, about),
            Reply::NotOpened(text) => (1, 0, text),
            Reply::Answer(id, text) => (2, *id, text),
            Reply::Input(id, text) => (3, *id, text),
            Reply::Model(id, text) => (4, *id, text),
            Reply::Computed(samples) => (5, *samples, ""),
            Reply::Ending(text) => (6, 0, text),
        };
        out.push(kind);
        out.extend(number.to_le_bytes());
        out.extend(text.as_bytes());
        end(out, start);
    }

    /// The next message; none where the other side has closed.
    ///
    /// # Errors
    /// The other side cannot be read, closed within a message, or sent something else.
    pub fn next(from: &mut impl Read) -> io::Result<Option<Reply>> {
        let mut first = [0; LENGTH];
        let mut read = 0;
        while read < LENGTH {
            match from.read(&mut first[read..]) {
                Ok(0) if read == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let length = length(&first)?.ok_or_else(corrupt)? - LENGTH;
        let mut message = Vec::new();
        from.take(length as u64).read_to_end(&mut message)?;
        if message.len() != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut parts = Parts(&message);
        let (kind, number) = (parts.byte()?, parts.number()?);
        let text = parts.text()?;
        Ok(Some(match kind {
            0 => Reply::Opened(text),
            1 => Reply::NotOpened(text),
            2 => Reply::Answer(number, text),
            3 => Reply::Input(number, text),
            4 => Reply::Model(number, text),
            5 => Reply::Computed(number),
            6 => Reply::Ending(text),
            _ => return Err(corrupt()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_others_are_refused() {
        let requests = [
            Request {
                id: 7,
                content: Content::Inputs { samples: 2, bytes: vec![1, 2, 3] },
                form: Form { top: 3, probabilities: true, raw: false },
                most: 10,
                left: Duration::from_millis(1500),
            },
            Request {
                id: u64::MAX,
                content: Content::File(Vec::new()),
                form: Form { top: 0, probabilities: false, raw: true },
                most: 0,
                left: Duration::ZERO,
            },
        ];
        let mut bytes = Vec::new();
        requests.iter().for_each(|one| one.write(&mut bytes));
        let first = length(&bytes).unwrap().unwrap();
        assert_eq!(Request::read(&bytes[..first]).unwrap(), requests[0]);
        assert_eq!(length(&bytes[first..]).unwrap(), Some(bytes.len() - first));
        assert_eq!(Request::read(&bytes[first..]).unwrap(), requests[1]);
        assert_eq!(length(&bytes[..7]).unwrap(), None);
        assert!(length(&[255; 8]).is_err() && Request::read(&bytes[..20]).is_err());

        let replies = [
            Reply::Opened("{}".into()),
            Reply::NotOpened("no".into()),
            Reply::Answer(1, "ä".into()),
            Reply::Input(2, String::new()),
            Reply::Model(3, "x".into()),
            Reply::Computed(64),
            Reply::Ending("gone".into()),
        ];
        let mut bytes = Vec::new();
        replies.iter().for_each(|one| one.write(&mut bytes));
        let mut from = bytes.as_slice();
        for one in &replies {
            assert_eq!(Reply::next(&mut from).unwrap().as_ref(), Some(one));
        }
        assert_eq!(Reply::next(&mut from).unwrap(), None);
        assert!(Reply::next(&mut &bytes[..5]).is_err(), "an end within a message");
        assert!(Reply::next(&mut &bytes[..12]).is_err(), "an end within a message");
        assert!(Reply::next(&mut &[200_u8; 64][..]).is_err(), "no message");
    }
}
