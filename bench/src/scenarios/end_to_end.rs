//! end-to-end: a steady rate of sends with a worker at work; how long until a message is at the provider.

use std::time::{Duration, Instant};

use clap::Args;
use sqlx::Connection as _;

use super::carrying::{both_at_once, carried};
use super::{Common, floors, refused, usual, watch};
use crate::generator::Request;
use crate::load::{self, clear, progress};
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;
use crate::timeline::Timeline;

/// Longer than a provider is waited for, and a second try after it.
const SILENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// In the last part, the share of calls that the provider answers "not now".
    #[arg(long, default_value_t = 0.05)]
    errors: f64,
    /// In the last part, the share of calls that it takes and never answers.
    #[arg(long, default_value_t = 0.01)]
    lost: f64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("end-to-end");
    let mut stage = Stage::distributed(Manner::takes(50), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    stage.add_worker(&[])?;
    let plan = stage.plan(Request::Code, Some(options.rate), 5.0);
    let warming_up = load::run("warming up", &plan, &timeline).await?;
    carried(&stage, warming_up.accepted()).await?;
    stage.calls().await?;
    stage.since_accepted().await?;

    let plan = stage.plan(Request::Code, Some(options.rate), options.seconds);
    let sent = load::run("steady", &plan, &timeline).await?;
    carried(&stage, warming_up.accepted() + sent.accepted()).await?;
    let since_made = stage.calls().await?.remove("SMS_CODE").unwrap_or_default();
    let since_accepted = stage.since_accepted().await?;
    report.add(Figure::new("accepted to provider, p50", since_accepted.p50, "ms").at_most(10.0));
    report.add(Figure::new("accepted to provider, p99", since_accepted.p99, "ms").at_most(60.0));
    report.add(Figure::new("asked for to provider, p50", since_made.p50, "ms"));
    report.add(Figure::new("asked for to provider, p99", since_made.p99, "ms"));
    report.add(Figure::new("accepting, p50", sent.latency.p50, "ms"));
    report.add(Figure::new("accepting, p99", sent.latency.p99, "ms"));
    report.add(Figure::new("refused or unanswered", refused(&sent), "").at_most(0.0));

    let before = warming_up.accepted() + sent.accepted();
    let both = both_at_once(&mut stage, before, 15.0, &timeline).await?;
    for (name, both) in ["as fast as it goes", "between these two"].into_iter().zip(both) {
        report.add(Figure::new(format!("{name}: accepted"), both.accepted, "/s"));
        report.add(Figure::new(format!("{name}: carried"), both.carried, "/s"));
    }
    let most = both[0].least().max(both[1].least());
    let figure = Figure::new("both at once, at most", most, "/s");
    report.add(figure.of_floor("publish", floors.publish).at_least(usual::BOTH));
    with_trouble(&mut stage, options, &timeline, &mut report).await?;
    report.note(format!("{}/s for {} s; provider at 50 ms", options.rate, options.seconds));
    report.note("accepted: when the store decided, which the message's row tells; asked for: when the API made its id");
    report.points = timeline.points();
    Ok(report)
}

/// The same, at half the rate and for a quarter of the time, with a provider that puts off some calls and forgets to answer
/// others: how long a message's first call takes then, and that each message comes to its end.
async fn with_trouble(
    stage: &mut Stage,
    options: &Options,
    timeline: &Timeline,
    report: &mut Report,
) -> anyhow::Result<()> {
    let before = empty(stage).await?;
    stage.workers.clear();
    let Options { errors, lost, .. } = *options;
    stage.change_provider(Manner { latency_ms: 50, errors, lost }).await?;
    stage.add_worker(&[])?;
    let plan = stage.plan(Request::Code, Some(options.rate / 2.0), options.seconds / 4.0);
    let sent = load::run("with trouble", &plan, timeline).await?;
    let rows = empty(stage).await? - before;
    let since_accepted = stage.since_accepted().await?;
    let name = |what: &str| {
        format!("{:.0} % put off, {:.0} % unanswered: {what}", errors * 100.0, lost * 100.0)
    };
    report.add(Figure::new(name("first call, p50"), since_accepted.p50, "ms"));
    report.add(Figure::new(name("first call, p99"), since_accepted.p99, "ms").at_most(60.0));
    let of_each = rows as f64 / sent.accepted() as f64;
    report.add(Figure::new(name("rows of each message"), of_each, "").at_least(1.0));
    Ok(())
}

/// Waits until nothing is left to do: until no row has come for longer than a call without an answer takes. Gives the rows
/// that there are.
async fn empty(stage: &Stage) -> anyhow::Result<i64> {
    let mut database = stage.database().await?;
    let (mut last, mut since) = (-1, Instant::now());
    while since.elapsed() < SILENCE {
        let rows = sqlx::query_scalar("SELECT count(*) FROM sms_log").fetch_one(&mut database);
        let rows: i64 = rows.await?;
        if rows != last {
            (last, since) = (rows, Instant::now());
        }
        progress(&format!("rows: {rows}"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    clear();
    database.close().await?;
    Ok(last)
}
