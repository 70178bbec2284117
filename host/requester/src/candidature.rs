//! One candidate of a job, as the job's driver knows it.

use eider_attest::Appraisal;
use eider_net::Prefix;
use eider_protocol::{Bid, Hash, NodeId, Outcome, ResetCode, Settle, Signed, Version};
use eider_store::Memory;
use tokio::sync::{mpsc, oneshot};

use crate::candidate::Candidate;
use crate::grants::Granted;
use crate::peer::Command;

/// A Bid whose TPM was sent a credential.
pub(crate) struct Challenged {
    pub(crate) bid: Box<Signed<Bid>>,
    /// What is in it.
    pub(crate) secret: [u8; 32],
    /// The keys that opening it shows.
    pub(crate) pair: String,
}

/// What is left of a Bid once it was judged: all that a Dispatch needs.
#[derive(Clone, Copy)]
pub(crate) struct HeldBid {
    pub(crate) sealing: [u8; 32],
    pub(crate) price: u64,
    /// The evidence that was shown with it.
    pub(crate) shown: Option<Hash>,
}

/// The other end of a candidate's orders: its task's.
pub(crate) struct Orders {
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) reset: oneshot::Receiver<ResetCode>,
}

/// A candidate: whom it turned out to be, what it said, what it was given.
pub(crate) struct Candidature {
    pub(crate) candidate: Candidate,
    pub(crate) node: Option<NodeId>,
    /// Where it was met.
    pub(crate) network: Option<Prefix>,
    pub(crate) version: Version,
    commands: Option<mpsc::UnboundedSender<Command>>,
    reset: Option<oneshot::Sender<ResetCode>>,
    waiting: Option<Orders>,
    pub(crate) held: Option<HeldBid>,
    pub(crate) signed_bid: Option<Vec<u8>>,
    pub(crate) bid_hash: Option<Hash>,
    pub(crate) challenged: Option<Challenged>,
    /// Its TPM has opened its credential.
    pub(crate) answered: bool,
    pub(crate) appraisal: Option<Appraisal>,
    pub(crate) known: Option<Memory>,
    pub(crate) commit: Option<Outcome>,
    pub(crate) signed_commit: Option<Vec<u8>>,
    pub(crate) second_commit: Option<Vec<u8>>,
    pub(crate) settle: Option<Settle>,
    pub(crate) receipt: Option<Vec<u8>>,
    pub(crate) granted: Option<Granted>,
    /// Its stream is gone: no receipt comes any more.
    pub(crate) gone: bool,
    /// It has no version in common with this node.
    pub(crate) incompatible: Option<String>,
}

impl Candidature {
    /// A candidate that is being dialled.
    pub(crate) fn new(candidate: Candidate) -> Self {
        Self {
            candidate,
            node: None,
            network: None,
            version: Version::LATEST,
            commands: None,
            reset: None,
            waiting: None,
            held: None,
            signed_bid: None,
            bid_hash: None,
            challenged: None,
            answered: false,
            appraisal: None,
            known: None,
            commit: None,
            signed_commit: None,
            second_commit: None,
            settle: None,
            receipt: None,
            granted: None,
            gone: false,
            incompatible: None,
        }
    }

    /// The ends of its orders for the task that talks to it, now that there is a connection.
    pub(crate) fn orders(&mut self) -> Orders {
        self.waiting.take().unwrap_or_else(|| self.new_orders())
    }

    /// The queue of commands has no bound of its own: the core gives each peer one of each kind, and a Verify for each time that its
    /// delivery failed.
    fn new_orders(&mut self) -> Orders {
        let (commands, commands_rx) = mpsc::unbounded_channel();
        let (reset, reset_rx) = oneshot::channel();
        (self.commands, self.reset) = (Some(commands), Some(reset));
        Orders { commands: commands_rx, reset: reset_rx }
    }

    /// The same candidate, to be asked anew: what it said of itself is forgotten. Its orders wait for the connection.
    pub(crate) fn renew(&mut self) {
        (self.held, self.signed_bid, self.bid_hash) = (None, None, None);
        (self.challenged, self.answered, self.appraisal, self.known) = (None, false, None, None);
        self.waiting = Some(self.new_orders());
    }

    /// Never waits.
    pub(crate) fn command(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // Its task has ended, and has said why.
            let _ = commands.send(command);
        }
    }

    /// Ends its stream with this code, whatever is under way on it.
    pub(crate) fn reset(&mut self, code: ResetCode) {
        if let Some(reset) = self.reset.take() {
            let _ = reset.send(code);
        }
        // After it: a task whose commands have ended ends its stream in order.
        self.commands = None;
    }

    /// No more commands come: its task ends when what was said is answered.
    pub(crate) fn release(&mut self) {
        self.commands = None;
    }
}
