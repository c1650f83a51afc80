//! log-size: carrying, and reading pages of messages, with ever more rows in `sms_log`; then purging beside carrying.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use hdrhistogram::Histogram;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::carrying::{carried, fill};
use super::{Common, evenness, floors, median, watch};
use crate::generator::Request;
use crate::latency::{self, Latency};
use crate::load::{clear, progress};
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;
use crate::timeline::Timeline;

/// Rows in one insert of those that are there before.
const AT_ONCE: u64 = 250_000;
/// Inserts at a time.
const HANDS: usize = 3;
const DAY_MS: u64 = 24 * 3_600_000;
/// The time over which the rows are spread.
const DAYS: u64 = 30;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rows there are, ever more of them.
    #[arg(long, value_delimiter = ',', default_value = "0,1000000,10000000")]
    rows: Vec<u64>,
    /// Jobs to carry, each time.
    #[arg(long, default_value_t = 30_000)]
    jobs: u64,
    /// Rounds of carrying them, of which the middle one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("log-size");
    let mut stage = Stage::distributed(Manner::takes(0), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    let mut database = stage.database().await?;
    let (mut there, mut rates) = (0, Vec::new());
    for rows in &options.rows {
        insert(&stage, &mut database, there..*rows).await?;
        there = *rows;
        clear();
        sqlx::query("VACUUM ANALYZE sms_log, sms_attempt").execute(&mut database).await?;
        sqlx::query("CHECKPOINT").execute(&mut database).await?;
        let mut carried = Vec::new();
        for _ in 0..options.rounds {
            carried.push(carry(&mut stage, options.jobs, &timeline).await?);
        }
        let rate = median(carried);
        let figure = Figure::new(format!("carried with {rows} rows"), rate, "/s");
        report.add(figure.of_floor("consume", floors.consume));
        rates.push(rate);
        for (what, path) in pages(&mut database).await? {
            let took = time(&stage, &path).await?;
            let name = format!("a page by {what} with {rows} rows, p99");
            report.add(Figure::new(name, took.p99, "ms").at_most(20.0));
        }
    }
    report.add(Figure::new("carrying: least of most", evenness(&rates), "").at_least(0.85));
    let days = days_to_purge(there);
    execute(&mut database, attempts(days)).await?;
    let mut purge = stage.api_command()?;
    purge.args(["purge", "--older-than", &format!("{}d", DAYS - days)]);
    let (begun, purge) = (Instant::now(), tokio::task::spawn_blocking(move || purge.output()));
    let rate = carry(&mut stage, options.jobs, &timeline).await?;
    let still = !purge.is_finished();
    let purged = purge.await??;
    ensure!(purged.status.success(), "{}", String::from_utf8_lossy(&purged.stderr));
    let took = begun.elapsed().as_secs_f64();
    let last = rates.last().copied().unwrap_or_default();
    report.add(Figure::new("carried beside a purge", rate, "/s").at_least(0.85 * last));
    report.add(Figure::new("the purge took", took, "s"));
    report.note(format!(
        "the purge was {} when the jobs were carried",
        if still { "still at work" } else { "over" }
    ));
    report.note(format!("carried: the median of {} rounds, beside the purge one", options.rounds));
    report.note(format!(
        "provider at 0 ms; rows over {DAYS} days, of which the purge deletes {days}"
    ));
    database.close().await?;
    report.points = timeline.points();
    Ok(report)
}

async fn carry(stage: &mut Stage, jobs: u64, timeline: &Timeline) -> anyhow::Result<f64> {
    fill(stage, Request::Code, jobs, timeline).await?;
    stage.add_worker(&[])?;
    let rate = carried(stage, jobs).await;
    stage.workers.clear();
    rate
}

