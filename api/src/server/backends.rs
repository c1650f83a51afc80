//! Opens what the configuration names: for `serve`, and for commands that work beside a running one.

use std::path::Path;

use anyhow::Context as _;
use postrider_common::config::{Backends, Config};
use postrider_common::database::Database;
use postrider_common::runtime::data_dir;
use postrider_common::sqlite::Sqlite;
use postrider_common::store::Store;
use postrider_common::store::redis::RedisStore;
use postrider_common::store::sqlite::SqliteStore;

/// The one file of the embedded form.
const DATABASE_FILE: &str = "postrider.db";

/// Tables and code store of either form. A new embedded file gets its tables at once; the services of the
/// distributed form aren't spoken to yet.
pub async fn tables_and_store(config: &Config) -> anyhow::Result<(Database, Store)> {
    match &config.backends {
        Backends::Embedded { data_dir } => {
            let sqlite = open_embedded(data_dir).await?;
            Ok((Database::sqlite(sqlite.clone()), Store::Sqlite(SqliteStore::new(sqlite))))
        }
        Backends::Distributed { redis, database, .. } => {
            let most = config.settings.database.max_connections;
            let database = Database::new(database, most).context("DATABASE_URL")?;
            let store = RedisStore::new(redis).context("REDIS_URL")?;
            Ok((database, Store::Redis(store)))
        }
    }
}

/// The same for commands that look into what is there: they make no new embedded file, in which they would find nothing.
pub async fn existing_tables_and_store(config: &Config) -> anyhow::Result<(Database, Store)> {
    if let Backends::Embedded { data_dir } = &config.backends {
        let file = data_dir.join(DATABASE_FILE);
        anyhow::ensure!(
            file.exists(),
            "there is no {}: POSTRIDER_DATA_DIR says where the embedded form keeps its data; AMQP_URL, REDIS_URL and \
             DATABASE_URL make it the distributed one",
            file.display()
        );
    }
    tables_and_store(config).await
}

/// Opens the embedded database, with its tables; creates its folder where it doesn't exist.
pub async fn open_embedded(data_dir: &Path) -> anyhow::Result<Sqlite> {
    data_dir::create(data_dir).with_context(|| data_dir.display().to_string())?;
    let path = data_dir.join(DATABASE_FILE);
    let sqlite = Sqlite::open(&path).await.with_context(|| path.display().to_string())?;
    Database::sqlite(sqlite.clone()).migrate().await.context("migrating")?;
    Ok(sqlite)
}
