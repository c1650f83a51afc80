//! The API: who asks, what is refused, what is queued. A request's way through it, in reading order: `router`,
//! `caller`, `json`, `verifications`, `sending`, `guard`, `outgoing`; then `postrider_common::accept`.

pub mod account_cache;
pub mod app;
pub mod back_pressure;
pub mod caller;
pub mod checking;
pub mod cli;
pub mod client_ip;
pub mod clock;
pub mod commands;
pub mod connect;
pub mod data_lock;
pub mod docs;
pub mod guard;
pub mod health;
pub mod idempotency;
pub mod json;
pub mod message_list;
pub mod messages;
pub mod metrics;
pub mod notices;
pub mod openapi;
pub mod outgoing;
pub mod problem;
pub mod queues;
pub mod rate_limit_headers;
pub mod refusals;
pub mod request_id;
pub mod restore;
pub mod router;
pub mod sandbox;
pub mod sending;
pub mod serve;
#[cfg(test)]
mod testing;
pub mod token;
pub mod trace;
pub mod verification_checks;
pub mod verifications;
pub mod verified;
pub mod welcome;
