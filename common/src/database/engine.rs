//! One database, whichever engine it is: its pool, and its migrations.

use std::str::FromStr as _;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

use super::DatabaseError;
use super::statement::{fetch_in_transaction, in_time};
use crate::sqlite::Sqlite;

/// How long a caller waits for a connection: an outage is to be noticed, not waited out.
const ACQUIRE: Duration = Duration::from_secs(2);

const POOLED: &str = "DATABASE_URL leads to a pooler of transactions, such as PgBouncer in transaction mode, and migrate \
                      takes a lock of the session: run it with the URL of the server itself";

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");
static MYSQL: Migrator = sqlx::migrate!("../migrations/mysql");

#[derive(Debug, Clone)]
pub enum Database {
    Sqlite(Sqlite),
    Postgres(sqlx::PgPool),
    Mysql(sqlx::MySqlPool),
}

/// Returns whether sessions get mixed up: of two connections one sees the other's setting, or loses its own.
async fn is_pooled(pool: &sqlx::PgPool) -> Result<bool, DatabaseError> {
    const SET: &str = "SELECT set_config('postrider.session', $1, false)";
    const GET: &str = "SELECT current_setting('postrider.session', true)";
    let options = pool.connect_options();
    let connect = async || {
        let connected = PgConnection::connect_with(&options).await;
        connected.map_err(|error| DatabaseError::of_connecting(&error))
    };
    let (mut one, mut other) = (connect().await?, connect().await?);
    let mark = uuid::Uuid::now_v7().to_string();
    let mut transaction = one.begin().await?;
    sqlx::query(SET).bind(&mark).persistent(false).execute(&mut *transaction).await?;
    transaction.commit().await?;
    // While it is open its connection to the server is nobody else's.
    let mut held = other.begin().await?;
    let seen: Option<String> =
        sqlx::query_scalar(GET).persistent(false).fetch_one(&mut *held).await?;
    if seen.as_ref() == Some(&mark) {
        return Ok(true);
    }
    let mut transaction = one.begin().await?;
    let own: Option<String> =
        sqlx::query_scalar(GET).persistent(false).fetch_one(&mut *transaction).await?;
    Ok(own != Some(mark))
}

impl Database {
    /// Makes the pool without connecting; `postgres://`, `mysql://` or `mariadb://`.
    pub fn new(url: &SecretString, max_connections: u32) -> Result<Self, DatabaseError> {
        let text = url.expose_secret();
        // The parser's own words may repeat the URL, and with it the password.
        let unreadable = |_| DatabaseError::Refused("DATABASE_URL can't be read".to_owned());
        if text.starts_with("postgres") {
            let options = PgConnectOptions::from_str(text).map_err(unreadable)?;
            // `PgBouncer` takes no such parameter, and nothing here is a float.
            let options = options.extra_float_digits(None);
            let pool =
                PgPoolOptions::new().max_connections(max_connections).acquire_timeout(ACQUIRE);
            return Ok(Self::Postgres(pool.connect_lazy_with(options)));
        }
        let text = text.replacen("mariadb://", "mysql://", 1);
        let options = MySqlConnectOptions::from_str(&text).map_err(unreadable)?;
        let pool =
            MySqlPoolOptions::new().max_connections(max_connections).acquire_timeout(ACQUIRE);
        Ok(Self::Mysql(pool.connect_lazy_with(options)))
    }

    #[must_use]
    pub fn sqlite(sqlite: Sqlite) -> Self {
        Self::Sqlite(sqlite)
    }

    /// Applies the migrations that aren't applied yet. `PostgreSQL` must not be behind a pooler of transactions: a lock of
    /// the session keeps out others that migrate.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let applied = match self {
            Self::Sqlite(sqlite) => SQLITE.run(&mut sqlite.connect().await?).await,
            Self::Postgres(pool) => {
                if is_pooled(pool).await? {
                    return Err(DatabaseError::Unavailable(POOLED.to_owned()));
                }
                POSTGRES.run(pool).await
            }
            Self::Mysql(pool) => MYSQL.run(pool).await,
        };
        Ok(applied?)
    }

    /// Answers where every migration of this binary is applied and, embedded, where the file takes writes. Newer migrations
    /// may be there too: a newer binary is being rolled out.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        if let Self::Sqlite(sqlite) = self {
            sqlite.check_writes().await?;
        }
        let applied: Vec<i64> = in_time(self.applied()).await?;
        let known = match self {
            Self::Sqlite(_) => &SQLITE,
            Self::Postgres(_) => &POSTGRES,
            Self::Mysql(_) => &MYSQL,
        };
        if known.iter().all(|migration| applied.contains(&migration.version)) {
            return Ok(());
        }
        Err(DatabaseError::TablesMissing("a newer schema is needed".to_owned()))
    }

    /// The versions of the migrations that are applied.
    async fn applied(&self) -> Result<Vec<i64>, DatabaseError> {
        const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";
        let applied: Vec<(i64,)> = match self {
            Self::Sqlite(sqlite) => sqlx::query_as(APPLIED).fetch_all(sqlite.readers()).await?,
            Self::Postgres(pool) => {
                let query = sqlx::query_as(APPLIED).persistent(false);
                fetch_in_transaction(pool, query).await?
            }
            Self::Mysql(pool) => sqlx::query_as(APPLIED).fetch_all(pool).await?,
        };
        Ok(applied.into_iter().map(|(version,)| version).collect())
    }

    /// Whether conflicts are said the way of MySQL.
    pub(super) fn is_mysql(&self) -> bool {
        matches!(self, Self::Mysql(_))
    }
}
