//! PostgreSQL: one server for the whole run, with a database for each test; or a server of a test's own, to be killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::server::Server;
use crate::harness::ports::free_port;
use crate::harness::{eventually, eventually_blocking};

const FOLDERS: [&str; 1] = ["/usr/lib/postgresql/*/bin"];
const USER: &str = "postgres";

#[derive(Debug)]
pub struct PostgresServer {
    server: Server,
    data: PathBuf,
}

/// A database of the shared server.
#[derive(Debug)]
pub struct PostgresDb(String);

static SHARED: OnceLock<PostgresServer> = OnceLock::new();

/// A fresh, empty database.
pub async fn postgres() -> PostgresDb {
    let server = SHARED.get_or_init(PostgresServer::new);
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let connect = || async { PgConnection::connect(&server.url()).await.ok() };
    let mut connection = eventually("PostgreSQL to answer", connect).await;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    PostgresDb(format!("postgres://{USER}@127.0.0.1:{}/{name}", server.server.port()))
}

/// A server of the test's own.
pub async fn postgres_alone() -> PostgresServer {
    PostgresServer::new()
}

impl PostgresDb {
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl PostgresServer {
    /// A write that only the machine's own end could lose is safe enough here: no fsync.
    fn new() -> Self {
        Self::with(&["fsync=off"])
    }

    /// With settings as `name=value`; without any, every commit is on disk before it is answered.
    pub fn with(settings: &[&str]) -> Self {
        let folder = super::new_folder("postgres");
        std::fs::create_dir(folder.join("sockets")).unwrap();
        super::give(&folder, USER);
        let initdb = super::program("initdb", "postgresql", &FOLDERS);
        let mut initdb = super::command_as(USER, &initdb);
        initdb
            .args(["-A", "trust", "-U", USER, "--no-locale", "-E", "UTF8", "-N", "-D"])
            .arg(folder.join("data"))
            .current_dir(&folder);
        super::prepare(&mut initdb);
        let port = free_port();
        let program = super::program("postgres", "postgresql", &FOLDERS);
        let mut command = super::command_as(USER, &program);
        let sockets = format!("unix_socket_directories={}", folder.join("sockets").display());
        command.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]);
        let always = ["listen_addresses=127.0.0.1", "max_connections=300", &sockets];
        for setting in always.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        command.current_dir(&folder);
        // QUIT ends it at once, and unlike KILL has it give back its shared memory.
        let server = Server::new(command, port, &folder).ending_by("QUIT");
        let mut server = Self { server, data: folder.join("data") };
        server.start();
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.server.port())
    }

    #[cfg(test)]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Starts it, also again after [`PostgresServer::kill`], on the same port and data.
    pub fn start(&mut self) {
        let port = self.server.port().to_string();
        let asks = super::program("pg_isready", "postgresql", &FOLDERS);
        // It listens already while it recovers, and refuses every connection.
        self.server.start(|| {
            let status = Command::new(&asks).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            status.unwrap().success()
        });
    }

    /// SIGSTOP, also of its children, which are in groups of their own: connections stay open, and nothing is answered
    /// on them.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        self.server.signal(signal);
        let children = working_in(&self.data).map(|pid| pid.to_string());
        let mut kill = Command::new("sh");
        kill.args(["-c", r#"name=$1; shift; kill -s "$name" -- "$@""#, "sh", signal]);
        // One may have ended meanwhile.
        let _status = kill.args(children).stderr(std::process::Stdio::null()).status();
    }

    /// SIGKILL. Its children, in groups of their own, end by themselves when they miss it; returns when all have, since
    /// it doesn't start again while one holds its shared memory.
    pub fn kill(&mut self) {
        self.server.kill();
        eventually_blocking("the killed server's children to end", || {
            working_in(&self.data).next().is_none().then_some(())
        });
    }
}

/// The processes that work in this folder, as each one of a server's does.
fn working_in(folder: &Path) -> impl Iterator<Item = u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().filter_map(move |process| {
        let works =
            std::fs::read_link(process.path().join("cwd")).is_ok_and(|place| place == folder);
        process.file_name().to_str()?.parse().ok().filter(|_| works)
    })
}
