//! The configuration as types: one struct a section, each field with its meaning and default.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;

use super::accounts::Accounts;
use super::dialects::Dialects;
use super::jwt::Jwt;
use super::limits::{Limits, ScopeLimits, ScopeOverrides};
use super::providers::{Provider, ProviderKind};
use super::values::{
    address, duration, list, networks, optional_address, optional_choice, optional_duration,
};
use crate::model::job::Lane;
use crate::model::phone::{DefaultRegion, PhonePrefix, PhoneRules};
use crate::secrets::KeyRing;

/// Everything a process is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where queue, store and tables are.
    pub backends: Backends,
    /// `POSTRIDER_SECRET`; embedded without one keeps its own in the data directory.
    pub keys: KeyRing,
    /// Embedded and nothing said about it from outside: the trial that a newcomer starts.
    pub trial: bool,
    /// Settings that work and shouldn't stay so, for the log of a process that serves or sends.
    pub warnings: Vec<String>,
    pub settings: Settings,
}

impl Config {
    /// Logs what shouldn't stay as it is.
    pub fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// The two sizes of the product: one process on `SQLite`, or services that are named.
#[derive(Debug, Clone)]
pub enum Backends {
    /// `POSTRIDER_DATA_DIR`, default `data`.
    Embedded { data_dir: PathBuf },
    /// `AMQP_URL`, `REDIS_URL`, `DATABASE_URL`; they hold passwords.
    Distributed { amqp: SecretString, redis: SecretString, database: SecretString },
}

/// What the file holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub server: Server,
    pub metrics: Metrics,
    pub log: Log,
    pub phone: Phone,
    pub jwt: Jwt,
    pub accounts: Accounts,
    pub code: CodeRules,
    pub notices: Notices,
    pub purposes: BTreeMap<String, Purpose>,
    pub limits: Limits,
    pub bans: Bans,
    pub dialects: Dialects,
    pub store: Store,
    pub queue: Queue,
    pub retry: Retry,
    pub worker: Worker,
    pub database: Database,
    pub providers: BTreeMap<String, Provider>,
    pub templates: BTreeMap<String, Template>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// `127.0.0.1:8080`; `POSTRIDER_LISTEN`. Port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Networks whose `X-Forwarded-For` is believed; none.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// The country of numbers given without a country code; `CN`.
    pub default_region: String,
    /// Countries that are sent to; `CN` alone. Empty: every one.
    #[serde(deserialize_with = "list")]
    pub countries: Vec<DefaultRegion>,
    /// The longest that a request may take; `10s`.
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    /// The longest that a request's head may take, and a connection may rest between two requests; `10s`.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// Callers' connections at a time, at the most; 10,000. Never more than the limit of open files less 200.
    pub max_connections: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// A listener of its own for /metrics, /healthz and /readyz, open to whoever reaches it; none.
    #[serde(deserialize_with = "optional_address")]
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json` or `text`; by default `text` where embedded, `json` where distributed.
    #[serde(deserialize_with = "optional_choice")]
    pub format: Option<LogFormat>,
    /// What is logged, as `tracing` filters say it; `info`.
    pub filter: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phone {
    /// Prefixes of numbers that are accepted although the numbering plans don't know them; none.
    #[serde(deserialize_with = "list")]
    pub also_valid: Vec<PhonePrefix>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeRules {
    /// Digits, 4 to 9; 6.
    pub length: u8,
    /// How long a code can be used from its latest send, at most 10 minutes; `180s`.
    #[serde(deserialize_with = "duration")]
    pub ttl: Duration,
    /// Wrong tries that close a verification; 5.
    pub max_attempts: u32,
    /// Sends of one verification; 5.
    pub max_sends: u32,
    /// How long a used or expired one is told from one never sent; empty: ttl and 10 minutes.
    #[serde(deserialize_with = "optional_duration")]
    pub remember: Option<Duration>,
    /// Whether `sms_log` keeps the code, sealed; true.
    pub store_encrypted: bool,
    /// Whether a dialect that can answers with the code, for tests only; false.
    pub echo: bool,
    /// Whether a purpose that isn't listed is taken; false.
    pub any_purpose: bool,
    /// The template of codes whose purpose names none; `verify`.
    pub template: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notices {
    /// How long a notice may wait before it is dropped as expired; `24h`.
    #[serde(deserialize_with = "duration")]
    pub ttl: Duration,
}

/// `[purposes.NAME]`: what a purpose does in another way than `[code]`, `[limits.code]` and `[limits.check]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Purpose {
    pub length: Option<u8>,
    #[serde(deserialize_with = "optional_duration")]
    pub ttl: Option<Duration>,
    pub max_attempts: Option<u32>,
    pub max_sends: Option<u32>,
    #[serde(deserialize_with = "optional_duration")]
    pub remember: Option<Duration>,
    pub store_encrypted: Option<bool>,
    pub template: Option<String>,
    /// Scopes given here replace those of `[limits.code]`.
    pub limits: ScopeOverrides,
    /// Scopes given here replace those of `[limits.check]`.
    pub check_limits: ScopeOverrides,
}

/// Bans that come by themselves: of an address for refused sends and failed checks, of a phone for wrong codes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bans {
    /// Failures within `window` that ban, 1 to 1000; 10. 0: nothing is banned by itself.
    pub threshold: u32,
    /// `10m`.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// How long such a ban lasts; `30m`.
    #[serde(deserialize_with = "duration")]
    pub duration: Duration,
    /// Whether the third such ban within a day is for good; false.
    pub auto_permanent: bool,
    /// Numbers in E.164 that are never banned; none.
    #[serde(deserialize_with = "list")]
    pub safe_phones: Vec<String>,
    /// Networks whose addresses are never banned; loopback.
    #[serde(deserialize_with = "networks")]
    pub safe_networks: Vec<IpNet>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Whether a Redis may be used that evicts keys where its memory is full; `false`.
    pub allow_eviction: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Jobs ready in a lane, waiting retries and waiting rows, from which on new messages are refused as `overloaded`;
    /// 1000000.
    pub max_ready: u64,
    /// How long a publish waits for its confirm; `1500ms`.
    #[serde(deserialize_with = "duration")]
    pub confirm_timeout: Duration,
}

