//! Who holds how much of the donated disk, and what may be given up for others: first of the tenant that holds most,
//! and of its entries the least recently used. One tenant's flood so costs its own entries first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use eider_protocol::NodeId;

use super::disk::Key;

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    Bytes,
    Entries,
}

/// An entry that no lease holds, as the ledger finds it again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) owner: NodeId,
    /// When it was last used; no two entries have the same.
    pub(super) used_at: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
struct Account {
    bytes: u64,
    idle: BTreeMap<u64, Key>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: HashMap<NodeId, Account>,
    /// Tenants by bytes held, and by idle entries.
    by_bytes: BTreeSet<(u64, NodeId)>,
    by_idle: BTreeSet<(usize, NodeId)>,
    held: u64,
    idle_bytes: u64,
    idle_entries: usize,
}

impl Ledger {
    /// Bytes on the disk.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Bytes and entries that could be given up at once.
    pub(super) fn idle(&self) -> (u64, usize) {
        (self.idle_bytes, self.idle_entries)
    }

    pub(super) fn charge(&mut self, tenant: NodeId, bytes: u64) {
        self.held += bytes;
        self.change(tenant, |account| account.bytes += bytes);
    }

    pub(super) fn discharge(&mut self, tenant: NodeId, bytes: u64) {
        self.held -= bytes;
        self.change(tenant, |account| account.bytes -= bytes);
    }

    pub(super) fn rest(&mut self, key: Key, idle: Idle) {
        self.idle_bytes += idle.bytes;
        self.idle_entries += 1;
        self.change(idle.owner, |account| {
            account.idle.insert(idle.used_at, key);
        });
    }

    pub(super) fn wake(&mut self, idle: Idle) {
        self.idle_bytes -= idle.bytes;
        self.idle_entries -= 1;
        self.change(idle.owner, |account| {
            account.idle.remove(&idle.used_at);
        });
    }

    /// The entry to give up next.
    pub(super) fn victim(&self, short: Short) -> Option<Key> {
        let oldest = |tenant: &NodeId| self.accounts.get(tenant)?.idle.first_key_value().map(|(_, key)| *key);
        match short {
            // Tenants without an idle entry are as many as run jobs, no more.
            Short::Bytes => self.by_bytes.iter().rev().find_map(|(_, tenant)| oldest(tenant)),
            Short::Entries => self.by_idle.iter().rev().find_map(|(_, tenant)| oldest(tenant)),
        }
    }

    fn change(&mut self, tenant: NodeId, change: impl FnOnce(&mut Account)) {
        let account = self.accounts.entry(tenant).or_default();
        self.by_bytes.remove(&(account.bytes, tenant));
        self.by_idle.remove(&(account.idle.len(), tenant));
        change(account);
        if account.bytes == 0 && account.idle.is_empty() {
            self.accounts.remove(&tenant);
            return;
        }
        self.by_bytes.insert((account.bytes, tenant));
        self.by_idle.insert((account.idle.len(), tenant));
    }
}
