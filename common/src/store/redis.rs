//! The store on Redis: one Lua script an operation, one round trip. A script takes many requests, one after another, and
//! answers each; what is asked at the same time shares a call (`together.rs`).
//!
//! Not for Redis Cluster: a script touches the keys of a phone, an address and an account at once, and these can't
//! share a slot.

mod new_message;
mod server;
mod together;
pub mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Script};
use secrecy::{ExposeSecret as _, SecretString};

use self::server::Server;
use self::together::Together;
use super::{Admit, AdmitAnswer, Operation, StoreClock, StoreError};
use crate::model::job::Lane;
use crate::runtime::write_health::WriteHealth;

/// Redis reads 16 KiB of a connection at a time, half a dozen requests, and has them on disk before it reads more. So
/// what shares one connection also waits for many syncs; of several connections one sync takes all that came in.
const CONNECTIONS: usize = 8;
/// Nobody waits for an archive, but whoever waits for Redis meanwhile: so in steps of a fraction of a millisecond.
pub(super) const ARCHIVED_AT_ONCE: usize = 32;
/// One try at connecting.
const CONNECT: Duration = Duration::from_millis(300);
/// One answer.
const RESPOND: Duration = Duration::from_millis(800);
/// A whole call, with its reconnect.
const CALL: Duration = Duration::from_secs(1);

/// A script: its flags, what every script has, what some share, and the body of its operation.
///
/// Because of the first line Redis decides before a script begins whether it may write: without a flag it is refused where
/// memory is full or this is no primary (otherwise a script whose first write frees memory would do all of its writes, and
/// others none). What brings accepted messages to their end, and bans, has `allow-oom`; what only reads, `no-writes`.
/// <https://redis.io/docs/latest/develop/programmability/eval-intro/#eval-flags>
macro_rules! script {
    ($($shared:literal,)* => $body:literal) => {
        script!(flags "", $($shared,)* => $body)
    };
    (flags $flags:literal, $($shared:literal,)* => $body:literal) => {
        Script::new(concat!(
            "#!lua", $flags, "\n",
            include_str!("lua/prelude.lua"),
            $(include_str!(concat!("lua/", $shared)),)*
            "\nlocal function run()\n",
            include_str!(concat!("lua/", $body)),
            "\nend\n",
            include_str!("lua/each.lua"),
        ))
    };
}

/// A script that decides about sends.
macro_rules! deciding {
    ($body:literal) => {
        script!(
            "phone_limits.lua",
            "guard.lua",
            "ban_set.lua",
            "strike.lua",
            "message_record.lua",
            "verification_record.lua",
            "decide.lua",
            => $body
        )
    };
}

/// What every message is asked about, in calls of its lane's own. Each request of them is short work.
const SHARED: [(Operation, Lane); 8] = [
    (Operation::Admit, Lane::Code),
    (Operation::Admit, Lane::Notice),
    (Operation::Read, Lane::Code),
    (Operation::Settle, Lane::Code),
    (Operation::Claim, Lane::Code),
    (Operation::Claim, Lane::Notice),
    (Operation::Resolve, Lane::Code),
    (Operation::Resolve, Lane::Notice),
];

#[derive(Clone)]
pub struct RedisStore {
    calls: Calls,
    together: Arc<HashMap<(Operation, Lane), Together>>,
    pub(super) health: Arc<WriteHealth<StoreError>>,
    pub(super) clock: Arc<StoreClock>,
    server: Arc<Server>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisStore")
    }
}

impl RedisStore {
    /// Makes the client, on this runtime; connects when first asked, and again whenever the connection is lost.
    pub fn new(url: &SecretString) -> Result<Self, StoreError> {
        let calls = Calls::new(url)?;
        let together = SHARED.map(|(operation, lane)| {
            ((operation, lane), Together::start(calls.clone(), operation, lane))
        });
        let health = Arc::new(WriteHealth::new("store"));
        let together = Arc::new(together.into());
        Ok(Self { calls, together, health, clock: Arc::default(), server: Arc::default() })
    }

    /// An error where what the server is set to makes it unfit.
    pub(super) fn check_server(&self) -> Result<(), StoreError> {
        self.server.check()
    }

    /// Watches the server's settings for as long as this future is polled.
    pub(super) async fn watch_server(&self, allow_eviction: bool) {
        self.server.watch(|| self.calls.next(), allow_eviction).await;
    }

    pub(super) async fn admit(&self, request: &Admit) -> Result<AdmitAnswer, StoreError> {
        let answer = self.call(Operation::Admit, request.lane, wire::encode(request)?).await?;
        match answer.strip_prefix(b"n") {
            Some(new) => new_message::read(new, request),
            None => wire::decode(&answer),
        }
    }

    pub(super) async fn call(
        &self,
        operation: Operation,
        lane: Lane,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let Some(together) = self.together.get(&(operation, lane)) else {
            let mut answers = self.calls.call(operation, &[request]).await?;
            return answers.pop().ok_or_else(Self::answered_too_little);
        };
        let answered = tokio::time::timeout(CALL, together.ask(request)).await;
        answered.unwrap_or_else(|_elapsed| Err(too_late()))
    }

