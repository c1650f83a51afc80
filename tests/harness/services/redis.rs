//! Redis: a server for each test, with its append-only file on; it starts in 40 ms.

use std::process::Command;

use super::server::Server;
use crate::harness::ports::free_port;

#[derive(Debug)]
pub struct Redis {
    server: Server,
}

/// A server of the test's own.
pub async fn redis() -> Redis {
    let (port, folder) = (free_port(), super::new_folder("redis"));
    let mut command = Command::new(super::program("redis-server", "redis-server", &["/usr/sbin"]));
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"])
        .arg("--dir")
        .arg(&folder);
    let mut redis = Redis { server: Server::new(command, port, &folder) };
    redis.start();
    redis
}

impl Redis {
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.server.port())
    }

    /// Starts it, also again after [`Redis::kill`], on the same port and data.
    pub fn start(&mut self) {
        let url = self.url();
        // While it reads its file it listens already and answers everything with LOADING.
        self.server.start(|| ping(&url).is_ok());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// SIGSTOP: connections stay open, and nothing is answered on them.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Takes everything from it.
    pub async fn empty(&self) {
        let client = ::redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        ::redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    }
}

fn ping(url: &str) -> ::redis::RedisResult<()> {
    let mut connection = ::redis::Client::open(url)?.get_connection()?;
    ::redis::cmd("PING").exec(&mut connection)
}
