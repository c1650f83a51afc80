//! What the store needs of its Redis beside answers: it is the primary, evicts no keys and keeps them on disk. Read at the
//! start and every minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisError, RedisResult, cmd};

use crate::runtime::outage_log::OutageLog;
use crate::store::StoreError;

const LOOK_INTERVAL: Duration = Duration::from_mins(1);
/// Pause after a Redis that couldn't be asked.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of the server, for readiness.
#[derive(Debug, Default)]
pub(super) struct Server(Mutex<State>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum State {
    /// Nobody looks: a command beside a running service.
    #[default]
    Unwatched,
    /// It couldn't be asked yet.
    Unknown,
    Known(Findings),
}

/// Settings as the server told them; `None` where it doesn't tell.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Settings {
    role: Option<String>,
    policy: Option<String>,
    max_memory: Option<u64>,
    append_only: Option<bool>,
}

/// What follows from settings.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Findings {
    /// Why the server must not be relied on.
    unfit: Option<String>,
    /// Whether what it keeps is lost with its process.
    volatile: bool,
    /// Settings that it doesn't tell.
    unknown: Vec<&'static str>,
}

impl Server {
    /// An error while the server isn't fit to keep limits and bans, or isn't known to be.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Known(Findings { unfit: Some(why), .. }) => Err(StoreError::Unfit(why.clone())),
            State::Unknown => {
                Err(StoreError::Unavailable("its settings are not known yet".to_owned()))
            }
            State::Unwatched | State::Known(_) => Ok(()),
        }
    }

    /// Looks every minute for as long as this future is polled.
    pub(super) async fn watch<C: ConnectionLike>(
        &self,
        mut connect: impl FnMut() -> C,
        allow_eviction: bool,
    ) {
        self.set(State::Unknown);
        let mut known = Findings::default();
        let mut outage = OutageLog::default();
        loop {
            let pause = match Settings::read(&mut connect()).await {
                Ok(settings) => {
                    if outage.end() {
                        tracing::info!("Redis answers again");
                    }
                    let found = settings.findings(allow_eviction);
                    found.log(&std::mem::replace(&mut known, found.clone()));
                    self.set(State::Known(found));
                    LOOK_INTERVAL
                }
                Err(error) => {
                    if outage.is_due() {
                        tracing::warn!(%error, "Redis doesn't answer; trying on");
                    }
                    RETRY_INTERVAL
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Settings {
    /// Asks INFO, which more users may than CONFIG, and CONFIG for what INFO doesn't tell.
    async fn read(connection: &mut impl ConnectionLike) -> RedisResult<Self> {
        let info: Option<String> = permitted(cmd("INFO").query_async(connection).await)?;
        let mut settings = Self::from_info(&info.unwrap_or_default());
        for name in settings.unknown().into_iter().filter(|name| *name != "role") {
            let config: Option<HashMap<String, String>> =
                permitted(cmd("CONFIG").arg("GET").arg(name).query_async(connection).await)?;
            if let Some(value) = config.unwrap_or_default().remove(name) {
                settings.set(name, &value);
            }
        }
        Ok(settings)
    }

    fn from_info(info: &str) -> Self {
        let mut settings = Self::default();
        for (name, value) in info.lines().filter_map(|line| line.trim().split_once(':')) {
            match name {
                "maxmemory_policy" => settings.set("maxmemory-policy", value),
                "aof_enabled" => settings.append_only = Some(value == "1"),
                "role" | "maxmemory" => settings.set(name, value),
                _ => {}
            }
        }
        settings
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "role" => self.role = Some(value.to_owned()),
            "maxmemory-policy" => self.policy = Some(value.to_owned()),
            "maxmemory" => self.max_memory = value.parse().ok(),
            "appendonly" => self.append_only = Some(value == "yes"),
            _ => {}
        }
    }

    fn unknown(&self) -> Vec<&'static str> {
        let settings = [
            ("role", self.role.is_none()),
            ("maxmemory-policy", self.policy.is_none()),
            ("maxmemory", self.max_memory.is_none()),
            ("appendonly", self.append_only.is_none()),
        ];
        settings.into_iter().filter(|(_, unknown)| *unknown).map(|(name, _)| name).collect()
    }

    fn findings(&self, allow_eviction: bool) -> Findings {
        Findings {
            unfit: self.demoted().or_else(|| self.evicting().filter(|_| !allow_eviction)),
            volatile: self.append_only == Some(false),
            unknown: self.unknown(),
        }
    }

    fn demoted(&self) -> Option<String> {
        let role = self.role.as_ref().filter(|role| *role != "master")?;
        Some(format!("its role is {role}: REDIS_URL must lead to the primary"))
    }

    fn evicting(&self) -> Option<String> {
        let policy = self.policy.as_ref().filter(|policy| *policy != "noeviction")?;
        let bound = self.max_memory.filter(|bytes| *bytes > 0)?;
        Some(format!(
            "maxmemory-policy is {policy} with maxmemory {bound}: it may evict limits and bans; set noeviction, or \
             allow_eviction in [store]"
        ))
    }
}

impl Findings {
    /// Logs what wasn't so before.
    fn log(&self, before: &Self) {
        match &self.unfit {
            Some(why) if before.unfit != self.unfit => {
                tracing::error!(%why, "Redis is not fit for use");
            }
            None if before.unfit.is_some() => tracing::info!("Redis is fit for use again"),
            _ => {}
        }
        if self.volatile && !before.volatile {
            tracing::warn!(
                "Redis has no append-only file (appendonly no): limits and claims are lost with its process, and \
                 messages may be sent twice"
            );
        }
        if self.unknown != before.unknown && !self.unknown.is_empty() {
            tracing::warn!(
                settings = self.unknown.join(", "),
                "Redis permits neither INFO nor CONFIG GET: these settings were not checked"
            );
        }
    }
}

/// `None` where the user isn't allowed to ask, or the command was taken away.
fn permitted<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        // Also an answer that isn't of the usual shape: some services have their own.
        Err(error) if is_forbidden(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    let unknown_command = error.detail().is_some_and(|detail| detail.contains("unknown command"));
    error.code() == Some("NOPERM")
        || unknown_command
        || error.kind() == ErrorKind::UnexpectedReturnType
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(role: &str, policy: &str, max_memory: &str, aof: &str) -> Settings {
        Settings::from_info(&format!(
            "# Memory\r\nmaxmemory:{max_memory}\r\nmaxmemory_policy:{policy}\r\n# Persistence\r\n\
             aof_enabled:{aof}\r\n# Replication\r\nrole:{role}\r\n"
        ))
    }

    #[test]
    fn is_unfit_where_keys_may_be_evicted_or_the_primary_is_elsewhere() {
        for (role, policy, max_memory, allowed, why) in [
            ("master", "noeviction", "0", false, None),
            ("master", "noeviction", "1000", false, None),
            // Nothing to make room for.
            ("master", "allkeys-lru", "0", false, None),
            ("master", "allkeys-lru", "1000", false, Some("maxmemory-policy is allkeys-lru")),
            // Nearly every key expires.
            ("master", "volatile-ttl", "1000", false, Some("maxmemory-policy is volatile-ttl")),
            ("master", "volatile-ttl", "1000", true, None),
            ("slave", "noeviction", "0", true, Some("its role is slave")),
        ] {
            let found = info(role, policy, max_memory, "1").findings(allowed);
            match why {
                Some(why) => assert!(found.unfit.unwrap().contains(why), "{why}"),
                None => assert_eq!(found, Findings::default(), "{policy} {max_memory}"),
            }
        }
    }

    #[test]
    fn names_what_is_volatile_and_what_it_does_not_tell() {
        assert!(info("master", "noeviction", "0", "0").findings(false).volatile);
        let untold = Settings::from_info("").findings(false);
        let all = vec!["role", "maxmemory-policy", "maxmemory", "appendonly"];
        assert_eq!(untold, Findings { unknown: all, ..Findings::default() });
    }
}
