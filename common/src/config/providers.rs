//! `[providers.NAME]`: who carries SMS.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::sections::Retry;
use super::values::{choice, duration};

/// `[providers.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    #[serde(deserialize_with = "choice")]
    pub kind: ProviderKind,
    /// Tried from the lowest; equal ones by name. 1.
    #[serde(default = "one")]
    pub order: u32,
    /// Where it is reached; each kind has its own default.
    pub endpoint: Option<String>,
    /// aliyun; or `ALIBABA_CLOUD_ACCESS_KEY_ID`.
    pub access_key_id: Option<SecretString>,
    /// aliyun; or `ALIBABA_CLOUD_ACCESS_KEY_SECRET`.
    pub access_key_secret: Option<SecretString>,
    /// aliyun, for temporary credentials; or `ALIBABA_CLOUD_SECURITY_TOKEN`.
    pub security_token: Option<SecretString>,
    /// aliyun: `00` or `+`, put before foreign numbers. Without it those that read as a mainland number aren't sent;
    /// none.
    pub foreign_prefix: Option<String>,
    /// spug: the token of the push template, which is the credential.
    pub token: Option<SecretString>,
    /// spug: our parameter's name to the field's name in its body.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// For name, TCP and TLS, so that no call is begun later than this before its message's deadline; `5s`.
    #[serde(default = "connect_timeout", deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// How long an answer is waited for, from the call's beginning, and then for each part of it; longer than
    /// `connect_timeout` in any case; `10s`.
    #[serde(default = "read_timeout", deserialize_with = "duration")]
    pub read_timeout: Duration,
    /// Replaces `[retry]` for what this provider answers.
    pub retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    Aliyun,
    Spug,
    Sandbox,
}

impl Provider {
    /// A sandbox provider with every default.
    #[must_use]
    pub fn sandbox() -> Self {
        Self {
            kind: ProviderKind::Sandbox,
            order: 1,
            endpoint: None,
            access_key_id: None,
            access_key_secret: None,
            security_token: None,
            foreign_prefix: None,
            token: None,
            fields: BTreeMap::new(),
            connect_timeout: connect_timeout(),
            read_timeout: read_timeout(),
            retry: None,
        }
    }
}

fn one() -> u32 {
    1
}

fn connect_timeout() -> Duration {
    Duration::from_secs(5)
}

fn read_timeout() -> Duration {
    Duration::from_secs(10)
}
