//! What of a spool is in memory, and what comes when.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use super::{HEAD, PIECE};
use crate::sink::same_error;

/// What the pump does next.
pub(super) enum Next {
    Piece(Bytes),
    InFile,
    Nothing,
    End,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The oldest bytes.
    pub(super) head: Pieces,
    /// Bytes in the file, which follow.
    pub(super) spilled: u64,
    /// The newest bytes.
    pub(super) tail: Pieces,
    /// The tail is on its way to the file.
    spilling: bool,
    pub(super) finished: bool,
    pub(super) failure: Option<io::Error>,
}

impl Queue {
    /// Whether there was room for the piece.
    pub(super) fn take(&mut self, piece: &Bytes) -> io::Result<bool> {
        if let Some(e) = &self.failure {
            return Err(same_error(e));
        }
        let is_last = self.spilled == 0 && self.tail.bytes == 0;
        let part = if is_last && self.head.bytes + piece.len() <= HEAD {
            &mut self.head
        } else if self.tail.bytes + piece.len() <= PIECE {
            &mut self.tail
        } else {
            return Ok(false);
        };
        part.bytes += piece.len();
        part.list.push_back(piece.clone());
        Ok(true)
    }

    pub(super) fn next(&mut self) -> Next {
        if self.head.bytes == 0 && self.spilled == 0 && !self.spilling {
            self.head = std::mem::take(&mut self.tail);
        }
        match self.head.pop() {
            Some(piece) => Next::Piece(piece),
            None if self.spilled > 0 => Next::InFile,
            None if self.finished && !self.spilling => Next::End,
            None => Next::Nothing,
        }
    }

    pub(super) fn begin_spill(&mut self) -> Vec<Bytes> {
        self.spilling = self.tail.bytes > 0;
        self.tail.list.iter().cloned().collect()
    }

    /// So many pieces are in the file.
    pub(super) fn end_spill(&mut self, pieces: usize) {
        self.spilling = false;
        for _ in 0..pieces {
            // There are none after a failure, and then nobody reads.
            self.spilled += self.tail.pop().map_or(0, |piece| piece.len() as u64);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pieces {
    list: VecDeque<Bytes>,
    pub(super) bytes: usize,
}

impl Pieces {
    fn pop(&mut self) -> Option<Bytes> {
        let piece = self.list.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }
}
