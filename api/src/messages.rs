//! The accept path: from a checked request to a queued message, and the check of a code.

pub mod back_pressure;
pub mod bans;
pub mod check;
pub mod guard;
pub mod job;
pub mod limit_subject;
pub mod send;
