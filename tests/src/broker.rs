//! The parent's side of a cell, for tests that look at the cell and not at its job.

use eider_sandbox::{Broker, BrokerError};

/// Answers reads with nothing and forgets the result.
#[derive(Debug)]
pub struct NoBroker;

impl Broker for NoBroker {
    async fn read(&mut self, _: u32, _: u64, _: &mut [u8]) -> Result<(), BrokerError> {
        Ok(())
    }
    async fn write(&mut self, _: Vec<u8>) -> Result<(), BrokerError> {
        Ok(())
    }
    fn progress(&mut self, _: u32) {}
}
