//! The processes that are measured and those that measure: started, watched, ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};

use crate::harness::guardian::Guarded;
use crate::harness::{eventually, services};

/// Environment of a process.
pub(crate) type Settings = BTreeMap<String, String>;

/// A process with its output in a file.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    folder: PathBuf,
    guarded: Guarded,
}

/// The folder of what is measured: the binaries that ship, or, where this one is a debug build, those beside it.
pub(crate) fn binaries() -> anyhow::Result<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let mut folder =
        std::env::current_exe()?.parent().context("a binary is in a folder")?.to_owned();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    if root.join("Cargo.toml").is_file() {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "-p", "postrider-api", "-p", "postrider-worker"]);
        if folder.ends_with("release") {
            build.args(["--profile", "dist"]);
            folder.set_file_name("dist");
        }
        let status = build.current_dir(root).stdin(Stdio::null()).status()?;
        ensure!(status.success(), "the binaries can't be built");
    }
    Ok(FOLDER.get_or_init(|| folder))
}

/// A command of a binary with nothing in its environment but this.
pub(crate) fn command(name: &str, settings: &Settings) -> anyhow::Result<Command> {
    let mut command = Command::new(binaries()?.join(name));
    command.env_clear().envs(settings).stdin(Stdio::null());
    Ok(command)
}

/// This binary again, in another role.
pub(crate) fn ourselves(arguments: &[String]) -> anyhow::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).stdin(Stdio::null());
    Process::start("bench", command)
}

impl Process {
    pub(crate) fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let folder = services::new_folder(name);
        let file = |kind| std::fs::File::create(folder.join(kind));
        // The folder has no postrider.toml that could get in the way.
        command.current_dir(&folder).stdout(file("out")?).stderr(file("log")?);
        let guarded = Guarded::spawn(&mut command).with_context(|| format!("{command:?}"))?;
        Ok(Self { name: name.to_owned(), folder, guarded })
    }

    /// What it printed.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.folder.join("out")).unwrap_or_default()
    }

    pub(crate) fn output(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        format!("{}{log}", self.printed())
    }

    /// `host:port` after these words in its output.
    pub(crate) async fn address_after(&mut self, words: &str) -> String {
        let (name, words) = (self.name.clone(), words.to_owned());
        eventually(&format!("{name} to listen"), || {
            let output = self.output();
            assert!(!self.ended(), "{name} ended:\n{output}");
            std::future::ready(output.split_once(&words).map(|(_, rest)| {
                rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
            }))
        })
        .await
    }

    pub(crate) fn ended(&mut self) -> bool {
        self.guarded.ended().is_some()
    }

    /// Resident memory now and at its most, in MiB.
    pub(crate) fn memory(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.guarded.id()));
        let status = status.unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        };
        let mib = |name| field(name).unwrap_or_default() / 1024.0;
        (mib("VmRSS:"), mib("VmHWM:"))
    }
}
