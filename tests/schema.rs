//! The migrations make the same tables on all three engines: columns, keys, indexes, and the readable view.

use std::collections::BTreeMap;

use postrider_common::database::Database;
use postrider_common::sqlite::Sqlite;
use secrecy::SecretString;

use crate::harness::services;

const VIEW: &str = "sms_log_readable";

/// What is not for all engines: sqlx's own table, and the embedded form's store and queue.
const APART: [&str; 3] = ["_sqlx_migrations", "store_", "queue_"];

/// Table, column, type, whether it may be null; in the table's order.
type ColumnFound = (String, String, String, i64);
/// Table, index, whether it is unique, whether it is the primary key, column; in the index's order.
type IndexFound = (String, String, i64, i64, String);

#[derive(Debug, Default, PartialEq)]
struct Table {
    columns: Vec<Column>,
    primary_key: Vec<String>,
    indexes: BTreeMap<String, Index>,
}

#[derive(Debug, PartialEq)]
struct Column {
    name: String,
    kind: Kind,
    nullable: bool,
}

#[derive(Debug, Default, PartialEq)]
struct Index {
    unique: bool,
    columns: Vec<String>,
}

/// SQLite has one kind of number, of 64 bits; so the widths are compared between the other two alone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number { bits: u8 },
}

#[derive(Debug, Default, PartialEq)]
struct Schema {
    tables: BTreeMap<String, Table>,
    /// The readable view's columns.
    view: Vec<String>,
}

#[tokio::test]
async fn the_schema_is_alike_on_every_engine() {
    let folder = tempfile::tempdir().unwrap();
    let (postgres_server, mariadb_server) = (services::postgres().await, services::mariadb().await);
    let sqlite = sqlite(&folder.path().join("test.db")).await;
    let postgres = postgres(postgres_server.url()).await;
    let mariadb = mariadb(mariadb_server.url()).await;

    let names: Vec<_> = sqlite.tables.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "account",
            "api_key",
            "dead_letter",
            "ledger_entry",
            "revocation",
            "sms_attempt",
            "sms_blacklist",
            "sms_blacklist_change",
            "sms_log",
            "sms_refusal",
        ]
    );
    let columns: Vec<_> = sqlite.tables["sms_log"].columns.iter().map(|c| &c.name).collect();
    assert_eq!(sqlite.view.iter().collect::<Vec<_>>(), columns, "the view shows every column");

    assert_eq!(postgres, mariadb);
    assert_eq!(widened(sqlite), widened(postgres));
}

/// Every number as SQLite has it.
fn widened(mut schema: Schema) -> Schema {
    let columns = schema.tables.values_mut().flat_map(|table| &mut table.columns);
    for column in columns.filter(|column| matches!(column.kind, Kind::Number { .. })) {
        column.kind = Kind::Number { bits: 64 };
    }
    schema
}

async fn sqlite(path: &std::path::Path) -> Schema {
    const COLUMNS: &str = r#"SELECT m.name, c.name, c.type, c."notnull" = 0
        FROM sqlite_schema m JOIN pragma_table_info(m.name) c
        WHERE m.type IN ('table', 'view') ORDER BY m.name, c.cid"#;
    // A table's `INTEGER PRIMARY KEY` is no index, hence the second half.
    const INDEXES: &str = r#"SELECT * FROM (
            SELECT m.name, i.name, i."unique", 0, c.name FROM sqlite_schema m
            JOIN pragma_index_list(m.name) i JOIN pragma_index_info(i.name) c
            WHERE m.type = 'table' AND i.origin <> 'pk' ORDER BY i.name, c.seqno)
        UNION ALL SELECT * FROM (
            SELECT m.name, 'primary', 1, 1, c.name FROM sqlite_schema m
            JOIN pragma_table_info(m.name) c
            WHERE m.type = 'table' AND c.pk > 0 ORDER BY m.name, c.pk)"#;
    let database = Sqlite::open(path).await.unwrap();
    Database::sqlite(database.clone()).migrate().await.unwrap();
    let columns = sqlx::query_as(COLUMNS).fetch_all(database.readers()).await.unwrap();
    let indexes = sqlx::query_as(INDEXES).fetch_all(database.readers()).await.unwrap();
    schema(columns, indexes)
}

