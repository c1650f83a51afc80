//! `postrider-api`: reads the command line and the configuration, and runs what was asked for.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use postrider_api::cli::{self, Cli};
use postrider_common::config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong on the command line or in the configuration.
const MISCONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = match config::load(&variables.collect()) {
        Ok(config) => config,
        Err(error) => return complain(&error.to_string(), MISCONFIGURED),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
    match runtime.and_then(|runtime| runtime.block_on(cli::run(cli, config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}"), 1),
    }
}

fn complain(problem: &str, code: u8) -> ExitCode {
    // Where nobody reads stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "postrider-api: {problem}"));
    ExitCode::from(code)
}
