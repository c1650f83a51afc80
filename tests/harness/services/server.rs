//! One server of a private instance: started, killed, stopped and continued, on a port that stays its own.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::guardian::Guarded;
use crate::harness::{eventually_blocking, ports};

/// How much of a server's log is worth reading when it doesn't start.
const LOG_TAIL: usize = 4_000;

#[derive(Debug)]
pub(super) struct Server {
    command: Command,
    port: u16,
    log: PathBuf,
    last_signal: &'static str,
    process: Option<Guarded>,
}

impl Server {
    /// A server that `command` will start, listening on `port`, with its output in `folder`.
    pub(super) fn new(command: Command, port: u16, folder: &Path) -> Self {
        Self { command, port, log: folder.join("output.log"), last_signal: "KILL", process: None }
    }

    /// Has it ended by this signal, in place of KILL, when its test is over.
    pub(super) fn ending_by(self, last_signal: &'static str) -> Self {
        Self { last_signal, ..self }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it and waits until `ready` says that it answers.
    pub(super) fn start(&mut self, ready: impl Fn() -> bool) {
        assert!(self.process.is_none(), "it is running already");
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        self.command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let name = self.command.get_program().display().to_string();
        let mut process = Guarded::spawn_ending_by(self.last_signal, &mut self.command).unwrap();
        eventually_blocking(
            &format!("{name} to be ready; its log is {}", self.log.display()),
            || {
                let ended = process.ended();
                assert!(ended.is_none(), "{name} ended with {ended:?}:\n{}", self.log_tail());
                ready().then_some(())
            },
        );
        self.process = Some(process);
    }

    /// SIGKILL, also of what it started. Returns when its port is closed, which a child of it may hold a moment longer.
    pub(super) fn kill(&mut self) {
        self.process.take().expect("it is running").kill();
        eventually_blocking("a killed server to be gone", || {
            (!ports::listens(self.port)).then_some(())
        });
    }

    /// SIGSTOP: connections stay open, and nothing is answered on them.
    pub(super) fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(super) fn resume(&self) {
        self.signal("CONT");
    }

    pub(super) fn signal(&self, signal: &str) {
        self.process.as_ref().expect("it is running").signal(signal);
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }
}
