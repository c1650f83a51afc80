//! `PgBouncer` in transaction mode before a PostgreSQL database: few connections to the server, shared by many clients.

use super::server::Server;
use crate::harness::ports::{free_port, listens};

const USER: &str = "postgres";

#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    database: String,
}

/// One before the database that `url` names.
pub fn pgbouncer(url: &str) -> PgBouncer {
    let (server, database) = url.rsplit_once('/').unwrap();
    let upstream = server.rsplit_once(':').unwrap().1;
    let (port, folder) = (free_port(), super::new_folder("pgbouncer"));
    let file = folder.join("pgbouncer.ini");
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={upstream} user={USER}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 300\n"
    );
    std::fs::write(&file, settings).unwrap();
    super::give(&folder, USER);
    let program = super::program("pgbouncer", "pgbouncer", &["/usr/sbin"]);
    let mut command = super::command_as(USER, &program);
    command.arg(&file).current_dir(&folder);
    let mut server = Server::new(command, port, &folder);
    server.start(|| listens(port));
    PgBouncer { server, database: database.to_owned() }
}

impl PgBouncer {
    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{}", self.server.port(), self.database)
    }
}
