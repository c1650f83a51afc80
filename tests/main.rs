//! Black-box tests of the whole path: one binary, so that its services are started once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on ends by panicking, in its helpers too"
)]
#![expect(
    unreachable_pub,
    reason = "nothing is outside of a test binary: pub is for its other modules"
)]

#[cfg(test)]
mod embedded;
mod harness;
mod harness_itself;
mod log_contract;
mod queue_contract;
mod schema;
