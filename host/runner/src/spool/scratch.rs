//! What of a spool is on the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use super::PIECE;

/// The file, made when it is needed. It grows until it has been read to its end, and is empty then.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) folder: PathBuf,
    pub(super) limit: u64,
    pub(super) file: Option<File>,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Scratch {
    pub(super) fn append(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let length: u64 = pieces.iter().map(|p| p.len() as u64).sum();
        if self.end + length > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder)?,
        };
        let file = self.file.insert(file);
        let mut at = self.end;
        for piece in pieces {
            if let Err(e) = file.write_all_at(piece, at) {
                // Others may need the room more than half a piece does.
                let _ = file.set_len(self.end);
                return Err(e);
            }
            at += piece.len() as u64;
        }
        self.end = at;
        Ok(())
    }

    pub(super) fn read(&mut self) -> io::Result<Bytes> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let length = usize::try_from(self.end - self.start).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, self.start)?;
        self.start += length as u64;
        if self.start == self.end {
            // What cannot be given back now is written over later.
            let _ = file.set_len(0);
            (self.start, self.end) = (0, 0);
        }
        Ok(piece.into())
    }
}
