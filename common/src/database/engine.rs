//! One database, whichever engine it is: pools, migrations, and how a statement is run on each.

use std::str::FromStr as _;
use std::time::Duration;

use futures::future::BoxFuture;
use sea_query::{
    InsertStatement, MysqlQueryBuilder, PostgresQueryBuilder, SelectStatement, SqliteQueryBuilder,
    UpdateStatement,
};
use sea_query_sqlx::{SqlxBinder as _, SqlxValues};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

use crate::sqlite::Sqlite;

/// How long a caller waits for a connection: an outage is to be noticed, not waited out.
const ACQUIRE: Duration = Duration::from_secs(2);

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");
static MYSQL: Migrator = sqlx::migrate!("../migrations/mysql");

#[derive(Debug, Clone)]
pub enum Database {
    Sqlite(Sqlite),
    Postgres(sqlx::PgPool),
    Mysql(sqlx::MySqlPool),
}

/// Why nothing was read or written.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It may work later: keep what was to be written, and try again.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// It will not work later either.
    #[error("the database refused: {0}")]
    Refused(String),
}

/// A row that reads alike from all three.
pub(super) trait AnyRow:
    for<'r> FromRow<'r, SqliteRow>
    + for<'r> FromRow<'r, PgRow>
    + for<'r> FromRow<'r, MySqlRow>
    + Send
    + Unpin
{
}

impl<T> AnyRow for T where
    T: for<'r> FromRow<'r, SqliteRow>
        + for<'r> FromRow<'r, PgRow>
        + for<'r> FromRow<'r, MySqlRow>
        + Send
        + Unpin
{
}

/// A statement that writes.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Insert(InsertStatement),
    Update(UpdateStatement),
    Delete(sea_query::DeleteStatement),
}

impl Database {
    /// Makes the pool without connecting; `postgres://`, `mysql://` or `mariadb://`.
    pub fn new(url: &SecretString, max_connections: u32) -> Result<Self, DatabaseError> {
        let text = url.expose_secret();
        // The parser's own words may repeat the URL, and with it the password.
        let unreadable = |_| DatabaseError::Refused("DATABASE_URL can't be read".to_owned());
        if text.starts_with("postgres") {
            let options = PgConnectOptions::from_str(text).map_err(unreadable)?;
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

    /// Applies the migrations that aren't applied yet.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let applied = match self {
            Self::Sqlite(sqlite) => SQLITE.run(&mut sqlite.connect().await?).await,
            Self::Postgres(pool) => POSTGRES.run(pool).await,
            Self::Mysql(pool) => MYSQL.run(pool).await,
        };
        applied.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => DatabaseError::Refused(other.to_string()),
        })
    }

    /// Answers if every migration of this binary is applied.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        const COUNT: &str = "SELECT count(*) FROM _sqlx_migrations";
        let (applied, known): (i64, &Migrator) = match self {
            Self::Sqlite(sqlite) => {
                (sqlx::query_scalar(COUNT).fetch_one(sqlite.readers()).await?, &SQLITE)
            }
            Self::Postgres(pool) => (sqlx::query_scalar(COUNT).fetch_one(pool).await?, &POSTGRES),
            Self::Mysql(pool) => (sqlx::query_scalar(COUNT).fetch_one(pool).await?, &MYSQL),
        };
        if usize::try_from(applied).unwrap_or(0) < known.iter().count() {
            return Err(DatabaseError::Refused(
                "migrations are missing: run `postrider-api migrate`".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether conflicts are said the way of MySQL.
    pub(super) fn is_mysql(&self) -> bool {
        matches!(self, Self::Mysql(_))
    }

    pub(super) async fn fetch<R: AnyRow + 'static>(
        &self,
        select: &SelectStatement,
    ) -> Result<Vec<R>, DatabaseError> {
        let rows = match self {
            Self::Sqlite(sqlite) => {
                let (sql, values) = select.build_sqlx(SqliteQueryBuilder);
                sqlx::query_as_with(AssertSqlSafe(sql), values).fetch_all(sqlite.readers()).await?
            }
            Self::Postgres(pool) => {
                let (sql, values) = select.build_sqlx(PostgresQueryBuilder);
                sqlx::query_as_with(AssertSqlSafe(sql), values).fetch_all(pool).await?
            }
            Self::Mysql(pool) => {
                let (sql, values) = select.build_sqlx(MysqlQueryBuilder);
                sqlx::query_as_with(AssertSqlSafe(sql), values).fetch_all(pool).await?
            }
        };
        Ok(rows)
    }

    /// Runs statements in one transaction; gives the rows that each touched.
    pub(super) async fn write(&self, writes: &[Write]) -> Result<Vec<u64>, DatabaseError> {
        match self {
            Self::Sqlite(sqlite) => {
                let built: Vec<_> = writes.iter().map(|w| w.build(SqliteQueryBuilder)).collect();
                let written = sqlite.write(move |connection| {
                    let built = built.clone();
                    Box::pin(async move {
                        let mut touched = Vec::with_capacity(built.len());
                        for (sql, values) in built {
                            let query = sqlx::query_with(AssertSqlSafe(sql), values);
                            touched.push(query.execute(&mut *connection).await?.rows_affected());
                        }
                        Ok(touched)
                    }) as BoxFuture<'_, _>
                });
                written.await.map_err(|error| DatabaseError::Unavailable(error.to_string()))
            }
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                let mut touched = Vec::with_capacity(writes.len());
                for (sql, values) in writes.iter().map(|w| w.build(PostgresQueryBuilder)) {
                    let query = sqlx::query_with(AssertSqlSafe(sql), values);
                    touched.push(query.execute(&mut *transaction).await?.rows_affected());
                }
                transaction.commit().await?;
                Ok(touched)
            }
            Self::Mysql(pool) => {
                let mut transaction = pool.begin().await?;
                let mut touched = Vec::with_capacity(writes.len());
                for (sql, values) in writes.iter().map(|w| w.build(MysqlQueryBuilder)) {
                    let query = sqlx::query_with(AssertSqlSafe(sql), values);
                    touched.push(query.execute(&mut *transaction).await?.rows_affected());
                }
                transaction.commit().await?;
                Ok(touched)
            }
        }
    }
}

impl Write {
    fn build<B: sea_query::QueryBuilder>(&self, builder: B) -> (String, SqlxValues) {
        match self {
            Self::Insert(statement) => statement.build_sqlx(builder),
            Self::Update(statement) => statement.build_sqlx(builder),
            Self::Delete(statement) => statement.build_sqlx(builder),
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        let passing = match &error {
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed => true,
            // Connection exceptions, deadlocks and serialisation, out of resources, shut down, not up yet, and
            // a table that a migration is yet to make; then MariaDB's lock wait, deadlock, read-only.
            Error::Database(database) => database.code().is_some_and(|code| {
                ["08", "40", "53", "57", "58", "70100", "HY000", "42P01", "42S02"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }),
            _ => false,
        };
        if passing {
            Self::Unavailable(error.to_string())
        } else {
            Self::Refused(error.to_string())
        }
    }
}

impl From<crate::sqlite::SqliteError> for DatabaseError {
    fn from(error: crate::sqlite::SqliteError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
