//! HTTP beneath the routes: bodies, problems, pages, headers, the client's address.

pub mod body;
pub mod body_progress;
pub mod client_ip;
pub mod clock;
pub mod idempotency;
pub mod layers;
pub mod pagination;
pub mod problem;
pub mod rate_limit_headers;
pub mod request_id;
pub mod trace;
