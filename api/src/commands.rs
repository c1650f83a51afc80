//! What is done from a shell, beside a running service.

pub mod account;
pub mod ban;
pub mod dead;
pub mod migrate;
pub mod purge;
pub mod token;

use std::io::Write as _;

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
