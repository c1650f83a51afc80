//! Every class of error that an engine has: the data's own fault, or a reason to try again.

use postrider_common::database::DatabaseError;
use postrider_common::sqlite::Sqlite;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, PgConnection, SqliteConnection};

use crate::harness::services;

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Data,
    Schema,
    Passing,
}

fn meaning(error: sqlx::Error) -> Meaning {
    match DatabaseError::from(error) {
        DatabaseError::Refused(_) => Meaning::Data,
        DatabaseError::TablesMissing(_) => Meaning::Schema,
        DatabaseError::Unavailable(_) | DatabaseError::Failed(_) => Meaning::Passing,
    }
}

/// Every class of PostgreSQL 15's appendix A, each by its first error, and some errors of their own.
const SQLSTATES: [&str; 51] = [
    "02000", "03000", "08000", "09000", "0A000", "0B000", "0F000", "0L000", "0P000", "0Z000",
    "20000", "21000", "22000", "23000", "24000", "25000", "26000", "27000", "28000", "2B000",
    "2D000", "2F000", "34000", "38000", "39000", "3B000", "3D000", "3F000", "40000", "42000",
    "44000", "53000", "54000", "55000", "57000", "58000", "72000", "F0000", "HV000", "P0001",
    "XX000", "22001", "22P05", "23502", "23514", "25006", "42501", "42P01", "42703", "55P03",
    "PR001",
];

#[tokio::test]
async fn every_class_of_postgres() {
    let server = services::postgres().await;
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    for state in SQLSTATES {
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$");
        let raised = sqlx::raw_sql(AssertSqlSafe(raise)).execute(&mut connection).await;
        let expected = match state {
            _ if state.starts_with("22") || state.starts_with("23") => Meaning::Data,
            "42P01" | "42703" => Meaning::Schema,
            _ => Meaning::Passing,
        };
        assert_eq!(meaning(raised.unwrap_err()), expected, "{state}");
    }
    let real = "CREATE TEMP TABLE one (n SMALLINT NOT NULL UNIQUE CHECK (n <> 3), t VARCHAR(2));
                INSERT INTO one VALUES (1, 'a')";
    sqlx::raw_sql(real).execute(&mut connection).await.unwrap();
    for values in ["1, 'a'", "NULL, 'a'", "3, 'a'", "70000, 'a'", "2, 'abc'"] {
        let insert = format!("INSERT INTO one VALUES ({values})");
        let refused = sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut connection).await;
        assert_eq!(meaning(refused.unwrap_err()), Meaning::Data, "{values}");
    }
}

#[tokio::test]
async fn every_number_of_mariadb() {
    let server = services::mariadb().await;
    let url = server.url().replace("mariadb://", "mysql://");
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let data = [
        1048, 1062, 1169, 1216, 1217, 1264, 1265, 1292, 1300, 1366, 1367, 1406, 1411, 1451, 1452,
        1557, 1586, 1690, 1761, 1762, 1859, 3819, 4025,
    ];
    // What servers and their clients number: the server's errors, MySQL 8's, MariaDB's own.
    let numbers = (1000..2000).chain(3000..3200).chain(3800..3900).chain(4000..4200);
    for number in numbers {
        let raise =
            format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'no'");
        let raised = sqlx::raw_sql(AssertSqlSafe(raise)).execute(&mut connection).await;
        let expected = match number {
            _ if data.contains(&number) => Meaning::Data,
            1054 | 1146 => Meaning::Schema,
            _ => Meaning::Passing,
        };
        assert_eq!(meaning(raised.unwrap_err()), expected, "{number}");
    }
    let real =
        "CREATE TABLE one (n SMALLINT NOT NULL UNIQUE, t VARCHAR(2), CONSTRAINT c CHECK (n <> 3))";
    sqlx::raw_sql(real).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("INSERT INTO one VALUES (1, 'a')").execute(&mut connection).await.unwrap();
    for values in ["1, 'a'", "NULL, 'a'", "3, 'a'", "70000, 'a'", "2, 'abc'", "'x', 'a'"] {
        let insert = format!("INSERT INTO one VALUES ({values})");
        let refused = sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut connection).await;
        assert_eq!(meaning(refused.unwrap_err()), Meaning::Data, "{values}");
    }
    sqlx::raw_sql("SET SESSION tx_read_only = 1").execute(&mut connection).await.unwrap();
    let read_only = sqlx::raw_sql("INSERT INTO one VALUES (2, 'a')").execute(&mut connection).await;
    assert_eq!(meaning(read_only.unwrap_err()), Meaning::Passing);
}

/// Statements that fail on a table `one`, one for each primary code of SQLite that a statement can be made to have.
const FAILING: [(&str, Meaning); 11] = [
    ("INSERT INTO one VALUES (1, 'a', 1)", Meaning::Data),
    ("INSERT INTO one VALUES (NULL, 'a', 1)", Meaning::Data),
    ("INSERT INTO one VALUES (3, 'a', 1)", Meaning::Data),
    ("INSERT INTO strict VALUES ('x')", Meaning::Data),
    ("INSERT INTO one (rowid, n) VALUES ('x', 5)", Meaning::Data),
    ("INSERT INTO one VALUES (4, 'a', zeroblob(2000000000))", Meaning::Data),
    ("INSERT INTO one VALUES (6, 'refuse', 1)", Meaning::Data),
    ("SELECT abs(-9223372036854775807 - 1)", Meaning::Passing),
    ("INSERT INTO none VALUES (1)", Meaning::Schema),
    ("INSERT INTO one (none) VALUES (1)", Meaning::Schema),
    ("nonsense", Meaning::Passing),
];

#[tokio::test]
async fn every_code_of_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let _writer = Sqlite::open(&path).await.unwrap();
    let url = format!("sqlite://{}", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let tables = "CREATE TABLE one (n INTEGER NOT NULL UNIQUE CHECK (n <> 3), t TEXT, b BLOB);
        CREATE TABLE strict (n INTEGER NOT NULL) STRICT;
        CREATE TRIGGER refuse BEFORE INSERT ON one WHEN NEW.t = 'refuse' BEGIN SELECT RAISE(ABORT, 'no'); END;
        INSERT INTO one VALUES (1, 'a', 1)";
    sqlx::raw_sql(tables).execute(&mut connection).await.unwrap();
    for (sql, expected) in FAILING {
        let failed = sqlx::query(sql).execute(&mut connection).await;
        assert_eq!(meaning(failed.unwrap_err()), expected, "{sql}");
    }
    let full = "PRAGMA max_page_count = 1; INSERT INTO one VALUES (7, 'a', zeroblob(1000000))";
    let full = sqlx::raw_sql(full).execute(&mut connection).await;
    assert_eq!(meaning(full.unwrap_err()), Meaning::Passing, "full");
    let mut reader = SqliteConnection::connect(&format!("{url}?mode=ro")).await.unwrap();
    let read_only = sqlx::raw_sql("DELETE FROM one").execute(&mut reader).await;
    assert_eq!(meaning(read_only.unwrap_err()), Meaning::Passing, "read-only");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    let busy = "PRAGMA busy_timeout = 0; BEGIN IMMEDIATE";
    let busy = sqlx::raw_sql(busy).execute(&mut other).await;
    assert_eq!(meaning(busy.unwrap_err()), Meaning::Passing, "busy");
    let none = SqliteConnection::connect("sqlite:///nowhere/at/all.db").await;
    assert_eq!(meaning(none.unwrap_err()), Meaning::Passing, "can't open");
}
