//! Reading a file whole, without asking the disk for what was never written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// A file from its beginning on. Holes are zeros, as for every reader, and cost neither reads nor the page cache.
pub(super) struct Sparse<'a> {
    file: &'a File,
    size: u64,
    at: u64,
    /// The next run of data; it is looked for where the last one ends.
    data: std::ops::Range<u64>,
}

impl<'a> Sparse<'a> {
    pub(super) fn new(file: &'a File, size: u64) -> Self {
        Self { file, size, at: 0, data: 0..0 }
    }

    fn next_data(&self) -> std::ops::Range<u64> {
        let from = match seek(self.file, SeekFrom::Data(self.at)) {
            Ok(from) => from,
            // A hole up to the end.
            Err(Errno::NXIO) => return self.size..self.size,
            // A file system that cannot tell.
            Err(_) => return self.at..u64::MAX,
        };
        let until = seek(self.file, SeekFrom::Hole(from)).ok().filter(|until| *until > from);
        from..until.unwrap_or(u64::MAX)
    }
}

impl Read for Sparse<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.data.end && self.at < self.size {
            self.data = self.next_data();
        }
        let hole = self.data.start.min(self.size).saturating_sub(self.at);
        let n = if hole > 0 {
            let zeros = usize::try_from(hole).unwrap_or(usize::MAX).min(into.len());
            into[..zeros].fill(0);
            zeros
        } else {
            let most = usize::try_from(self.data.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(into.len());
            self.file.read_at(&mut into[..most], self.at)?
        };
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_data_read_as_they_do_for_everybody() {
        for (size, data) in
            [(0, vec![]), (1, vec![]), (3 << 20, vec![1 << 20]), (3 << 20, vec![0, 9_000, (3 << 20) - 5])]
        {
            let file = tempfile::tempfile().unwrap();
            file.set_len(size).unwrap();
            for at in data {
                file.write_all_at(b"here", at).unwrap();
            }
            let (mut whole, mut read) = (vec![0; usize::try_from(size).unwrap()], vec![]);
            file.read_exact_at(&mut whole, 0).unwrap();
            Sparse::new(&file, size).read_to_end(&mut read).unwrap();
            assert!(read == whole, "{size}");
        }
    }
}
