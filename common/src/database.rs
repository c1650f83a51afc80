//! The tables: what is kept of every message, who may call, who is banned. Three engines, one schema, one set
//! of queries; one contract suite runs over all three.

pub mod account;
pub mod blacklist;
pub mod dead_letter;
mod engine;
pub mod sms_log;
mod sms_log_queries;

pub use engine::{Database, DatabaseError};

/// The beginning of a text, at most `most` bytes of it: one overlong answer must not fail a batch.
fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}
