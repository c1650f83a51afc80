//! What a provider of SMS is, and the ones that there are. Each is one file; what its answers mean is a table there.

mod acs3;
mod aliyun;
mod class;
mod http;
mod sandbox;
mod spug;
mod test_keys;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use postrider_common::config::{self, ProviderKind, Retry, Settings, Template};
use postrider_common::model::code::Code;
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::{AnswerScope, Job, Lane, Outcome};
use postrider_common::model::owner::Owner;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::model::template::Params;
use postrider_common::secrets::KeyRing;
use postrider_common::store::Store;
use tokio::time::Instant;

pub use http::Response;

/// One SMS as a provider is handed it. `Debug` shows neither text nor code.
#[derive(Clone)]
pub struct Sms {
    pub message_id: MessageId,
    pub owner: Owner,
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
    /// Whether it speaks about this message or about the provider as a whole.
    pub scope: AnswerScope,
    /// Whether another provider may be tried without a delay, although the attempt counts: an unlisted error code.
    pub try_next_now: bool,
    pub provider_message_id: Option<String>,
    /// The provider's code, or ours: `dns`, `connect`, `tls`, `no_descriptor`, `timeout`, `broken_answer`, `http_502`.
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
            scope: AnswerScope::Message,
            try_next_now: false,
            provider_message_id: None,
            error_code: (outcome != Outcome::Accepted).then(|| error_code.to_owned()),
            error_message: None,
            response: None,
            retry_after: None,
        }
    }

    /// The same, about the provider as a whole.
    #[must_use]
    pub fn about_provider(mut self) -> Self {
        self.scope = AnswerScope::Provider;
        self
    }

    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.error_message = Some(message.into());
        self
    }
}

/// Carries SMS. It never panics for what comes back, and always answers within its time-outs.
pub trait Provider: Send + Sync {
    /// Hands over a message. A call that a second one follows begins the second before `begin_by`: from then on it could
    /// reach the provider past the message's deadline.
    fn send<'a>(&'a self, sms: &'a Sms, begin_by: Instant) -> BoxFuture<'a, Answer>;
}

/// The meaning of an answer to a message of this lane, whatever is in it; `None` where the kind gets none over HTTP.
#[must_use]
pub fn classify(kind: ProviderKind, lane: Lane, response: &Response) -> Option<Answer> {
    match kind {
        ProviderKind::Aliyun => Some(aliyun::classify(lane, response)),
        ProviderKind::Spug => Some(spug::classify(response)),
        ProviderKind::Sandbox => None,
    }
}

/// A provider as it is configured.
#[derive(Clone)]
pub struct NamedProvider {
    /// The name in `[providers]`.
    pub name: String,
    pub provider: Arc<dyn Provider>,
    /// The longest that it takes until a call is on its way to the provider: the connect time-out.
    pub reach: Duration,
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

/// Providers in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Lineup {
    providers: Vec<NamedProvider>,
    names: Vec<String>,
}

impl Lineup {
    fn new(providers: Vec<NamedProvider>) -> Self {
        let names = providers.iter().map(|provider| provider.name.clone()).collect();
        Self { providers, names }
    }

    pub fn find(&self, name: &str) -> Option<&NamedProvider> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The longest that it takes until a call of any of them is on its way.
    pub fn reach(&self) -> Duration {
        self.providers.iter().map(|provider| provider.reach).max().unwrap_or_default()
    }

    /// The longest that a call of any of them takes.
    pub fn longest(&self) -> Duration {
        self.providers.iter().map(|provider| provider.longest).max().unwrap_or_default()
    }
}

/// Every provider of a process: those that are configured, and the one that test keys get.
#[derive(Debug, Clone)]
pub struct Providers {
    live: Lineup,
    test: Lineup,
}

impl Providers {
    /// `live` in the order in which they are tried.
    pub fn new(live: Vec<NamedProvider>, test: NamedProvider) -> Self {
        Self { live: Lineup::new(live), test: Lineup::new(vec![test]) }
    }

    /// The names of those that are configured, in the order in which they are tried.
    pub fn live_names(&self) -> &[String] {
        self.live.names()
    }

    /// What a message may be handed to: one of a test key never to anything that carries it.
    pub fn of(&self, job: &Job) -> &Lineup {
        if job.test { &self.test } else { &self.live }
    }
}

/// Makes the configured providers, and that of test keys.
pub fn from_settings(
    settings: &Settings,
    store: &Store,
    keys: &KeyRing,
) -> Result<Providers, reqwest::Error> {
    let live: Result<Vec<_>, reqwest::Error> = settings
        .providers_in_order()
        .into_iter()
        .map(|(name, config)| {
            Ok(NamedProvider {
                name: name.to_owned(),
                provider: make(config, store, keys)?,
                reach: match config.kind {
                    ProviderKind::Sandbox => Duration::ZERO,
                    ProviderKind::Aliyun | ProviderKind::Spug => config.connect_timeout,
                },
                longest: config.connect_timeout + config.read_timeout,
                retry: config.retry.clone(),
            })
        })
        .collect();
    let test = test_keys::provider(sandbox::Sandbox::new(store.clone(), keys.clone()));
    Ok(Providers::new(live?, test))
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
