//! What is done from a shell, beside a running service.

pub mod account;
pub mod args;
pub mod ban;
pub mod dead_letters;
pub mod migrate;
pub mod purge;
pub mod token;

use std::io::Write as _;
use std::time::Duration;

/// Prints a line to stdout; a closed pipe is an error as any other.
fn print(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Prints a line to stderr: stdout holds what a script reads.
fn notify(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr().lock(), "{line}")
}

/// `30m`, `24h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("must be greater than zero".to_owned()) } else { Ok(duration) }
}