async fn postgres(url: &str) -> Schema {
    const COLUMNS: &str = "SELECT table_name::text, column_name::text, data_type::text,
            CASE is_nullable WHEN 'YES' THEN 1::bigint ELSE 0 END
        FROM information_schema.columns WHERE table_schema = 'public'
        ORDER BY table_name, ordinal_position";
    const INDEXES: &str = "SELECT t.relname::text, i.relname::text, x.indisunique::int::bigint,
            x.indisprimary::int::bigint, a.attname::text
        FROM pg_index x
        JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
        CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number
        WHERE t.relnamespace = 'public'::regnamespace ORDER BY i.relname, k.place";
    let database = Database::new(&SecretString::from(url), 2).unwrap();
    database.migrate().await.unwrap();
    let Database::Postgres(pool) = &database else { panic!("not PostgreSQL") };
    let columns = sqlx::query_as(COLUMNS).fetch_all(pool).await.unwrap();
    schema(columns, sqlx::query_as(INDEXES).fetch_all(pool).await.unwrap())
}

async fn mariadb(url: &str) -> Schema {
    const COLUMNS: &str =
        "SELECT table_name, column_name, CAST(data_type AS CHAR), is_nullable = 'YES'
        FROM information_schema.columns WHERE table_schema = DATABASE()
        ORDER BY table_name, ordinal_position";
    const INDEXES: &str =
        "SELECT table_name, index_name, non_unique = 0, index_name = 'PRIMARY', column_name
        FROM information_schema.statistics WHERE table_schema = DATABASE()
        ORDER BY table_name, index_name, seq_in_index";
    // Every text is compared by its code points, and every table rolls back.
    const ODD: &str = "SELECT table_name FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'
            AND table_name <> '_sqlx_migrations'
            AND (engine <> 'InnoDB' OR table_collation <> 'utf8mb4_bin')";
    let database = Database::new(&SecretString::from(url), 2).unwrap();
    database.migrate().await.unwrap();
    let Database::Mysql(pool) = &database else { panic!("not MariaDB") };
    let odd: Vec<String> = sqlx::query_scalar(ODD).fetch_all(pool).await.unwrap();
    assert!(odd.is_empty(), "{odd:?}");
    let columns = sqlx::query_as(COLUMNS).fetch_all(pool).await.unwrap();
    schema(columns, sqlx::query_as(INDEXES).fetch_all(pool).await.unwrap())
}

fn schema(columns: Vec<ColumnFound>, indexes: Vec<IndexFound>) -> Schema {
    let mut schema = Schema::default();
    let apart = |table: &str| APART.iter().any(|prefix| table.starts_with(prefix));
    for (table, name, kind, nullable) in columns {
        if table == VIEW {
            schema.view.push(name);
        } else if !apart(&table) && !table.starts_with("sqlite_") {
            let column = Column { name, kind: kind_of(&kind), nullable: nullable == 1 };
            schema.tables.entry(table).or_default().columns.push(column);
        }
    }
    for (table, name, unique, primary, column) in indexes {
        let Some(table) = schema.tables.get_mut(&table) else { continue };
        if primary == 1 {
            table.primary_key.push(column);
        } else {
            let index = table.indexes.entry(name).or_default();
            index.unique = unique == 1;
            index.columns.push(column);
        }
    }
    schema
}

fn kind_of(name: &str) -> Kind {
    match name.to_lowercase().as_str() {
        "text" | "char" | "varchar" | "mediumtext" => Kind::Text,
        "bigint" => Kind::Number { bits: 64 },
        "integer" | "int" => Kind::Number { bits: 32 },
        other => panic!("no table has a column of {other}"),
    }
}