/// How often and when a message is tried again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts after which a message that is put off is given up; 4.
    pub max_attempts: u32,
    /// The delay before the second attempt; `1s`.
    #[serde(deserialize_with = "duration")]
    pub initial: Duration,
    /// What each further delay is multiplied by; 2.0.
    pub factor: f64,
    /// The longest delay; `60s`.
    #[serde(deserialize_with = "duration")]
    pub max: Duration,
    /// How far chance may move a delay, as a share of it; 0.5.
    pub jitter: f64,
    /// How often a code is sent again after an answer was lost; 1.
    pub unknown_codes: u32,
    /// The same for notices; 0.
    pub unknown_notices: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Which lanes this worker consumes; both.
    #[serde(deserialize_with = "list")]
    pub lanes: Vec<Lane>,
    /// Codes handed to providers at once; 256.
    pub code_concurrency: u16,
    /// Notices handed to providers at once; 256.
    pub notice_concurrency: u16,
    /// Notices begun a second while this worker carries codes; 400.
    pub notices_beside_codes: u32,
    /// Most rows in one insert; 500.
    pub row_batch: usize,
    /// How long a stopping worker may finish what it began; `20s`.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// Connections a process opens at the most; 16.
    pub max_connections: u32,
}

/// `[templates.NAME]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    /// The text, with `{name}` places; `{sign}`, `{code}` and `{minutes}` are filled for codes.
    pub text: String,
    /// What stands in brackets before the text, and the provider's `SignName`.
    pub sign: String,
    /// aliyun's template code.
    pub aliyun: Option<String>,
    /// Limits of its notices alone, beside those of `[limits.notice]`; none.
    pub limits: ScopeLimits,
}

impl Settings {
    /// How phone numbers are read; an error where the default region is no country.
    pub fn phone_rules(&self) -> Result<PhoneRules, String> {
        let region = self.server.default_region.parse()?;
        Ok(PhoneRules { region, also_valid: self.phone.also_valid.clone() })
    }

    /// The rules of a purpose: `[code]` with what `[purposes.NAME]` says otherwise. `None` where the
    /// purpose isn't listed and unlisted ones aren't taken.
    #[must_use]
    pub fn code_rules(&self, purpose: &str) -> Option<CodeRules> {
        let Some(own) = self.purposes.get(purpose) else {
            let any = || self.code.any_purpose.then(|| self.code.clone());
            return self.dialect_rules(purpose).or_else(any);
        };
        let base = self.code.clone();
        Some(CodeRules {
            length: own.length.unwrap_or(base.length),
            ttl: own.ttl.unwrap_or(base.ttl),
            max_attempts: own.max_attempts.unwrap_or(base.max_attempts),
            max_sends: own.max_sends.unwrap_or(base.max_sends),
            remember: own.remember.or(base.remember),
            store_encrypted: own.store_encrypted.unwrap_or(base.store_encrypted),
            template: own.template.clone().unwrap_or(base.template),
            ..base
        })
    }

