//! MariaDB: one server for the whole run, with a database for each test.

use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};

use super::server::Server;
use crate::harness::eventually;
use crate::harness::ports::{free_port, listens};

const USER: &str = "mysql";

/// A database of the shared server.
#[derive(Debug)]
pub struct MariaDb(String);

#[derive(Debug)]
pub struct MariaDbServer {
    _server: Server,
}

static SHARED: OnceLock<Server> = OnceLock::new();

/// A fresh, empty database.
pub async fn mariadb() -> MariaDb {
    new_database(SHARED.get_or_init(start)).await
}

/// A server of the test's own, with an empty database.
pub async fn mariadb_alone() -> (MariaDbServer, MariaDb) {
    let server = start();
    let database = new_database(&server).await;
    (MariaDbServer { _server: server }, database)
}

async fn new_database(server: &Server) -> MariaDb {
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let base = format!("mysql://root@127.0.0.1:{}", server.port());
    let connect = || async { MySqlConnection::connect(&base).await.ok() };
    let mut connection = eventually("MariaDB to answer", connect).await;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    MariaDb(format!("mariadb://root@127.0.0.1:{}/{name}", server.port()))
}

impl MariaDb {
    pub fn url(&self) -> &str {
        &self.0
    }
}

fn start() -> Server {
    let folder = super::new_folder("mariadb");
    for name in ["data", "run"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    super::give(&folder, USER);
    let install = super::program("mariadb-install-db", "mariadb-server", &["/usr/bin"]);
    let mut install = super::command_as(USER, &install);
    install
        // It must come first.
        .arg("--no-defaults")
        .arg(format!("--datadir={}", folder.join("data").display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
        .current_dir(&folder);
    super::prepare(&mut install);
    let port = free_port();
    let program = super::program("mariadbd", "mariadb-server", &["/usr/sbin"]);
    let mut command = super::command_as(USER, &program);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", folder.join("data").display()))
        .arg(format!("--socket={}", folder.join("run/socket").display()))
        .arg(format!("--pid-file={}", folder.join("run/pid").display()))
        .args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-name-resolve"])
        // A write that only the machine's own end could lose is safe enough here.
        .args(["--max-connections=300", "--innodb-flush-log-at-trx-commit=2"])
        .current_dir(&folder);
    let mut server = Server::new(command, port, &folder);
    server.start(|| listens(port));
    server
}
