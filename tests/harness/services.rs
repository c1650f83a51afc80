//! Private instances of what the distributed form runs on: on free ports, in the test run's own folder. A service that
//! was already running is never touched.

mod mariadb;
mod pgbouncer;
mod postgres;
mod rabbitmq;
mod redis;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use mariadb::{MariaDb, MariaDbServer, mariadb, mariadb_alone};
pub use pgbouncer::pgbouncer;
pub use postgres::{PostgresDb, PostgresServer, postgres, postgres_alone};
pub use rabbitmq::{
    RabbitNode, Vhost, rabbitmq, rabbitmq_alone, rabbitmq_cluster, rabbitmq_missing,
};
#[cfg(test)]
pub use redis::redis_of;
pub use redis::{Redis, RedisServers, redis, redis_unwatched, redis_with_sentinel};

/// A new folder of this test run.
pub fn new_folder(name: &str) -> PathBuf {
    let folder =
        super::guardian::folder().join(format!("{name}-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program, where it is on the path or in one of these folders (`*` stands for one name). Panics with what to do
/// where it is in none.
fn program(name: &str, package: &str, folders: &[&str]) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let on_path = path.split(':').map(PathBuf::from);
    let found =
        folders.iter().flat_map(|folder| expand(folder)).chain(on_path).map(|f| f.join(name));
    found.into_iter().find(|program| program.is_file()).unwrap_or_else(|| {
        panic!(
            "{name} ({package}) is not installed: run scripts/test, which installs what is missing"
        )
    })
}

fn expand(folder: &str) -> Vec<PathBuf> {
    let Some((before, after)) = folder.split_once('*') else { return vec![PathBuf::from(folder)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| PathBuf::from(format!("{}{after}", entry.path().display())))
        .collect()
}

/// Whether we are root: some servers refuse to be, and then run as the user that their package made.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// A command that runs as this user where we are root, else as ourselves.
fn command_as(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]).arg(program);
    command
}

/// Gives a folder to the user that a server runs as.
fn give(folder: &Path, user: &str) {
    if is_root() {
        let owner = format!("{user}:{user}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(folder).status().unwrap().success());
    }
}

/// Runs a command that prepares a server, to its end. Panics with its output where it fails.
fn prepare(command: &mut Command) {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&text));
}