    /// The limits of sends of a code for a purpose.
    #[must_use]
    pub fn code_limits(&self, purpose: &str) -> ScopeLimits {
        let base = self.dialect_limits(purpose).unwrap_or_else(|| self.limits.code.clone());
        match self.purposes.get(purpose) {
            Some(own) => own.limits.clone().over(base),
            None => base,
        }
    }

    /// The limits of notices with this purpose, over all templates.
    #[must_use]
    pub fn notice_limits(&self, purpose: &str) -> ScopeLimits {
        self.dialect_notice_limits(purpose).unwrap_or_else(|| self.limits.notice.clone())
    }

    /// Returns whether codes are sent with a template, given its name or its code at the provider. A template that shares
    /// its code at the provider with one of codes is the same text.
    #[must_use]
    pub fn is_template_of_codes(&self, template: &str) -> bool {
        let template = template.trim();
        let code_at_provider = |name: &str| self.templates.get(name)?.aliyun.as_deref();
        let given = code_at_provider(template).unwrap_or(template);
        self.templates_of_codes().any(|name| {
            name == template
                || code_at_provider(name).is_some_and(|code| code.eq_ignore_ascii_case(given))
        })
    }

    /// The templates that codes are sent with.
    pub(super) fn templates_of_codes(&self) -> impl Iterator<Item = &str> {
        let of_purposes = self.purposes.values().filter_map(|purpose| purpose.template.as_deref());
        of_purposes.chain([self.code.template.as_str()])
    }

    /// The limits of failed checks of a purpose; empty where none is known.
    #[must_use]
    pub fn check_limits(&self, purpose: &str) -> ScopeLimits {
        let base = self.limits.check.clone();
        match self.purposes.get(purpose) {
            Some(own) => own.check_limits.clone().over(base),
            None => base,
        }
    }

    /// The providers in the order in which they are tried.
    #[must_use]
    pub fn providers_in_order(&self) -> Vec<(&str, &Provider)> {
        let mut list: Vec<_> = self.providers.iter().map(|(n, p)| (n.as_str(), p)).collect();
        list.sort_by_key(|(name, provider)| (provider.order, *name));
        list
    }

    /// Whether every provider is the sandbox, so that no SMS is ever carried.
    #[must_use]
    pub fn carries_nothing(&self) -> bool {
        self.providers.values().all(|p| p.kind == ProviderKind::Sandbox)
    }

    /// Whether any provider is the sandbox.
    #[must_use]
    pub fn has_sandbox(&self) -> bool {
        self.providers.values().any(|p| p.kind == ProviderKind::Sandbox)
    }
}

impl CodeRules {
    /// How long a used or expired verification is remembered from its expiry on.
    #[must_use]
    pub fn remembered(&self) -> Duration {
        self.remember.unwrap_or(self.ttl + Duration::from_mins(10))
    }
}

impl Worker {
    /// How many jobs of a lane are handed to providers at once.
    #[must_use]
    pub fn concurrency(&self, lane: Lane) -> u16 {
        match lane {
            Lane::Code => self.code_concurrency,
            Lane::Notice => self.notice_concurrency,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            trusted_proxies: Vec::new(),
            default_region: "CN".to_owned(),
            countries: vec![DefaultRegion::CN],
            request_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            max_connections: 10_000,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: None, filter: "info".to_owned() }
    }
}

impl Default for CodeRules {
    fn default() -> Self {
        Self {
            length: 6,
            ttl: Duration::from_mins(3),
            max_attempts: 5,
            max_sends: 5,
            remember: None,
            store_encrypted: true,
            echo: false,
            any_purpose: false,
            template: "verify".to_owned(),
        }
    }
}

impl Default for Notices {
    fn default() -> Self {
        Self { ttl: Duration::from_hours(24) }
    }
}

impl Default for Bans {
    fn default() -> Self {
        Self {
            threshold: 10,
            window: Duration::from_mins(10),
            duration: Duration::from_mins(30),
            auto_permanent: false,
            safe_phones: Vec::new(),
            safe_networks: loopback(),
        }
    }
}

/// What comes from here is the operator, or a proxy that stands for everybody.
fn loopback() -> Vec<IpNet> {
    let networks = [(Ipv4Addr::LOCALHOST.into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
    networks
        .into_iter()
        .filter_map(|(address, length)| IpNet::new(address, length).ok())
        .map(|network| network.trunc())
        .collect()
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_ready: 1_000_000, confirm_timeout: Duration::from_millis(1500) }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_mins(1),
            jitter: 0.5,
            unknown_codes: 1,
            unknown_notices: 0,
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            lanes: Lane::ALL.to_vec(),
            code_concurrency: 256,
            notice_concurrency: 256,
            notices_beside_codes: 400,
            row_batch: 500,
            grace: Duration::from_secs(20),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { max_connections: 16 }
    }
}
