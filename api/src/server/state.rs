//! What every handler works with: one value a process, shared by all requests.

use std::sync::Arc;

use axum::extract::FromRef;
use metrics_exporter_prometheus::PrometheusHandle;
use postrider_common::accept::Acceptor;
use postrider_common::config::Settings;
use postrider_common::database::Database;
use postrider_common::model::phone::{PhoneNumber, PhoneRules};
use postrider_common::queue::Queue;
use postrider_common::secrets::{KeyId, KeyRing};
use postrider_common::store::{BanCheck, Explain, Store, StoreError};

use crate::auth::accounts::AccountCache;
use crate::auth::identity_provider::IdentityProvider;
use crate::auth::passwords::Passwords;
use crate::background::approvals::Verified;
use crate::background::automatic_bans::AutomaticBans;
use crate::background::key_uses::KeyUses;
use crate::background::refusals::Refusals;
use crate::background::store_recovery::StoreRecovery;
use crate::http::client_ip::TrustedProxies;
use crate::http::clock::unix_ms;
use crate::http::problem::{Code, Problem};
use crate::messages::back_pressure::BackPressure;

#[derive(Debug)]
pub struct App {
    pub settings: Settings,
    pub phone_rules: PhoneRules,
    pub keys: KeyRing,
    /// Whose tokens are taken beside our own.
    pub identity_provider: Option<IdentityProvider>,
    pub acceptor: Acceptor,
    pub store: Store,
    pub queue: Queue,
    pub database: Database,
    pub accounts: Arc<AccountCache>,
    pub passwords: Passwords,
    pub pressure: Arc<BackPressure>,
    pub verified: Verified,
    pub refusals: Refusals,
    pub key_uses: KeyUses,
    pub automatic_bans: AutomaticBans,
    pub metrics: PrometheusHandle,
    pub recovery: StoreRecovery,
    pub trusted_proxies: TrustedProxies,
}

/// The state of every handler.
pub type AppState = Arc<App>;

impl FromRef<AppState> for TrustedProxies {
    fn from_ref(app: &AppState) -> Self {
        app.trusted_proxies.clone()
    }
}

impl App {
    /// Reads a number as the caller wrote it.
    pub fn phone(&self, text: &str) -> Result<PhoneNumber, Problem> {
        use postrider_common::model::phone::PhoneError;
        PhoneNumber::parse(text, &self.phone_rules).map_err(|error| {
            let why = match error {
                PhoneError::Character => "characters",
                PhoneError::Unreadable => "unreadable",
                PhoneError::Invalid => "invalid",
                PhoneError::NotMobile => "not_mobile",
            };
            Problem::field(Code::PhoneInvalid, "phone", why, error.to_string())
        })
    }

    /// Unix milliseconds of the store's clock. Log-ins are issued by it, so that what ends them must go by it too.
    pub async fn now(&self) -> Result<i64, Problem> {
        let ban_check = BanCheck::default();
        let nothing = Explain { now: None, limits: Vec::new(), ban_check };
        let explained = self.store.explain(&nothing).await;
        explained.map(|explained| explained.now).map_err(|error| self.store_failed(&error))
    }

    /// The same without asking, once an answer has told the store's time: this machine's clock carries it on. Tokens and
    /// keys are checked by it.
    pub async fn store_now(&self) -> Result<i64, Problem> {
        if let Some(now) = self.store.clock().now() {
            return Ok(now);
        }
        self.store.epoch().await.map_err(|error| self.store_failed(&error))?;
        Ok(self.store.clock().now().unwrap_or_else(unix_ms))
    }

    /// The answer to a request that needs a secret which isn't here.
    pub fn key_missing(&self, key: &KeyId) -> Problem {
        tracing::error!(key.id = %key, "a secret that a request needs is not among POSTRIDER_SECRET");
        Problem::new(Code::KeyMissing)
    }

    /// The answer to an `Idempotency-Key` that was used with a body of this fingerprint, and not of the request's.
    pub fn key_reused(&self, fingerprint: Option<&str>) -> Problem {
        match fingerprint.and_then(|fingerprint| self.keys.missing_key_of(fingerprint)) {
            // It may be the same body.
            Some(key) => self.key_missing(&key),
            None => Problem::new(Code::IdempotencyKeyReused),
        }
    }

    /// The answer to a request whose call of the store failed: see [`StoreRecovery::store_failed`].
    pub fn store_failed(&self, error: &StoreError) -> Problem {
        self.recovery.store_failed(error)
    }
}
