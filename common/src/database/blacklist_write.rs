//! Changes of `sms_blacklist`, each with its line in `sms_blacklist_change`, in one transaction.

use sea_query::{Expr, ExprTrait as _, InsertStatement, OnConflict, Order, Query};
use uuid::Uuid;

use super::blacklist::{BanKind, BlacklistEntry, COLUMNS};
use super::error::refused;
use super::statement::{Write, before};
use super::text::{WORDS, cut, cut_characters};
use super::{Database, DatabaseError};

/// Who sets the bans that come by themselves.
pub const BY_ITSELF: &str = "postrider";

const CHANGE_COLUMNS: [&str; 9] =
    ["id", "action", "kind", "value", "reason", "changed_by", "until", "create_time", "forced"];

/// One change of the blacklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlacklistChange {
    pub id: String,
    pub action: ChangeAction,
    pub kind: BanKind,
    pub value: String,
    pub reason: String,
    pub changed_by: String,
    /// Unix milliseconds; `None`: for good, or lifted.
    pub until: Option<i64>,
    pub create_time: i64,
    /// Whether it is a ban so wide that it was set by force.
    pub forced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeAction {
    Banned,
    Lifted,
}

/// A ban that is to be lifted.
#[derive(Debug, Clone, Copy)]
pub struct Lift<'a> {
    pub kind: BanKind,
    /// In its one written form.
    pub value: &'a str,
    pub reason: &'a str,
    pub by: &'a str,
    pub now: i64,
}

#[derive(sqlx::FromRow)]
struct ChangeRead {
    id: String,
    action: String,
    kind: String,
    value: String,
    reason: String,
    changed_by: String,
    until: Option<i64>,
    create_time: i64,
    forced: i32,
}

impl ChangeAction {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::Lifted => "lifted",
        }
    }
}

impl ChangeRead {
    fn read(self) -> Option<BlacklistChange> {
        let actions = [ChangeAction::Banned, ChangeAction::Lifted];
        Some(BlacklistChange {
            action: actions.into_iter().find(|action| action.as_str() == self.action)?,
            kind: BanKind::of_word(&self.kind)?,
            id: self.id,
            value: self.value,
            reason: self.reason,
            changed_by: self.changed_by,
            until: self.until,
            create_time: self.create_time,
            forced: self.forced != 0,
        })
    }
}

impl Database {
    /// Adds a ban, or replaces the one on the same kind and value. `forced`: it was too wide to be set otherwise.
    pub async fn ban(&self, entry: &BlacklistEntry, forced: bool) -> Result<(), DatabaseError> {
        let replaced = ["reason", "created_by", "until", "create_time"];
        let mut insert = inserted(entry)?;
        insert.on_conflict(
            OnConflict::columns(["kind", "value"]).update_columns(replaced).to_owned(),
        );
        self.write(&[Write::Insert(insert), changed(entry, forced)?]).await.map(drop)
    }

    /// Adds a ban, or makes the one that is there longer; one that lasts at least as long stays as it is.
    pub async fn ban_at_least(&self, entry: &BlacklistEntry) -> Result<(), DatabaseError> {
        let mut raise = Query::update();
        raise
            .table("sms_blacklist")
            .value("reason", cut(&entry.reason, WORDS))
            .value("created_by", cut_characters(&entry.created_by, 128))
            .value("until", entry.until)
            .value("create_time", entry.create_time)
            .and_where(Expr::col("kind").eq(entry.kind.as_str()))
            .and_where(Expr::col("value").eq(entry.value.as_str()))
            .and_where(Expr::col("until").is_not_null());
        if let Some(until) = entry.until {
            raise.and_where(Expr::col("until").lt(until));
        }
        let mut insert = inserted(entry)?;
        insert.on_conflict(
            OnConflict::columns(["kind", "value"]).do_nothing_on(["kind", "value"]).to_owned(),
        );
        let writes = [Write::Update(raise), Write::Insert(insert), changed(entry, false)?];
        self.write(&writes).await.map(drop)
    }