/// Rows as workers write them, over the last days, of 200,000 phones. Indexes other than that of ids are made
/// afterwards: it takes half the time.
async fn insert(
    stage: &Stage,
    database: &mut PgConnection,
    rows: Range<u64>,
) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let indexes = "SELECT indexname::text, indexdef FROM pg_indexes
        WHERE tablename = 'sms_log' AND indexname <> 'sms_log_pkey'";
    let indexes: Vec<(String, String)> = sqlx::query_as(indexes).fetch_all(&mut *database).await?;
    for (name, _) in &indexes {
        execute(database, format!("DROP INDEX {name}")).await?;
    }
    let (all, to) = (rows.end - rows.start, rows.end);
    let pieces = rows.step_by(AT_ONCE as usize).map(|from| async move {
        progress(&format!("{from} of {to} rows"));
        let mut database = stage.database().await?;
        execute(&mut database, insertion(from, AT_ONCE.min(to - from), all)).await?;
        anyhow::Ok(database.close().await?)
    });
    futures::stream::iter(pieces).buffer_unordered(HANDS).try_collect::<Vec<()>>().await?;
    execute(database, "SET maintenance_work_mem = '512MB'".to_owned()).await?;
    for (name, definition) in indexes {
        progress(&format!("index {name}"));
        execute(database, definition).await?;
    }
    Ok(())
}

/// An insert of some of all rows, one after the other in time, as their ids are (`UUIDv7`).
fn insertion(from: u64, count: u64, all: u64) -> String {
    let (to, span) = (from + count - 1, DAYS * DAY_MS);
    format!(
        "INSERT INTO sms_log (id, account_id, verification_id, key_id, type, phone_number, code, purpose,
             template_code, client_ip, provider, provider_message_id, attempts, status, response, create_time, update_time)
         SELECT m.id, a.id, md5('v' || n)::uuid::text, '0a0b0c0d', 1,
             '+861380' || lpad((n * 7919 % 200000)::text, 7, '0'), repeat('s', 60), 'login', 'verify', '10.0.0.1',
             'main', '900619746936498440^0', 1, 1, repeat('r', 80), t.at, t.at + 60
         FROM account a, generate_series({from}::bigint, {to}::bigint) n,
             LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - {span} + n % {all} * {span} / {all} AS at) t,
             LATERAL (SELECT (lpad(to_hex(t.at), 12, '0') || '7' || right(md5('m' || n), 19))::uuid::text AS id) m
         WHERE a.username = 'shop'"
    )
}

/// An attempt of each message that the purge will delete.
fn attempts(days: u64) -> String {
    format!(
        "INSERT INTO sms_attempt (message_id, number, provider, outcome, at, duration_ms, provider_message_id)
         SELECT id, 1, 'main', 'accepted', create_time + 10, 50, provider_message_id FROM sms_log
         WHERE create_time < (extract(epoch FROM now()) * 1000)::bigint - {}
         ON CONFLICT DO NOTHING",
        (DAYS - days) * DAY_MS
    )
}

async fn execute(database: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::query(AssertSqlSafe(sql)).execute(database).await?;
    Ok(())
}

/// As many as hold a million rows, which is enough to carry beside, if there are that many.
fn days_to_purge(rows: u64) -> u64 {
    (DAYS * 1_000_000).div_ceil(rows.max(1)).clamp(1, DAYS - 2)
}

/// What pages are asked for by: the newest, those of one phone, those of a week in the middle.
async fn pages(database: &mut PgConnection) -> anyhow::Result<[(&'static str, String); 3]> {
    let day = "SELECT to_char(now() AT TIME ZONE 'UTC' - make_interval(days => $1), 'YYYY-MM-DD') || 'T00:00:00Z'";
    let mut days = Vec::new();
    for ago in [20, 13] {
        days.push(sqlx::query_scalar::<_, String>(day).bind(ago).fetch_one(&mut *database).await?);
    }
    Ok([
        ("account", "/v1/messages".to_owned()),
        ("phone", "/v1/messages?phone=%2B8613800007919".to_owned()),
        ("time", format!("/v1/messages?from={}&to={}", days[0], days[1])),
    ])
}

async fn time(stage: &Stage, path: &str) -> anyhow::Result<Latency> {
    let mut times: Histogram<u64> = latency::histogram();
    for n in 0..1010 {
        let begun = Instant::now();
        let status = stage.get(path).await?;
        anyhow::ensure!(status == 200, "{path} was answered {status}");
        // The first ones fill caches.
        if n >= 10 {
            latency::record(&mut times, begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Latency::of(&times))
}
