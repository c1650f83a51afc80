//! `sms_blacklist`: the bans. The table is the truth; the store enforces what is in it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};

use super::{Database, DatabaseError};
use crate::model::address;
use crate::model::phone::{PhoneNumber, PhoneRules};
use crate::store::{Ban, BanSubject, account_phone};

/// One ban as an operator says it: `phone +8613800138000`, `account_phone 7/+8613800138000`, `ip 203.0.113.7`,
/// `cidr 203.0.113.0/24`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlacklistEntry {
    pub kind: BanKind,
    /// In its one written form: E.164, an account's id and E.164, an address, a network.
    pub value: String,
    pub reason: String,
    /// Who set it.
    pub created_by: String,
    /// Unix milliseconds; `None` for good.
    pub until: Option<i64>,
    pub create_time: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanKind {
    Phone,
    PhonePrefix,
    /// Checks of a phone by one account; its sends, and other accounts, go on.
    AccountPhone,
    Ip,
    Cidr,
}

/// Why a text can't be banned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no {kind}: {problem}")]
pub struct BanError {
    kind: BanKind,
    value: String,
    problem: String,
}

pub(super) const COLUMNS: [&str; 6] =
    ["kind", "value", "reason", "created_by", "until", "create_time"];

impl BanKind {
    pub const ALL: [Self; 5] =
        [Self::Phone, Self::PhonePrefix, Self::AccountPhone, Self::Ip, Self::Cidr];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::PhonePrefix => "phone_prefix",
            Self::AccountPhone => "account_phone",
            Self::Ip => "ip",
            Self::Cidr => "cidr",
        }
    }

    /// A value in its one written form.
    pub fn normalise(self, value: &str, rules: &PhoneRules) -> Result<String, BanError> {
        let error = |problem: String| BanError { kind: self, value: value.to_owned(), problem };
        match self {
            Self::Phone => PhoneNumber::parse(value, rules)
                .map(|phone| phone.as_e164().to_owned())
                .map_err(|problem| error(problem.to_string())),
            Self::PhonePrefix => {
                let digits = value.strip_prefix('+').unwrap_or_default();
                let fine =
                    (1..=14).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
                let fine = fine && !digits.starts_with('0');
                fine.then(|| value.to_owned())
                    .ok_or_else(|| error("it begins like +86170".to_owned()))
            }
            Self::AccountPhone => {
                let (account, phone) = value
                    .split_once('/')
                    .ok_or_else(|| error("must be written as 7/+8613800138000".to_owned()))?;
                let account: i64 = account.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
                    error("must begin with an account's id, a number from 1".to_owned())
                })?;
                PhoneNumber::parse(phone, rules)
                    .map(|phone| account_phone(account, &phone))
                    .map_err(|problem| error(problem.to_string()))
            }
            Self::Ip => value
                .parse::<IpAddr>()
                .map(|address| address::counted_address(address).to_string())
                .map_err(|problem| error(problem.to_string())),
            Self::Cidr => {
                let network =
                    value.parse::<IpNet>().map_err(|problem| error(problem.to_string()))?;
                if address::is_around_nat64(network) {
                    let problem = "addresses in 64:ff9b::/96 count as IPv4: ban IPv4 networks";
                    return Err(error(problem.to_owned()));
                }
                Ok(address::counted_network(network).to_string())
            }
        }
    }

    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// What a ban is called that the store made by itself: the inverse of [`BanKind::subject`].
    #[must_use]
    pub fn of_subject(subject: &BanSubject) -> Option<(Self, String)> {
        Some(match subject {
            BanSubject::Phone(phone) => (Self::Phone, phone.clone()),
            BanSubject::PhonePrefix(prefix) => (Self::PhonePrefix, prefix.clone()),
            BanSubject::AccountPhone(value) => (Self::AccountPhone, value.clone()),
            BanSubject::Network(bits) => {
                let network = address::network_of_bits(bits)?;
                if network.prefix_len() == network.max_prefix_len() {
                    (Self::Ip, network.addr().to_string())
                } else {
                    (Self::Cidr, network.to_string())
                }
            }
        })
    }

    /// What the store looks up for a value in its written form; `None` where it isn't in it.
    #[must_use]
    pub fn subject(self, value: &str) -> Option<BanSubject> {
        Some(match self {
            Self::Phone => BanSubject::Phone(value.to_owned()),
            Self::PhonePrefix => BanSubject::PhonePrefix(value.to_owned()),
            Self::AccountPhone => BanSubject::AccountPhone(value.to_owned()),
            Self::Ip => BanSubject::Network(address::bits(value.parse().ok()?)),
            Self::Cidr => BanSubject::Network(address::network_bits(value.parse().ok()?)),
        })
    }
}

