//! PostgreSQL: one server for the whole run, with a database for each test; or a server of a test's own, to be killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::harness::guardian::Guarded;
use crate::harness::{eventually, eventually_blocking, free_port, listens};

const FOLDERS: [&str; 1] = ["/usr/lib/postgresql/*/bin"];
const USER: &str = "postgres";

#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    folder: PathBuf,
    process: Option<Guarded>,
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
    PostgresDb(format!("postgres://{USER}@127.0.0.1:{}/{name}", server.port))
}

/// A server of the test's own.
#[expect(clippy::unused_async, reason = "all services are had alike")]
pub async fn postgres_alone() -> PostgresServer {
    PostgresServer::new()
}

impl PostgresDb {
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl PostgresServer {
    fn new() -> Self {
        let folder = super::new_folder("postgres");
        std::fs::create_dir(folder.join("sockets")).unwrap();
        super::give(&folder, USER);
        let initdb = super::program("initdb", "postgresql", &FOLDERS);
        let made = super::command_as(USER, &initdb)
            .args(["-A", "trust", "-U", USER, "--no-locale", "-E", "UTF8", "-N", "-D"])
            .arg(folder.join("data"))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let mut server = Self { port: free_port(), folder, process: None };
        server.start();
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it, also again after [`PostgresServer::kill`], on the same port and data.
    pub fn start(&mut self) {
        let server = super::program("postgres", "postgresql", &FOLDERS);
        let mut command = super::command_as(USER, &server);
        command
            .arg("-D")
            .arg(self.folder.join("data"))
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=200",
            ])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.folder.join("sockets").display()))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(Guarded::spawn(&mut command).unwrap());
        let port = self.port;
        eventually_blocking("PostgreSQL to listen", || listens(port).then_some(()));
    }

    /// SIGKILL, also of what it started.
    pub fn kill(&mut self) {
        self.process = None;
        // Its children were in groups of their own; without their parent they end by themselves.
        let port = self.port;
        eventually_blocking("PostgreSQL to be gone", || (!listens(port)).then_some(()));
        let _stale = std::fs::remove_file(self.folder.join("data/postmaster.pid"));
    }
}
