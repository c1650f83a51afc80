//! What an engine's error means: keep what was to be written and try again, or never again as it is.

use sqlx::error::DatabaseError as EngineError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::SqliteError as SqliteEngineError;

/// Why nothing was read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// It may work later: keep what was to be written, and try again.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// It will not work later either: what was asked is wrong, not the state of the database.
    #[error("the database refused: {0}")]
    Refused(String),
}

/// Classes and codes of SQLSTATE that pass: connection, log-in, no such database, rolled back, out of resources, not
/// available, operator's intervention, system; read-only (a replica during a fail-over), lock not available;
/// and what is put right by migrations or grants while rows wait: no such table or column, no privilege.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const POSTGRES: [&str; 13] =
    ["08", "28", "3D", "40", "53", "57", "58", "25006", "55P03", "42P01", "42703", "42501", "XX"];

/// The same by MySQL's and MariaDB's numbers, since their SQLSTATE is mostly `HY000`.
/// <https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference>
const MYSQL: [u16; 39] = [
    3,    // error writing a file
    1020, // the record has changed since it was read (MariaDB 11's snapshot isolation)
    1021, // disk full
    1026, // error writing a file
    1030, // the storage engine's own error
    1037, 1038, 1041, // out of memory
    1040, 1203, 1226, // too many connections, of all or of this user
    1042, 1043, 1047, // bad host, bad handshake, unknown command (a Galera node not ready)
    1044, 1045, 1049, 1129, 1130, 1142, 1143, 1698, // log-in, database, blocked host, grants
    1053, 1077, 1079, // shutting down
    1054, 1146, // no such column, no such table: before the migrations
    1114, // table full
    1158, 1159, 1160, 1161, // network
    1205, 1213, // lock wait, deadlock
    1290, 1836, // read-only
    1317, 1927, // the query or the connection was killed
    1969, // statement's time is up
];

/// `SQLite`'s primary codes: busy, locked, no memory, read-only, interrupted, I/O, full, can't open.
/// <https://www.sqlite.org/rescode.html>
const SQLITE: [i32; 8] = [5, 6, 7, 8, 9, 10, 13, 14];

impl DatabaseError {
    /// What an error means, without taking it.
    pub(super) fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error;
        let passing = match error {
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
            | Error::BeginFailed => true,
            Error::Database(error) => passes(error.as_ref()),
            _ => false,
        };
        if passing {
            Self::Unavailable(error.to_string())
        } else {
            Self::Refused(error.to_string())
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::of(&error)
    }
}

fn passes(error: &dyn EngineError) -> bool {
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return MYSQL.contains(&error.number());
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteEngineError>().is_some() {
        // The lowest byte of an extended code is the primary one.
        return code.parse::<i32>().is_ok_and(|code| SQLITE.contains(&(code & 0xff)));
    }
    POSTGRES.iter().any(|class| code.starts_with(class))
}

impl From<sqlx::migrate::MigrateError> for DatabaseError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// The embedded writer's own errors: it couldn't begin or commit, or it has ended.
impl From<crate::sqlite::SqliteError> for DatabaseError {
    fn from(error: crate::sqlite::SqliteError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What can't be built or can't be read back.
pub(super) fn refused(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Refused(error.to_string())
}
