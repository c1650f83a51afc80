//! `postrider-api`: reads the command line and the configuration, and runs what was asked for.

use std::process::ExitCode;

use clap::Parser as _;
use postrider_api::cli::args::{self, Cli};
use postrider_common::config;
use postrider_common::runtime::shutdown;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Names and values that aren't UTF-8 are none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let load = if cli.serves() { config::load } else { config::load_for_command };
    match load(&variables.collect()) {
        Ok(config) => shutdown::run(args::run(cli, config)),
        Err(error) => shutdown::misconfigured(&error),
    }
}
