//! Limits as the operator writes them: `5/1h` is at most five within any hour.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// At most `quota` entries within any span of `window`. Written `1/60s`, `5/1h`, `30/1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub quota: u32,
    pub window: Duration,
}

/// What a limit counts by, in the order in which limits are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Account and phone.
    Phone,
    /// Account, phone and purpose.
    PhonePurpose,
    /// The phone, over all accounts.
    PhoneAll,
    /// The end user's address (an IPv6 address by its /64).
    Ip,
    Account,
    /// Account and address (an IPv6 address by its /64).
    AccountIp,
    /// The number without its last four digits.
    Prefix,
    /// The whole service.
    Global,
}

impl Scope {
    /// Whether the scope is about one phone: its entries are given back when a message ends unsent.
    #[must_use]
    pub fn is_phone(self) -> bool {
        matches!(self, Self::Phone | Self::PhonePurpose | Self::PhoneAll)
    }

    /// The stable word of a refusal.
    #[must_use]
    pub fn refusal(self) -> &'static str {
        match self {
            Self::Phone | Self::PhonePurpose | Self::PhoneAll => "phone_limited",
            Self::Ip => "ip_limited",
            Self::Account | Self::AccountIp => "account_limited",
            Self::Prefix => "prefix_limited",
            Self::Global => "global_limited",
        }
    }

    /// The name in `RateLimit-Policy`.
    #[must_use]
    pub fn policy(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::PhonePurpose => "phone-purpose",
            Self::PhoneAll => "phone-all",
            Self::Ip => "ip",
            Self::Account => "account",
            Self::AccountIp => "account-ip",
            Self::Prefix => "prefix",
            Self::Global => "global",
        }
    }
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no limit: write it as `5/1h`, a number from 1, a slash, and a time from 1s to 31d"
)]
pub struct LimitError(String);

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || LimitError(text.to_owned());
        let (quota, window) = text.trim().split_once('/').ok_or_else(error)?;
        let quota: u32 = quota.trim().parse().map_err(|_| error())?;
        let window = humantime::parse_duration(window.trim()).map_err(|_| error())?;
        let seconds = window.as_secs();
        let whole = window.subsec_nanos() == 0 && (1..=31 * 86_400).contains(&seconds);
        (quota > 0 && whole).then_some(Self { quota, window }).ok_or_else(error)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.quota, self.window.as_secs())
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        for (text, quota, seconds) in
            [("1/60s", 1, 60), ("5/1h", 5, 3600), ("30/1d", 30, 86_400), (" 10 / 10m ", 10, 600)]
        {
            let limit: Limit = text.parse().unwrap();
            assert_eq!((limit.quota, limit.window.as_secs()), (quota, seconds), "{text}");
            assert_eq!(limit.to_string().parse::<Limit>().unwrap(), limit);
        }
    }

    #[test]
    fn what_is_no_limit_is_refused_by_name() {
        for text in
            ["", "5", "5/", "/1h", "0/1h", "-1/1h", "5/0s", "5/500ms", "5/32d", "5/1x", "x/1h"]
        {
            let error = text.parse::<Limit>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_limit_is_read_back_from_how_it_is_written(
            quota in 1_u32..,
            seconds in 1..=31 * 86_400_u64,
        ) {
            let limit = Limit { quota, window: Duration::from_secs(seconds) };
            prop_assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit));
            let json = serde_json::to_string(&limit).unwrap();
            prop_assert_eq!(serde_json::from_str::<Limit>(&json).unwrap(), limit);
        }

        #[test]
        fn whatever_is_taken_is_within_bounds(
            text in prop_oneof![
                any::<String>(),
                "[0-9]{0,12} ?/ ?[0-9]{0,20} ?(ns|us|ms|s|sec|m|h|d|w|M|y|)( [0-9]{1,9}(ms|s|d))?",
            ],
        ) {
            if let Ok(limit) = text.parse::<Limit>() {
                prop_assert!(limit.quota >= 1);
                prop_assert!((1..=31 * 86_400).contains(&limit.window.as_secs()));
                prop_assert_eq!(limit.window.subsec_nanos(), 0);
                prop_assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit));
            }
        }
    }
}
