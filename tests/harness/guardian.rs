//! Ends what the tests started, by process id, also when the test run is killed: a shell that waits for our end of a
//! pipe to close.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Reads until end of file, then ends each process group that a file names, by the signal that it names and by KILL if
/// that isn't enough, and removes the folder.
const WATCH: &str = include_str!("guardian.sh");

/// How long a process may take to end by another signal than KILL.
const GRACE: Duration = Duration::from_secs(5);

struct Guardian {
    folder: PathBuf,
    // Holds the pipe: it closes when this process ends, whichever way.
    _watch: Child,
}

static GUARDIAN: OnceLock<Guardian> = OnceLock::new();

/// The folder of this test run, removed at its end. Others than us may look into it, since some services run as users
/// of their own.
pub fn folder() -> &'static Path {
    &GUARDIAN.get_or_init(start).folder
}

fn start() -> Guardian {
    let folder = tempfile::Builder::new().prefix("postrider-tests-").tempdir().unwrap().keep();
    std::fs::create_dir(folder.join("pids")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&folder, open).unwrap();
    let watch = Command::new("sh")
        .args(["-c", WATCH, "guardian"])
        .arg(&folder)
        .stdin(Stdio::piped())
        // It outlives us, and must not hold open what reads our output.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: Ctrl-C ends the tests, and this has work to do after that.
        .process_group(0)
        .spawn()
        .unwrap();
    Guardian { folder, _watch: watch }
}

/// A process of ours, in a group of its own; ended when dropped.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    file: PathBuf,
    last_signal: &'static str,
}

impl Guarded {
    /// Starts a command under the guardian's eyes.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Self::spawn_ending_by("KILL", command)
    }

    /// The same for a process that has something to clear away: it is ended by `last_signal`, and only then by KILL.
    pub fn spawn_ending_by(last_signal: &'static str, command: &mut Command) -> io::Result<Self> {
        let pids = folder().join("pids");
        let child = command.process_group(0).spawn()?;
        let file = pids.join(child.id().to_string());
        std::fs::write(&file, format!("{} {last_signal}\n", child.id()))?;
        Ok(Self { child, file, last_signal })
    }

    /// Of the group and its first process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the whole group: `KILL`, `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        // The shell's own kill: small systems have no other.
        let _status = Command::new("sh")
            .args(["-c", r#"kill -s "$1" -- "-$2""#, "sh", signal, &self.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// Kills the group and waits for its first process.
    pub fn kill(&mut self) {
        self.signal("KILL");
        let _status = self.child.wait();
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.last_signal != "KILL" && self.ended().is_none() {
            self.signal(self.last_signal);
            // A stopped process takes no other signal until it goes on.
            self.signal("CONT");
            let asked = Instant::now();
            while self.ended().is_none() && asked.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill();
        let _gone_already = std::fs::remove_file(&self.file);
    }
}
