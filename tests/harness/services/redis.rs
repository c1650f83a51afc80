//! Redis: a server for each test, with its append-only file on; it starts in 40 ms.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::guardian::Guarded;
use crate::harness::{eventually_blocking, free_port, listens};

#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: PathBuf,
    process: Option<Guarded>,
}

/// A server of the test's own.
#[expect(clippy::unused_async, reason = "all services are had alike")]
pub async fn redis() -> Redis {
    let mut redis = Redis { port: free_port(), folder: super::new_folder("redis"), process: None };
    redis.start();
    redis
}

impl Redis {
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, also again after [`Redis::kill`], on the same port and data.
    pub fn start(&mut self) {
        let server = super::program("redis-server", "redis", &[]);
        let mut command = Command::new(server);
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"])
            .arg("--dir")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(Guarded::spawn(&mut command).unwrap());
        let port = self.port;
        eventually_blocking("Redis to listen", || listens(port).then_some(()));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Takes everything from it.
    pub async fn empty(&self) {
        let client = ::redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        ::redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    }
}
