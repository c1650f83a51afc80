//! Redis: a server for each test, with its append-only file on; it starts in 40 ms.

use std::process::Command;

use super::server::Server;
use crate::harness::eventually;
use crate::harness::ports::free_port;

#[derive(Debug)]
pub struct Redis {
    server: Server,
    /// As its URL holds them: empty, or `:password@`.
    credentials: String,
}

/// Processes of Sentinel, so that two see a primary's end where one is gone.
const SENTINELS: usize = 3;
/// How Sentinel calls what it watches.
const WATCHED: &str = "postrider";

/// One server; or two, one of them the other's replica, and what makes the replica the primary where that ends.
#[derive(Debug)]
pub struct RedisServers {
    pub servers: Vec<Redis>,
    sentinels: Vec<Server>,
}

/// A server of the test's own.
pub async fn redis() -> Redis {
    start(|_| {})
}

/// One server, watched by nobody.
pub async fn redis_unwatched() -> RedisServers {
    RedisServers { servers: vec![redis().await], sentinels: Vec::new() }
}

/// A primary, its replica and Sentinel.
pub async fn redis_with_sentinel() -> RedisServers {
    let primary = start(|_| {});
    let port = primary.port().to_string();
    let replica = start(|command| {
        command.args(["--replicaof", "127.0.0.1", &port]);
    });
    let watched = RedisServers {
        servers: vec![primary, replica],
        sentinels: (0..SENTINELS).map(|_| sentinel(&port)).collect(),
    };
    eventually("the replica to follow", async || watched.follows(0).then_some(())).await;
    watched
}

fn sentinel(primary: &str) -> Server {
    let (port, folder) = (free_port(), super::new_folder("sentinel"));
    let file = folder.join("sentinel.conf");
    let conf = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {WATCHED} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {WATCHED} 1000\nsentinel failover-timeout {WATCHED} 5000\n",
        folder.display()
    );
    std::fs::write(&file, conf).unwrap();
    let mut command = Command::new(super::program("redis-server", "redis-server", &["/usr/sbin"]));
    command.arg(&file).arg("--sentinel");
    let mut server = Server::new(command, port, &folder);
    server.start(|| ping(&format!("redis://127.0.0.1:{port}")).is_ok());
    server
}

impl RedisServers {
    /// The port of the primary, as Sentinel has it.
    pub fn primary(&self) -> Option<u16> {
        let url = format!("redis://127.0.0.1:{}", self.sentinels[0].port());
        let mut connection = ::redis::Client::open(url).ok()?.get_connection().ok()?;
        let mut ask = ::redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(WATCHED);
        let (_, port): (String, String) = ask.query(&mut connection).ok()?;
        port.parse().ok()
    }

    /// Whether the other server has all that this one wrote, and Sentinel has it as the primary's replica.
    pub fn follows(&self, primary: usize) -> bool {
        let (ours, theirs) = (&self.servers[primary], &self.servers[1 - primary]);
        let online = ours.replication().is_some_and(|said| said.contains("state=online"));
        let linked =
            theirs.replication().is_some_and(|said| said.contains("master_link_status:up"));
        online && linked && self.sentinels.iter().all(|sentinel| knows_replica(sentinel.port()))
    }
}

fn knows_replica(port: u16) -> bool {
    let asked = || -> ::redis::RedisResult<String> {
        let url = format!("redis://127.0.0.1:{port}");
        let mut connection = ::redis::Client::open(url)?.get_connection()?;
        ::redis::cmd("INFO").arg("sentinel").query(&mut connection)
    };
    asked().is_ok_and(|said| said.contains("slaves=1,sentinels=3"))
}

fn start(options: impl FnOnce(&mut Command)) -> Redis {
    let (port, folder) = (free_port(), super::new_folder("redis"));
    let mut command = Command::new(super::program("redis-server", "redis-server", &["/usr/sbin"]));
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"])
        // As operators are told: under load the file would be rewritten every few seconds.
        .args(["--auto-aof-rewrite-min-size", "1gb"])
        .arg("--dir")
        .arg(&folder);
    options(&mut command);
    let server = Server::new(command, port, &folder);
    let mut redis = Redis { server, credentials: String::new() };
    redis.start();
    redis
}

/// A server that a shell command starts, which is made of its options here. The command finds the password in the variable
/// `REDISCLI_AUTH`.
#[cfg(test)]
pub async fn redis_of(shell: impl FnOnce(&str) -> String, password: &str) -> Redis {
    let (port, folder) = (free_port(), super::new_folder("redis"));
    let options = format!("--bind 127.0.0.1 --port {port} --dir {}", folder.display());
    let mut command = Command::new("sh");
    command.args(["-c", &shell(&options)]).env("REDISCLI_AUTH", password);
    let server = Server::new(command, port, &folder);
    let mut redis = Redis { server, credentials: format!(":{password}@") };
    redis.start();
    redis
}

impl Redis {
    pub fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", self.credentials, self.server.port())
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// What it says of its replication.
    pub fn replication(&self) -> Option<String> {
        let mut connection = ::redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        ::redis::cmd("INFO").arg("replication").query(&mut connection).ok()
    }

    /// How much it has written, or taken over from its primary, in bytes.
    pub fn offset(&self) -> Option<u64> {
        let said = self.replication()?;
        let line = said.lines().find_map(|line| line.strip_prefix("master_repl_offset:"))?;
        line.trim().parse().ok()
    }

    /// Cuts off whoever replicates it.
    pub fn cut_replicas(&self) {
        let mut connection = ::redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        ::redis::cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).exec(&mut connection).unwrap();
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
        self.command("FLUSHALL").await;
    }

    /// Runs a command, its words separated by spaces.
    pub async fn command(&self, words: &str) {
        let client = ::redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]).exec_async(&mut connection).await.unwrap();
    }
}

fn ping(url: &str) -> ::redis::RedisResult<()> {
    let mut connection = ::redis::Client::open(url)?.get_connection()?;
    ::redis::cmd("PING").exec(&mut connection)
}
