//! Ends what the tests started, by process id, also when the test run is killed: a shell that waits for our end of a
//! pipe to close.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Reads until end of file, then kills each process group that a file names, and removes the folder.
const WATCH: &str = r#"cat >/dev/null
for file in "$1"/pids/*; do
    [ -e "$file" ] && kill -s KILL -- "-$(cat "$file")" 2>/dev/null
done
rm -rf "$1""#;

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
}

impl Guarded {
    /// Starts a command under the guardian's eyes.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let pids = folder().join("pids");
        let child = command.process_group(0).spawn()?;
        let file = pids.join(child.id().to_string());
        std::fs::write(&file, child.id().to_string())?;
        Ok(Self { child, file })
    }

    /// Sends a signal to the whole group: `KILL`, `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let _status =
            Command::new("kill").args(["-s", signal, "--", &group]).stderr(Stdio::null()).status();
    }

    /// Kills the group and waits for its first process.
    pub fn kill(&mut self) {
        self.signal("KILL");
        let _status = self.child.wait();
    }

    /// The exit code once it has ended by itself.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
        let _gone_already = std::fs::remove_file(&self.file);
    }
}
