//! end-to-end: a steady rate of sends with a worker at work; how long until a message is at the provider.

use clap::Args;

use super::carrying::{carried, carried_for};
use super::{Common, floors, refused, watch};
use crate::generator::Request;
use crate::load::{self, Load};
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;

/// What a usual service of this kind was measured to reach on a machine with so many raw publishes a second; this one is
/// to do twice that.
const USUAL: (f64, f64) = (3_000.0, 35_000.0);

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
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

    let plan = stage.plan(Request::Code, None, 15.0);
    let most = Load::start(&plan)?;
    let (most, carried) =
        tokio::join!(most.end("as fast as it goes", &timeline), carried_for(&stage, 15.0));
    let accepted = most?.accepted() as f64 / 15.0;
    report.add(Figure::new("accepted while carrying, at most", accepted, "/s"));
    let (rate, publish) = USUAL;
    let least = 2.0 * rate * floors.publish / publish;
    let figure = Figure::new("carried at that time", carried, "/s");
    report.add(figure.of_floor("publish", floors.publish).at_least(least));
    report.note(format!("{}/s for {} s; provider at 50 ms", options.rate, options.seconds));
    report.note("accepted: when the store decided, which the message's row tells; asked for: when the API made its id");
    report.points = timeline.points();
    Ok(report)
}
