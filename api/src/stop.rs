//! When to stop: the first signal asks for it, the second doesn't ask.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell says of a process ended by `SIGINT`.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first `SIGTERM` or `SIGINT`; a second one ends the process at once.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if first.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            first.cancel();
        }
    });
    Ok(stop)
}