impl BanError {
    /// What is wrong, without the value.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for BanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl BlacklistEntry {
    /// The ban as the store enforces it.
    #[must_use]
    pub fn ban(&self) -> Option<Ban> {
        let subject = self.kind.subject(&self.value)?;
        Some(Ban { subject, until: self.until.unwrap_or(0) })
    }
}

#[derive(sqlx::FromRow)]
struct BanRead {
    kind: String,
    value: String,
    reason: String,
    created_by: String,
    until: Option<i64>,
    create_time: i64,
}

impl BanRead {
    fn read(self) -> Option<BlacklistEntry> {
        let kind = BanKind::of_word(&self.kind)?;
        let Self { value, reason, created_by, until, create_time, .. } = self;
        Some(BlacklistEntry { kind, value, reason, created_by, until, create_time })
    }
}

impl Database {
    /// Every ban in force at `now`.
    pub async fn bans(&self, now: i64) -> Result<Vec<BlacklistEntry>, DatabaseError> {
        self.fetch_bans(&in_force(now)).await
    }

    /// Bans in force at `now`, by kind and value, at most `limit`, behind `after`.
    pub async fn bans_page(
        &self,
        now: i64,
        kind: Option<BanKind>,
        after: Option<(BanKind, &str)>,
        limit: u64,
    ) -> Result<Vec<BlacklistEntry>, DatabaseError> {
        let mut select = in_force(now);
        if let Some(kind) = kind {
            select.and_where(Expr::col("kind").eq(kind.as_str()));
        }
        if let Some((kind, value)) = after {
            let same = Expr::col("kind").eq(kind.as_str()).and(Expr::col("value").gt(value));
            select.and_where(Expr::col("kind").gt(kind.as_str()).or(same));
        }
        select.order_by("kind", Order::Asc).order_by("value", Order::Asc).limit(limit);
        self.fetch_bans(&select).await
    }

    /// The ban of this kind and value in force at `now`.
    pub async fn ban_of(
        &self,
        kind: BanKind,
        value: &str,
        now: i64,
    ) -> Result<Option<BlacklistEntry>, DatabaseError> {
        let mut select = in_force(now);
        select
            .and_where(Expr::col("kind").eq(kind.as_str()))
            .and_where(Expr::col("value").eq(value));
        Ok(self.fetch_bans(&select).await?.into_iter().next())
    }

    async fn fetch_bans(
        &self,
        select: &SelectStatement,
    ) -> Result<Vec<BlacklistEntry>, DatabaseError> {
        Ok(self.fetch::<BanRead>(select).await?.into_iter().filter_map(BanRead::read).collect())
    }
}

fn in_force(now: i64) -> SelectStatement {
    let mut select = Query::select();
    select
        .columns(COLUMNS)
        .from("sms_blacklist")
        .and_where(Expr::col("until").is_null().or(Expr::col("until").gt(now)));
    select
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_a_phone_as_callers_write_it_and_refuses_all_else() {
        let normalise = |text| BanKind::Phone.normalise(text, &PhoneRules::default());
        for text in ["13800138000", "+86 138-0013-8000", "1380013８０００"] {
            assert_eq!(normalise(text).as_deref(), Ok("+8613800138000"), "{text}");
        }
        for text in ["13800138000;13900139000", "13800138000x1", "138001380OO"] {
            assert!(normalise(text).is_err(), "{text}");
        }
    }
}
