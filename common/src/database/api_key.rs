//! `api_key`: long-lived keys, each with scopes, networks and perhaps an end. They are loaded with their account, and
//! making or deleting one raises its version, so that every process has them right with the next request.

use std::sync::Arc;

use ipnet::IpNet;
use sea_query::{Expr, ExprTrait as _, Order, Query};

use super::error::{refused, unreadable};
use super::revocation::change_of;
use super::statement::Write;
use super::{Database, DatabaseError};

/// Keys of an account at the most: every process that knows it carries them in memory.
pub const MOST: i64 = 100;

/// What an account may know of one of its keys: never the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    /// Its first characters, to know it by.
    pub hint: String,
    /// SHA-256 of the key, in hex.
    pub hash: String,
    /// Words with spaces between.
    pub scopes: String,
    /// Whether what it sends goes to the sandbox.
    pub test: bool,
    /// Where it may be used from; empty: from anywhere.
    pub networks: Vec<IpNet>,
    /// Unix milliseconds, like the following; `None`: never.
    pub expires_at: Option<i64>,
    /// To a minute or so, as it was when this was read.
    pub last_used: Option<i64>,
    pub create_time: i64,
}

const COLUMNS: [&str; 11] = [
    "id",
    "account_id",
    "name",
    "hint",
    "hash",
    "scopes",
    "test",
    "networks",
    "expires_at",
    "last_used",
    "create_time",
];

#[derive(sqlx::FromRow)]
struct ApiKeyRead {
    id: String,
    name: String,
    hint: String,
    hash: String,
    scopes: String,
    test: i32,
    networks: String,
    expires_at: Option<i64>,
    last_used: Option<i64>,
    create_time: i64,
}

#[derive(sqlx::FromRow)]
struct AccountOfKey {
    account_id: i64,
}

impl Database {
    /// Keeps a new key of an account, whose version rises. `false`: the account has [`MOST`] already.
    pub async fn add_api_key(&self, account_id: i64, key: &ApiKey) -> Result<bool, DatabaseError> {
        let mut count = Query::select();
        count.expr(Expr::col("id").count()).from("api_key");
        count.and_where(Expr::col("account_id").eq(account_id));
        let networks: Vec<_> = key.networks.iter().map(IpNet::to_string).collect();
        let values: [Expr; 11] = [
            key.id.clone().into(),
            account_id.into(),
            key.name.clone().into(),
            key.hint.clone().into(),
            key.hash.clone().into(),
            key.scopes.clone().into(),
            i32::from(key.test).into(),
            networks.join(",").into(),
            key.expires_at.into(),
            key.last_used.into(),
            key.create_time.into(),
        ];
        let mut row = Query::select();
        row.exprs(values).from("account").and_where(Expr::col("id").eq(account_id));
        row.and_where(Expr::SubQuery(None, Box::new(count.into())).lt(MOST));
        let mut insert = Query::insert();
        insert.into_table("api_key").columns(COLUMNS).select_from(row).map_err(refused)?;
        // The account first: who adds at the same time waits for its row, and counts this key too.
        let change = change_of(account_id, key.create_time);
        let touched = self.write(&[Write::Update(change), Write::Insert(insert)]).await?;
        Ok(touched.get(1).is_some_and(|rows| *rows > 0))
    }

    /// Deletes a key of an account, whose version rises; `false` where it has no such key.
    pub async fn delete_api_key(
        &self,
        account_id: i64,
        id: &str,
        now: i64,
    ) -> Result<bool, DatabaseError> {
        let mut delete = Query::delete();
        delete
            .from_table("api_key")
            .and_where(Expr::col("id").eq(id))
            .and_where(Expr::col("account_id").eq(account_id));
        let change = change_of(account_id, now);
        let touched = self.write(&[Write::Update(change), Write::Delete(delete)]).await?;
        Ok(touched.get(1).is_some_and(|rows| *rows > 0))
    }

    /// An account's keys, oldest first.
    pub async fn api_keys(&self, account_id: i64) -> Result<Vec<Arc<ApiKey>>, DatabaseError> {
        let mut select = Query::select();
        select
            .columns(COLUMNS)
            .from("api_key")
            .and_where(Expr::col("account_id").eq(account_id))
            .order_by("create_time", Order::Asc)
            .order_by("id", Order::Asc);
        let rows = self.fetch::<ApiKeyRead>(&select).await?;
        rows.into_iter().map(|row| row.read().map(Arc::new)).collect()
    }

    /// Whose key has this hash.
    pub async fn account_of_api_key(&self, hash: &str) -> Result<Option<i64>, DatabaseError> {
        let mut select = Query::select();
        select.column("account_id").from("api_key").and_where(Expr::col("hash").eq(hash));
        let rows = self.fetch::<AccountOfKey>(&select).await?;
        Ok(rows.first().map(|row| row.account_id))
    }

    /// Writes when keys (by id) were last used, unless a later time is there. No account's version rises.
    pub async fn set_last_used(&self, used: &[(String, i64)]) -> Result<(), DatabaseError> {
        let mut used = used.to_vec();
        // In one order: two processes with the same keys wait for each other, and don't deadlock.
        used.sort_unstable();
        let writes = used.into_iter().map(|(id, at)| {
            let mut update = Query::update();
            update.table("api_key").value("last_used", at).and_where(Expr::col("id").eq(id));
            let earlier = Expr::col("last_used").lt(at);
            update.and_where(Expr::col("last_used").is_null().or(earlier));
            Write::Update(update)
        });
        self.write(&writes.collect::<Vec<_>>()).await.map(drop)
    }
}

impl ApiKeyRead {
    /// A network that can't be read must not turn into "from anywhere".
    fn read(self) -> Result<ApiKey, DatabaseError> {
        let networks = self.networks.split(',').filter(|text| !text.is_empty());
        Ok(ApiKey {
            networks: networks.map(str::parse).collect::<Result<_, _>>().map_err(unreadable)?,
            id: self.id,
            name: self.name,
            hint: self.hint,
            hash: self.hash,
            scopes: self.scopes,
            test: self.test != 0,
            expires_at: self.expires_at,
            last_used: self.last_used,
            create_time: self.create_time,
        })
    }
}
