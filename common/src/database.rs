//! The tables: what is kept of every message, who may call, who is banned. Three engines, one schema, one set
//! of queries; one contract suite runs over all three.

pub mod account;
pub mod api_key;
pub mod blacklist;
pub mod blacklist_write;
pub mod credentials;
pub mod dead_letter;
mod engine;
mod error;
pub mod ledger;
pub mod purge;
pub mod refusal;
pub mod revocation;
pub mod sms_log;
mod sms_log_read;
mod sms_log_write;
mod statement;
mod tables;
#[cfg(test)]
mod tests;
mod text;
pub mod wide_ban;

pub use engine::Database;
pub use error::DatabaseError;
