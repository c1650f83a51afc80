//! MariaDB: one server for the whole run, with a database for each test.

use std::process::Stdio;
use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};

use crate::harness::guardian::Guarded;
use crate::harness::{eventually, eventually_blocking, free_port, listens};

const USER: &str = "mysql";

struct Server {
    port: u16,
    _process: Guarded,
}

/// A database of the shared server.
#[derive(Debug)]
pub struct MariaDb(String);

static SHARED: OnceLock<Server> = OnceLock::new();

/// A fresh, empty database.
pub async fn mariadb() -> MariaDb {
    let server = SHARED.get_or_init(Server::new);
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let base = format!("mysql://root@127.0.0.1:{}", server.port);
    let connect = || async { MySqlConnection::connect(&base).await.ok() };
    let mut connection = eventually("MariaDB to answer", connect).await;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    MariaDb(format!("mariadb://root@127.0.0.1:{}/{name}", server.port))
}

impl MariaDb {
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl Server {
    fn new() -> Self {
        let folder = super::new_folder("mariadb");
        for name in ["data", "run"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        super::give(&folder, USER);
        let install = super::program("mariadb-install-db", "mariadb-server", &["/usr/bin"]);
        let made = super::command_as(USER, &install)
            // It must come first.
            .arg("--no-defaults")
            .arg(format!("--datadir={}", folder.join("data").display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "mariadb-install-db failed");
        let port = free_port();
        let server = super::program("mariadbd", "mariadb-server", &["/usr/sbin"]);
        let mut command = super::command_as(USER, &server);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", folder.join("run/socket").display()))
            .arg(format!("--pid-file={}", folder.join("run/pid").display()))
            .args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Guarded::spawn(&mut command).unwrap();
        eventually_blocking("MariaDB to listen", || listens(port).then_some(()));
        Self { port, _process: process }
    }
}
