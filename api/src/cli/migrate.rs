//! `postrider-api migrate`: applies the migrations that aren't applied yet.

use anyhow::Context as _;
use postrider_common::config::Config;

use super::print;
use crate::server::backends;

pub async fn run(config: &Config) -> anyhow::Result<()> {
    let (database, _) = backends::tables_and_store(config).await?;
    database.migrate().await.context("migrating")?;
    print("every migration is applied")?;
    Ok(())
}
