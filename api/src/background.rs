//! Work beside requests: results that are written later, and a store that gets its bans back.

pub mod approvals;
pub mod automatic_bans;
pub mod key_uses;
pub mod refusals;
pub mod store_recovery;
