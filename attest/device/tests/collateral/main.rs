//! Collateral that renews itself, against services on this machine that answer, lie, hang and flood. Genuine collateral is Intel's
//! of 2025 and 2026, for one kind of platform; AMD's service is played with the laboratory's certificates, for no revocation list of
//! its own was at hand. No vendor's service is asked, and no machine with SEV-SNP or TDX makes the evidence.
#![allow(clippy::unwrap_used)]

mod hostile;
#[path = "../../../core/tests/common/lab.rs"]
#[allow(dead_code)]
mod lab;
mod machine;
mod server;
mod snp;
mod tdx;
