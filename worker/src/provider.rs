//! What a provider of SMS is, and the ones that there are. Each is one file; what its answers mean is a table there.

mod acs3;
mod aliyun;
mod http;
mod sandbox;
mod spug;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use postrider_common::code::Code;
use postrider_common::config::{self, ProviderKind, Retry, Settings, Template};
use postrider_common::ids::MessageId;
use postrider_common::job::Outcome;
use postrider_common::phone::PhoneNumber;
use postrider_common::secret::KeyRing;
use postrider_common::store::Store;
use postrider_common::template::Params;

/// One SMS as a provider is handed it. `Debug` shows neither text nor code.
#[derive(Clone)]
pub struct Sms {
    pub message_id: MessageId,
    pub account_id: i64,
    pub phone: PhoneNumber,
    /// The template filled.
    pub text: String,
    pub template: Template,
    /// The template's parameters: of a code `code` alone.
    pub params: Params,
    pub code: Option<Code>,
}

impl fmt::Debug for Sms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sms")
            .field("message_id", &self.message_id)
            .field("phone", &self.phone)
            .finish_non_exhaustive()
    }
}

/// What came back, classified.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub outcome: Outcome,
    pub provider_message_id: Option<String>,
    /// The provider's word, or ours: `connect`, `timeout`, `broken_answer`.
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    /// The body, as it came; it is cut and blotted before it is kept.
    pub response: Option<String>,
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// An answer that says nothing but what it means.
    #[must_use]
    pub fn of(outcome: Outcome, error_code: &str) -> Self {
        Self {
            outcome,
            provider_message_id: None,
            error_code: (outcome != Outcome::Accepted).then(|| error_code.to_owned()),
            error_message: None,
            response: None,
            retry_after: None,
        }
    }

    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.error_message = Some(message.into());
        self
    }
}

/// Carries SMS. It never panics for what comes back, and always answers within its time-outs.
pub trait Provider: Send + Sync {
    fn send<'a>(&'a self, sms: &'a Sms) -> BoxFuture<'a, Answer>;
}

/// A provider as it is configured.
#[derive(Clone)]
pub struct NamedProvider {
    /// The name in `[providers]`.
    pub name: String,
    pub provider: Arc<dyn Provider>,
    /// The longest that a call takes: connect and read time-outs.
    pub longest: Duration,
    /// Its own `[retry]`.
    pub retry: Option<Retry>,
}

impl fmt::Debug for NamedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedProvider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes the configured providers, in the order in which they are tried.
pub fn from_settings(
    settings: &Settings,
    store: &Store,
    keys: &KeyRing,
) -> Result<Vec<NamedProvider>, reqwest::Error> {
    settings
        .providers_in_order()
        .into_iter()
        .map(|(name, config)| {
            Ok(NamedProvider {
                name: name.to_owned(),
                provider: make(config, store, keys)?,
                longest: config.connect_timeout + config.read_timeout,
                retry: config.retry.clone(),
            })
        })
        .collect()
}

fn make(
    config: &config::Provider,
    store: &Store,
    keys: &KeyRing,
) -> Result<Arc<dyn Provider>, reqwest::Error> {
    Ok(match config.kind {
        ProviderKind::Aliyun => Arc::new(aliyun::Aliyun::new(config)?),
        ProviderKind::Spug => Arc::new(spug::Spug::new(config)?),
        ProviderKind::Sandbox => Arc::new(sandbox::Sandbox::new(store.clone(), keys.clone())),
    })
}
