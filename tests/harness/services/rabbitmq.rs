//! RabbitMQ: one node for the whole run, with a virtual host for each test; or a node of a test's own, to be killed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use super::server::Server;
use crate::harness::eventually_blocking;
use crate::harness::guardian::Guarded;
use crate::harness::ports::{free_port, listens};

/// The nodes of a machine's tests listen on it alone; the rest is as operators are told.
const ERLANG: &str =
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none";
/// What docker-compose.yml gives its broker.
const SHIPPED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rabbitmq.conf"));
/// The scripts themselves: the wrappers on the path change user and folder.
const FOLDERS: [&str; 2] = ["/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/rabbitmq/sbin"];

/// A node on ports and data of its own.
#[derive(Debug)]
pub struct RabbitNode {
    // Before its port mapper, so that it is dropped first: a node that misses its mapper starts another.
    server: Server,
    management: u16,
    /// Ours, in the foreground: the one that a node starts for itself outlives it. A cluster's nodes share theirs.
    _epmd: Arc<Guarded>,
}

/// A virtual host of the shared node.
#[derive(Debug, Clone)]
pub struct Vhost {
    name: String,
    port: u16,
    management: u16,
}

static SHARED: OnceLock<RabbitNode> = OnceLock::new();

/// A fresh virtual host.
pub async fn rabbitmq() -> Vhost {
    let vhost = rabbitmq_missing();
    vhost.create().await;
    vhost
}

/// A virtual host that isn't there yet.
pub fn rabbitmq_missing() -> Vhost {
    let node = SHARED.get_or_init(RabbitNode::new);
    let name = format!("test-{}", uuid::Uuid::now_v7().simple());
    Vhost { name, port: node.server.port(), management: node.management }
}

/// A node of the test's own.
pub async fn rabbitmq_alone() -> RabbitNode {
    RabbitNode::new()
}

/// Nodes of the test's own, one cluster. Their queues are on as many of them as there are when they are declared.
pub async fn rabbitmq_cluster(nodes: usize) -> Vec<RabbitNode> {
    let epmd_port = free_port();
    let epmd = Arc::new(start_epmd(epmd_port));
    let mut cluster: Vec<RabbitNode> = Vec::new();
    for _ in 0..nodes {
        let first = cluster.first().map(RabbitNode::port);
        cluster.push(RabbitNode::of_cluster(first, epmd_port, epmd.clone()));
    }
    cluster
}

impl Vhost {
    pub async fn create(&self) {
        let (base, user, password, name) = self.management();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let all = serde_json::json!({ "configure": ".*", "write": ".*", "read": ".*" });
        for (path, body) in [
            (format!("/api/vhosts/{name}"), serde_json::json!({})),
            (format!("/api/permissions/{name}/{user}"), all),
        ] {
            let put =
                client.put(format!("{base}{path}")).basic_auth(&user, Some(&password)).json(&body);
            put.send().await.unwrap().error_for_status().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The management API: base URL, user, password, and the virtual host's name.
    pub fn management(&self) -> (String, String, String, String) {
        let base = format!("http://127.0.0.1:{}", self.management);
        (base, "guest".to_owned(), "guest".to_owned(), self.name.clone())
    }
}

impl RabbitNode {
    fn new() -> Self {
        let epmd_port = free_port();
        Self::of_cluster(None, epmd_port, Arc::new(start_epmd(epmd_port)))
    }

    /// A node that joins the one with this port, if there is one.
    fn of_cluster(first: Option<u16>, epmd_port: u16, epmd: Arc<Guarded>) -> Self {
        let folder = super::new_folder("rabbitmq");
        for name in ["mnesia", "log", "home", "conf"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        let (port, management) = (free_port(), free_port());
        let mut conf = format!(
            "listeners.tcp.default = 127.0.0.1:{port}\nmanagement.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\ndisk_free_limit.absolute = 50MB\n{SHIPPED}"
        );
        if let Some(first) = first {
            let joins = format!(
                "cluster_formation.peer_discovery_backend = classic_config\n\
                 cluster_formation.classic_config.nodes.1 = {}\n\
                 cluster_formation.classic_config.nodes.2 = {}\n",
                node_name(first),
                node_name(port)
            );
            conf.push_str(&joins);
        }
        let cookie = folder.join("home/.erlang.cookie");
        std::fs::write(&cookie, "POSTRIDERTESTS").unwrap();
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&cookie, only_ours).unwrap();
        std::fs::write(folder.join("conf/rabbitmq.conf"), conf).unwrap();
        std::fs::write(folder.join("conf/rabbitmq-env.conf"), "").unwrap();
        std::fs::write(folder.join("conf/enabled_plugins"), "[rabbitmq_management].").unwrap();
        let command = node_command(&folder, port, epmd_port);
        let mut node =
            Self { server: Server::new(command, port, &folder), management, _epmd: epmd };
        node.start();
        node
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.server.port())
    }

    /// The management API: its base URL, with user and password.
    pub fn management(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.management)
    }

    /// Starts it, also again after [`RabbitNode::kill`], on the same ports and data.
    pub fn start(&mut self) {
        let (port, management) = (self.server.port(), self.management);
        self.server.start(|| listens(port) && listens(management));
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
}

fn start_epmd(port: u16) -> Guarded {
    let package = "erlang-base, with rabbitmq-server";
    let program = super::program("epmd", package, &["/usr/lib/erlang/erts-*/bin"]);
    let mut command = Command::new(program);
    command
        .args(["-port", &port.to_string(), "-address", "127.0.0.1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let epmd = Guarded::spawn(&mut command).unwrap();
    eventually_blocking("epmd to listen", || listens(port).then_some(()));
    epmd
}

fn node_name(port: u16) -> String {
    format!("test{port}@localhost")
}

/// With everything named that a node would otherwise look for in, or write to, the machine's own RabbitMQ.
fn node_command(folder: &Path, port: u16, epmd_port: u16) -> Command {
    let at = |name: &str| folder.join(name);
    let mut command = Command::new(super::program("rabbitmq-server", "rabbitmq-server", &FOLDERS));
    command
        .env("HOME", at("home"))
        .env("RABBITMQ_NODENAME", node_name(port))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", free_port().to_string())
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
        .env("RABBITMQ_LOG_BASE", at("log"))
        .env("RABBITMQ_PID_FILE", at("pid"))
        .env("RABBITMQ_CONF_ENV_FILE", at("conf/rabbitmq-env.conf"))
        .env("RABBITMQ_CONFIG_FILE", at("conf/rabbitmq"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", at("conf/advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("conf/enabled_plugins"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", at("gen"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG);
    command
}