    fn answered_too_little() -> StoreError {
        StoreError::Broken("fewer answers than requests".to_owned())
    }
}

/// Calls of scripts, over some connections in turn.
#[derive(Clone)]
struct Calls {
    connections: Arc<[ConnectionManager]>,
    turn: Arc<AtomicUsize>,
    scripts: Arc<HashMap<Operation, Script>>,
}

impl Calls {
    fn new(url: &SecretString) -> Result<Self, StoreError> {
        // The parser's own words may repeat the URL, and with it the password.
        let unreadable = |_| StoreError::Unavailable("REDIS_URL can't be read".to_owned());
        let client = Client::open(url.expose_secret()).map_err(unreadable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPOND))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(100));
        let connect = || ConnectionManager::new_lazy_with_config(client.clone(), config.clone());
        let connections = (0..CONNECTIONS).map(|_| connect().map_err(unreadable));
        let connections = connections.collect::<Result<_, _>>()?;
        Ok(Self { connections, turn: Arc::default(), scripts: Arc::new(scripts()) })
    }

    fn next(&self) -> ConnectionManager {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.connections[turn % CONNECTIONS].clone()
    }

    /// One answer a request, in their order.
    async fn call(
        &self,
        operation: Operation,
        requests: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let script = self.scripts.get(&operation);
        let script =
            script.ok_or_else(|| StoreError::Broken(format!("no script for {operation:?}")))?;
        let mut connection = self.next();
        let mut invocation = script.prepare_invoke();
        for request in requests {
            invocation.arg(request.as_slice());
        }
        match tokio::time::timeout(CALL, invocation.invoke_async(&mut connection)).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(_elapsed) => Err(too_late()),
        }
    }
}

pub(super) fn too_late() -> StoreError {
    StoreError::Unavailable("no answer in time".to_owned())
}

fn scripts() -> HashMap<Operation, Script> {
    HashMap::from([
        (Operation::Admit, deciding!("admit.lua")),
        (Operation::AdmitMany, deciding!("admit_many.lua")),
        (
            Operation::Withdraw,
            script!(
                flags " flags=allow-oom", "phone_limits.lua",
                "message_record.lua",
                "verification_record.lua",
                "give_back.lua",
                => "withdraw.lua"
            ),
        ),
        (Operation::Confirm, script!(flags " flags=allow-oom", "answered.lua", => "confirm.lua")),
        (Operation::Doubt, script!(flags " flags=allow-oom", => "doubt.lua")),
        (
            Operation::Read,
            script!(flags " flags=no-writes", "verification_record.lua", "which.lua", => "read.lua"),
        ),
        (
            Operation::Settle,
            script!(
                "phone_limits.lua",
                "guard.lua",
                "ban_set.lua",
                "strike.lua",
                "verification_record.lua",
                "which.lua",
                => "settle.lua"
            ),
        ),
        (
            Operation::Verification,
            script!(flags " flags=no-writes", "verification_record.lua", => "verification.lua"),
        ),
        (
            Operation::Message,
            script!(flags " flags=no-writes", "message_record.lua", => "message.lua"),
        ),
        (
            Operation::Claim,
            script!(
                flags " flags=allow-oom", "verification_record.lua",
                "resolution.lua",
                "successor.lua",
                => "claim.lua"
            ),
        ),
        (
            Operation::Resolve,
            script!(
                flags " flags=allow-oom", "phone_limits.lua",
                "message_record.lua",
                "verification_record.lua",
                "give_back.lua",
                "answered.lua",
                "resolution.lua",
                => "resolve.lua"
            ),
        ),
        (Operation::Archive, script!(flags " flags=allow-oom", => "archive.lua")),
        (Operation::AccountVersion, script!(flags " flags=allow-oom", => "account_version.lua")),
        (Operation::Ban, script!(flags " flags=allow-oom", "ban_set.lua", => "ban.lua")),
        (
            Operation::SweepBans,
            script!(flags " flags=allow-oom", "ban_set.lua", => "sweep_bans.lua"),
        ),
        (Operation::Epoch, script!(flags " flags=no-writes", => "epoch.lua")),
        (Operation::Probe, script!(=> "probe.lua")),
        (Operation::Restore, script!(flags " flags=allow-oom", "ban_set.lua", => "restore.lua")),
        (Operation::LaneCounts, script!(flags " flags=no-writes", => "lane_counts.lua")),
        (Operation::OldestAge, script!(flags " flags=no-writes", => "oldest_age.lua")),
        (Operation::SandboxPut, script!(flags " flags=allow-oom", => "sandbox_put.lua")),
        (Operation::SandboxList, script!(flags " flags=no-writes", => "sandbox_list.lua")),
        (
            Operation::Explain,
            script!(flags " flags=allow-oom", "phone_limits.lua", "guard.lua", => "explain.lua"),
        ),
        (Operation::Take, script!("phone_limits.lua", "guard.lua", => "take.lua")),
        (
            Operation::GiveBack,
            script!(flags " flags=allow-oom", "phone_limits.lua", "give_back.lua", => "untake.lua"),
        ),
    ])
}
