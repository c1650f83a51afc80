//! `postrider-api purge`: deletes what is old, beside a running service.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use postrider_common::config::Config;
use postrider_common::database::purge::Kept;

use super::{duration, print};
use crate::http::clock::{as_ms, rfc3339, unix_ms};
use crate::server::backends;

const DAY: Duration = Duration::from_hours(24);

#[derive(Debug, Args)]
pub struct Asked {
    /// How long rows are kept: `90d`; at least `1d`.
    #[arg(long, value_parser = at_least_a_day)]
    older_than: Duration,
    /// Count what would be deleted, and delete nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What is younger may still be on its way, or be asked for by whoever sent it.
fn at_least_a_day(text: &str) -> Result<Duration, String> {
    let given = duration(text)?;
    if given < DAY { Err("at least 1d".to_owned()) } else { Ok(given) }
}

pub async fn run(config: &Config, asked: &Asked) -> anyhow::Result<()> {
    let (database, _) = backends::existing_tables_and_store(config).await?;
    let now = unix_ms();
    let before = now.saturating_sub(as_ms(asked.older_than));
    let said = if asked.dry_run { "to be deleted" } else { "deleted" };
    print(&format!("{said} from before {}:", rfc3339(before)))?;
    for what in Kept::ALL {
        // A token that has expired needs no revocation; the day is for clocks that differ.
        let before = if what == Kept::Revocations { now - as_ms(DAY) } else { before };
        let purged = database.purge(what, before, asked.dry_run).await.context(what.table())?;
        print(&line(purged.rows, what.table()))?;
        if what == Kept::Messages {
            print(&line(purged.attempts, "sms_attempt"))?;
        }
    }
    Ok(())
}

fn line(rows: u64, table: &str) -> String {
    format!("{rows:>12}  {table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_today_can_be_named() {
        assert_eq!(at_least_a_day("1d"), Ok(DAY));
        assert_eq!(at_least_a_day("90d"), Ok(DAY * 90));
        for text in ["23h 59m", "1s", "0d", "ninety", ""] {
            assert!(at_least_a_day(text).is_err(), "{text}");
        }
    }
}
