//! The API: authenticates a request, enforces bans and limits, and queues the message.
//!
//! A request's way, in reading order: [`routes`] (the route table and one file per resource), [`auth`] (the caller),
//! [`messages`] (the accept path: guard, job, queue). Routes call `messages` and `auth`, those call [`postrider_common`],
//! and nothing calls back up. [`dialects`] translates the older systems' wire formats into the same calls and holds no
//! rules of its own.

pub mod auth;
pub mod background;
pub mod cli;
pub mod dialects;
pub mod http;
pub mod messages;
pub mod openapi;
pub mod routes;
pub mod server;
#[cfg(test)]
mod testing;
