//! Black-box tests of the whole path: one binary, so that its services are started once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on ends by panicking, in its helpers too"
)]

mod accept_many;
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod back_pressure;
#[cfg(test)]
mod bans;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod dialects;
#[cfg(test)]
mod distributed;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod full_disk;
mod harness;
#[cfg(test)]
mod leaks;
mod log_contract;
#[cfg(test)]
mod log_out;
#[cfg(test)]
mod lost_key;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod pgbouncer;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod provider_outages;
mod queue_contract;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod refusing_database;
mod schema;
#[cfg(test)]
mod stopping;
mod store_contract;
#[cfg(test)]
mod test_keys;
