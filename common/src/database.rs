//! The tables: what is kept of every message, who may call, who is banned. Three engines, one schema, one set
//! of queries; one contract suite runs over all three.

pub mod account;
pub mod blacklist;
pub mod dead_letter;
mod engine;
pub mod sms_log;

pub use engine::{Database, DatabaseError};
