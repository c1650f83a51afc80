//! The meaning of an engine's error: whether the data that was to be written is at fault, or anything else, which passes.

use std::fmt::Write as _;

use sqlx::error::DatabaseError as EngineError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::SqliteError as SqliteEngineError;

/// The reason why nothing was read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// No connection, or no answer on it. Try again later.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// An answer that isn't known to be the data's fault, so that it may work later: read-only, a full disk, a missing
    /// table, and every error that no list here has. Try again later.
    #[error("the database failed: {0}")]
    Failed(String),
    /// The data itself is wrong: a constraint, a value out of range. The same data will be refused again.
    #[error("the database refused the data: {0}")]
    Refused(String),
    /// A table or a column isn't there: the schema is older than this binary. Try again later.
    #[error("migrations are missing ({0}): run `postrider-api migrate`")]
    TablesMissing(String),
}

/// Classes of SQLSTATE about the data: data exceptions and integrity constraints.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const POSTGRES_DATA: [&str; 2] = ["22", "23"];

/// The same by number, since MySQL's and MariaDB's SQLSTATE is mostly `HY000`.
/// <https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference>
const MYSQL_DATA: [u16; 23] = [
    1048, // no NULL here
    1062, 1169, 1557, 1586, 1761, 1762, 1859, // a key twice
    1216, 1217, 1451, 1452, // foreign keys
    1264, 1690, // out of range
    1265, 1292, 1366, 1367, 1411, // a value of another type
    1300, // text that isn't UTF-8
    1406, // too long
    3819, 4025, // a check constraint, of MySQL and of MariaDB
];

/// `SQLite`'s primary codes: too big, constraint, mismatch, out of range.
/// <https://www.sqlite.org/rescode.html>
const SQLITE_DATA: [i32; 4] = [18, 19, 20, 25];

impl DatabaseError {
    /// Classifies an error of a statement or a commit.
    pub(super) fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error;
        match error {
            Error::Io(_)
            | Error::Tls(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            Error::Database(error) if is_about_data(error.as_ref()) => {
                Self::Refused(cause(error.as_ref()))
            }
            Error::Database(error) if is_about_schema(error.as_ref()) => {
                Self::TablesMissing(cause(error.as_ref()))
            }
            Error::Database(error) => Self::Failed(cause(error.as_ref())),
            // A value that the driver can't say.
            Error::Encode(_) => Self::Refused(without_values(&error.to_string())),
            other => Self::Failed(without_values(&other.to_string())),
        }
    }

    /// Classifies an error of a connection that was to be made: whatever it says, no data was looked at.
    pub(super) fn of_connecting(error: &sqlx::Error) -> Self {
        match Self::of(error) {
            Self::Unavailable(why)
            | Self::Failed(why)
            | Self::Refused(why)
            | Self::TablesMissing(why) => Self::Unavailable(why),
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::of(&error)
    }
}

fn is_about_data(error: &dyn EngineError) -> bool {
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return MYSQL_DATA.contains(&error.number());
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteEngineError>().is_some() {
        // The lowest byte of an extended code is the primary one.
        return code.parse::<i32>().is_ok_and(|code| SQLITE_DATA.contains(&(code & 0xff)));
    }
    POSTGRES_DATA.iter().any(|class| code.starts_with(class))
}

/// Whether a table or a column isn't there.
fn is_about_schema(error: &dyn EngineError) -> bool {
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return matches!(error.number(), 1054 | 1146);
    }
    let words = error.message();
    let code = error.code().unwrap_or_default();
    match error.try_downcast_ref::<SqliteEngineError>() {
        // Its code says no more than that something is wrong.
        Some(_) => {
            code == "1" && (words.starts_with("no such table") || words.contains("no column named"))
        }
        None => code == "42P01" || code == "42703",
    }
}

/// The error's code, constraint and words, without the values that some engines repeat in them.
fn cause(error: &dyn EngineError) -> String {
    let number =
        error.try_downcast_ref::<MySqlDatabaseError>().map(|error| error.number().to_string());
    let code =
        number.or_else(|| error.code().map(std::borrow::Cow::into_owned)).unwrap_or_default();
    let mut cause = format!("{code}: {}", without_values(error.message()));
    if let Some(constraint) = error.constraint() {
        let _written = write!(cause, " (constraint {constraint})");
    }
    cause
}

/// A text without what it quotes, unless that is a name: it may be a phone number.
fn without_values(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(start) = rest.find(['\'', '"']) {
        let (before, quoted) = rest.split_at(start);
        let quote = &quoted[..1];
        let Some(end) = quoted[1..].find(quote) else {
            kept.push_str(before);
            kept.push('…');
            return kept;
        };
        let value = &quoted[1..=end];
        kept.push_str(before);
        kept.push_str(quote);
        kept.push_str(if is_name(value) { value } else { "…" });
        kept.push_str(quote);
        rest = &quoted[end + 2..];
    }
    kept.push_str(rest);
    kept
}

/// Names of tables, columns and constraints, also qualified.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

impl From<sqlx::migrate::MigrateError> for DatabaseError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// The embedded writer's own errors: it couldn't begin or commit, or it has ended.
impl From<crate::sqlite::SqliteError> for DatabaseError {
    fn from(error: crate::sqlite::SqliteError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The error of what can't be built.
pub(super) fn refused(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Refused(error.to_string())
}

/// The error of what is in a table and can't be understood.
pub(super) fn unreadable(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_an_error_and_values_do_not() {
        for (text, kept) in [
            (
                "new row for relation \"sms_log\" violates check constraint \"only_1\"",
                "new row for relation \"sms_log\" violates check constraint \"only_1\"",
            ),
            (
                "Duplicate entry '+8613800138000' for key 'sms_log.PRIMARY'",
                "Duplicate entry '…' for key 'sms_log.PRIMARY'",
            ),
            ("Incorrect value: '138001\" x", "Incorrect value: …"),
            (
                "CHECK constraint failed: phone <> '13800138000'",
                "CHECK constraint failed: phone <> '…'",
            ),
            ("it's full", "it…"),
        ] {
            assert_eq!(without_values(text), kept);
        }
    }
}
