//! `cargo run --release -p bench -- SCENARIO`: load against the real processes on private services, and what their parts
//! can do at most, measured in the same run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that can't go on ends by panicking, as a test does"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a terminal is what it is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times here stay far below 2^52 and above zero"
)]

mod chart;
mod floors;
mod generator;
mod http;
mod latency;
mod load;
mod machine;
mod process;
mod provider;
mod report;
mod scenarios;
mod speed;
mod stage;
mod timeline;
mod usual;
mod waiting;

/// The tests' harness, as far as it starts private services and ends them: one place knows how that is done.
#[path = "../../tests/harness"]
mod harness {
    #![expect(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "shared with the tests, which use more of it"
    )]

    pub mod guardian;
    pub mod ports;
    pub mod services;

    pub(crate) use crate::waiting::{eventually, eventually_blocking};
}

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures Postrider on this machine")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
    #[command(flatten)]
    common: scenarios::Common,
}

#[derive(Debug, Subcommand)]
enum Role {
    #[command(flatten)]
    Scenario(scenarios::Scenario),
    /// A generator of load; scenarios start it.
    #[command(hide = true)]
    Generate { plan: PathBuf },
    /// The fake provider; scenarios start it.
    #[command(hide = true)]
    Provider(provider::Manner),
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Role::Scenario(scenario) => scenarios::run(scenario, &arguments.common).await,
        Role::Generate { plan } => generator::run(plan).await,
        Role::Provider(manner) => provider::run(*manner).await,
    };
    if let Err(error) = &done {
        eprintln!("Error: {error:?}");
    }
    // Not by returning: the broker's client still looks at the queues, and panics when the runtime ends under it.
    std::process::exit(i32::from(done.is_err()));
}
