//! How a process begins and ends: the runtime, signals, exit codes.

use std::fmt;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::runtime::terminal::printable;

/// What a wrong configuration exits with.
const MISCONFIGURED: u8 = 2;

/// Says what is wrong with the configuration and gives the exit code for it.
pub fn misconfigured(error: &dyn fmt::Display) -> ExitCode {
    complain(error);
    ExitCode::from(MISCONFIGURED)
}

/// Runs a process's one future to its end.
pub fn run<E: fmt::Display>(main: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return misconfigured(&error),
    };
    match runtime.block_on(main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A token that the first SIGTERM or SIGINT cancels; the second ends the process at once.
pub fn signalled() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        for ask in ["first", "second"] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!(signal = ask, "asked to stop");
            if stopped.is_cancelled() {
                std::process::exit(1);
            }
            stopped.cancel();
        }
    });
    Ok(stop)
}

#[expect(
    clippy::print_stderr,
    reason = "logs may not have begun, and this is for whoever started the process"
)]
fn complain(error: &dyn fmt::Display) {
    eprintln!("postrider: {}", printable(&error.to_string()));
}
