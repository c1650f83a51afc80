//! `[dialects]`: which older systems' wire formats are spoken, and the rules that came with each.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::limits::ScopeLimits;
use super::sections::{CodeRules, Settings};
use super::values::{duration, list, networks};
use crate::model::limits::Limit;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialects {
    /// The ones that are served; all three.
    #[serde(deserialize_with = "list")]
    pub enabled: Vec<Dialect>,
    pub mall: Mall,
    pub flask: Flask,
    pub platform: Platform,
}

/// The wire format of an older system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// A Spring Cloud shop's SMS service.
    Mall,
    /// An Aliyun SMS service in Flask.
    Flask,
    /// A phone-number and code service.
    Platform,
}

/// `[dialects.mall]`. Its rules are the product's own: `[code]`, `[purposes]` and `[limits]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mall {
    pub anonymous: Option<Anonymous>,
}

/// `[dialects.flask]`. What isn't here is as `[code]` and `[limits.code]` say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flask {
    /// Digits of a code, 4 to 9; 4.
    pub length: u8,
    /// How long a code can be used from its latest send, at most 10 minutes; `5m`.
    #[serde(deserialize_with = "duration")]
    pub ttl: Duration,
    /// How long a used or expired code is told from one never sent; `24h`.
    #[serde(deserialize_with = "duration")]
    pub remember: Duration,
    /// Codes by phone, over all channels: `5/1h`, `10/1d`. In place of `phone` of `[limits.code]`.
    #[serde(deserialize_with = "list")]
    pub phone: Vec<Limit>,
    /// Codes by phone and channel: `1/60s`, `5/1h`, `10/1d`. In place of `[code] max_sends` too.
    #[serde(deserialize_with = "list")]
    pub phone_purpose: Vec<Limit>,
    /// Whether a `template_code` that is no name in `[templates]` is handed to the provider as it is; false.
    pub allow_raw_templates: bool,
    pub anonymous: Option<Anonymous>,
}

/// `[dialects.platform]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Platform {
    /// Whether accounts may recharge themselves; by default embedded, while every provider is the sandbox.
    pub self_recharge: Option<bool>,
    pub anonymous: Option<Anonymous>,
}

/// Whose account requests without a token are, from networks that nobody else reaches us from; nobody's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anonymous {
    /// Its user name.
    pub account: String,
    /// Networks of callers, as their addresses are known through trusted proxies.
    #[serde(deserialize_with = "networks")]
    pub from: Vec<IpNet>,
}

impl Dialect {
    /// What purposes begin with that are kept apart from v1's, which have no slash.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Mall => "mall/",
            Self::Flask => "flask/",
            Self::Platform => "platform/",
        }
    }

    /// The dialect of a purpose, where its codes to a phone are counted apart from `/v1`'s.
    #[must_use]
    pub fn with_own_phone_limits(purpose: &str) -> Option<Self> {
        purpose.starts_with(Self::Flask.prefix()).then_some(Self::Flask)
    }
}

impl Dialects {
    /// Each dialect's `anonymous`, where it has one.
    pub(super) fn anonymous(&self) -> [(&'static str, Option<&Anonymous>); 3] {
        [
            ("mall", self.mall.anonymous.as_ref()),
            ("flask", self.flask.anonymous.as_ref()),
            ("platform", self.platform.anonymous.as_ref()),
        ]
    }
}

impl Settings {
    /// The rules of a purpose that only a dialect has; `None` of any other.
    #[must_use]
    pub fn dialect_rules(&self, purpose: &str) -> Option<CodeRules> {
        if purpose.starts_with(Dialect::Flask.prefix()) {
            return Some(self.flask_rules());
        }
        purpose.starts_with(Dialect::Mall.prefix()).then(|| self.code.clone())
    }

    /// The limits of a purpose that only a dialect has, where they differ from all others'.
    pub(super) fn dialect_limits(&self, purpose: &str) -> Option<ScopeLimits> {
        purpose.starts_with(Dialect::Flask.prefix()).then(|| self.flask_limits())
    }

    /// The limits of notices of a dialect, where they differ from all others': this one's have no limit of the phone's.
    pub(super) fn dialect_notice_limits(&self, purpose: &str) -> Option<ScopeLimits> {
        let is_flask = purpose.starts_with(Dialect::Flask.prefix());
        is_flask.then(|| ScopeLimits { phone: Vec::new(), ..self.limits.notice.clone() })
    }

    pub(super) fn flask_rules(&self) -> CodeRules {
        let Flask { length, ttl, remember, .. } = self.dialects.flask;
        let max_sends = u32::MAX;
        CodeRules { length, ttl, remember: Some(remember), max_sends, ..self.code.clone() }
    }

    fn flask_limits(&self) -> ScopeLimits {
        ScopeLimits {
            phone: self.dialects.flask.phone.clone(),
            phone_purpose: self.dialects.flask.phone_purpose.clone(),
            ..self.limits.code.clone()
        }
    }
}

impl Default for Dialects {
    fn default() -> Self {
        Self {
            enabled: vec![Dialect::Mall, Dialect::Flask, Dialect::Platform],
            mall: Mall::default(),
            flask: Flask::default(),
            platform: Platform::default(),
        }
    }
}

impl Default for Flask {
    fn default() -> Self {
        let limit = |quota, window| Limit { quota, window };
        Self {
            length: 4,
            ttl: Duration::from_mins(5),
            remember: Duration::from_hours(24),
            phone: vec![limit(5, Duration::from_hours(1)), limit(10, Duration::from_hours(24))],
            phone_purpose: vec![
                limit(1, Duration::from_mins(1)),
                limit(5, Duration::from_hours(1)),
                limit(10, Duration::from_hours(24)),
            ],
            allow_raw_templates: false,
            anonymous: None,
        }
    }
}