    /// Lifts a ban; `false` where there was none.
    pub async fn unban(&self, lift: &Lift<'_>) -> Result<bool, DatabaseError> {
        let kind_is = Expr::col("kind").eq(lift.kind.as_str());
        let value_is = Expr::col("value").eq(lift.value);
        let mut there = Query::select();
        there
            .expr(Uuid::now_v7().to_string())
            .expr(ChangeAction::Lifted.as_str())
            .column("kind")
            .column("value")
            .expr(cut(lift.reason, WORDS))
            .expr(cut_characters(lift.by, 128))
            .expr(Option::<i64>::None)
            .expr(lift.now)
            .expr(0)
            .from("sms_blacklist")
            .and_where(kind_is.clone())
            .and_where(value_is.clone());
        let mut change = Query::insert();
        change.into_table("sms_blacklist_change").columns(CHANGE_COLUMNS);
        change.select_from(there).map_err(refused)?;
        let mut delete = Query::delete();
        delete.from_table("sms_blacklist").and_where(kind_is).and_where(value_is);
        let touched = self.write(&[Write::Insert(change), Write::Delete(delete)]).await?;
        Ok(touched.last().is_some_and(|rows| *rows > 0))
    }

    /// Bans on a kind and value that came by themselves, from `since` on, newest first; at most 100.
    pub async fn bans_by_itself(
        &self,
        kind: BanKind,
        value: &str,
        since: i64,
    ) -> Result<Vec<BlacklistChange>, DatabaseError> {
        let mut select = changes(100);
        select
            .and_where(Expr::col("kind").eq(kind.as_str()))
            .and_where(Expr::col("value").eq(value))
            .and_where(Expr::col("create_time").gte(since))
            .and_where(Expr::col("action").eq(ChangeAction::Banned.as_str()))
            .and_where(Expr::col("changed_by").eq(BY_ITSELF));
        Ok(self
            .fetch::<ChangeRead>(&select)
            .await?
            .into_iter()
            .filter_map(ChangeRead::read)
            .collect())
    }

    /// What changed on the blacklist, newest first, at most `limit`, before (`create_time`, id) `after`.
    pub async fn blacklist_changes(
        &self,
        after: Option<(i64, &str)>,
        limit: u64,
    ) -> Result<Vec<BlacklistChange>, DatabaseError> {
        let mut select = changes(limit);
        if let Some((create_time, id)) = after {
            select.and_where(before(create_time, id));
        }
        Ok(self
            .fetch::<ChangeRead>(&select)
            .await?
            .into_iter()
            .filter_map(ChangeRead::read)
            .collect())
    }
}

fn changes(limit: u64) -> sea_query::SelectStatement {
    let mut select = Query::select();
    select
        .columns(CHANGE_COLUMNS)
        .from("sms_blacklist_change")
        .order_by("create_time", Order::Desc)
        .order_by("id", Order::Desc)
        .limit(limit);
    select
}

fn inserted(entry: &BlacklistEntry) -> Result<InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    insert.into_table("sms_blacklist").columns(COLUMNS);
    let values: [Expr; 6] = [
        entry.kind.as_str().into(),
        entry.value.clone().into(),
        cut(&entry.reason, WORDS).into(),
        cut_characters(&entry.created_by, 128).into(),
        entry.until.into(),
        entry.create_time.into(),
    ];
    insert.values(values).map_err(refused)?;
    Ok(insert)
}

fn changed(entry: &BlacklistEntry, forced: bool) -> Result<Write, DatabaseError> {
    let mut insert = Query::insert();
    insert.into_table("sms_blacklist_change").columns(CHANGE_COLUMNS);
    let values: [Expr; 9] = [
        Uuid::now_v7().to_string().into(),
        ChangeAction::Banned.as_str().into(),
        entry.kind.as_str().into(),
        entry.value.clone().into(),
        cut(&entry.reason, WORDS).into(),
        cut_characters(&entry.created_by, 128).into(),
        entry.until.into(),
        entry.create_time.into(),
        i32::from(forced).into(),
    ];
    insert.values(values).map_err(refused)?;
    Ok(Write::Insert(insert))
}
