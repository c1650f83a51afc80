//! The route table, and one file for each resource.

pub mod accounts;
pub mod api_keys;
pub mod blacklist;
pub mod bulk_notices;
pub mod credits;
pub mod docs;
pub mod explain;
pub mod health;
pub mod log_out;
pub mod message_list;
pub mod messages;
pub mod metrics;
pub mod notices;
pub mod password_change;
pub mod queues;
pub mod router;
pub mod sandbox;
pub mod sessions;
pub mod verification_checks;
pub mod verifications;
