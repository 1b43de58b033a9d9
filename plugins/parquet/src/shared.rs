//! A file that several threads read at a time.

use std::fs::File;
use std::io::{BufReader, Read, Result};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// A file of which each read states its position. The library's own reader of files moves the position
/// that all threads share.
#[derive(Clone, Debug)]
pub struct SharedFile(Arc<File>);

impl From<File> for SharedFile {
    fn from(file: File) -> SharedFile {
        SharedFile(Arc::new(file))
    }
}

/// A reader with a position of its own.
#[derive(Debug)]
pub struct At {
    file: SharedFile,
    position: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.file.0.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Length for SharedFile {
    fn len(&self) -> u64 {
        Length::len(&*self.0)
    }
}

impl ChunkReader for SharedFile {
    type T = BufReader<At>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(At { file: self.clone(), position: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.saturating_add(length as u64);
        if end > Length::len(self) {
            let text = format!("the file ends before byte {end}");
            return Err(ParquetError::EOF(text));
        }
        let mut buffer = vec![0; length];
        self.0.read_exact_at(&mut buffer, start)?;
        Ok(buffer.into())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_do_not_move_the_position_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        let numbers: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &numbers).unwrap();
        let file = SharedFile::from(File::open(&path).unwrap());
        let read = |thread: usize| {
            for at in (thread..700_000).step_by(7_919) {
                let mut found = [0; 64];
                file.get_read(at as u64).unwrap().read_exact(&mut found).unwrap();
                assert_eq!(found, numbers[at..at + 64]);
                assert_eq!(file.get_bytes(at as u64, 64).unwrap(), numbers[at..at + 64]);
            }
        };
        thread::scope(|scope| {
            (0..4).for_each(|number| drop(scope.spawn(move || read(number))));
        });
        assert_eq!(Length::len(&file), numbers.len() as u64);
        assert!(file.get_bytes(numbers.len() as u64 - 8, 64).is_err(), "beyond the end");
    }
}
