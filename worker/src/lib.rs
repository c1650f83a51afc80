//! Takes jobs from the queue, hands them to providers, records what came of each. The life of a job, in the order of
//! the files:
//!
//! 1. [`run()`] consumes each lane with a concurrency of its own and starts a task for each delivery; `pace` holds
//!    back notices while codes are carried.
//! 2. `send` decodes it, claims it in the store, makes the code, and calls the provider.
//! 3. [`provider`] is who carries SMS; each classifies its own answers.
//!    `provider_state` logs when one stops taking messages, and when it takes them again.
//! 4. `decision` says what follows: done, again, later, the end. `delay` says when.
//! 5. `resolution` is what is written into the store first, so that any worker can finish the rest.
//! 6. `recorder` has `rows` write them in batches, and then has the jobs acked by `acks`.
//!    `waiting_row` is how a record waits at the broker for the database.
//! 7. `drains` takes in what ended beside the lanes: rows that waited for the database, dead letters of the
//!    broker, unrouted messages.
//!
//! [`health`] answers whoever watches; [`cli`] is the command line.

mod acks;
pub mod cli;
mod decision;
mod delay;
mod drains;
pub mod health;
mod missing_keys;
mod pace;
pub mod provider;
mod provider_state;
mod recorder;
mod resolution;
mod rows;
mod run;
mod send;
#[cfg(test)]
mod testing;
mod waiting_row;

pub use missing_keys::MissingKeys;
pub use run::{WorkerParts, run};
