//! flood: log-ins of nobody beside sends. A log-in that finds a place costs a hash; the rest is refused at once.

use clap::Args;

use super::{Common, floors, refused, watch};
use crate::generator::Request;
use crate::load::{self, Load};
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;
use crate::timeline::Timeline;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sends a second.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Log-ins a second.
    #[arg(long, default_value_t = 200.0)]
    log_ins: f64,
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("flood");
    let mut stage = Stage::distributed(Manner::takes(50), &[]).await?;
    floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    stage.add_worker(&[])?;
    let plan = stage.plan(Request::Code, Some(options.rate), options.seconds);
    let alone = load::run("alone", &plan, &timeline).await?;
    let log_ins = stage.plan(Request::LogIn, Some(options.log_ins), options.seconds);
    let log_ins = Load::start(&log_ins)?;
    let plan = stage.plan(Request::Code, Some(options.rate), options.seconds);
    // The chart shows the sends.
    let aside = Timeline::start();
    let (sends, log_ins) =
        tokio::join!(load::run("with log-ins", &plan, &timeline), log_ins.end("log-ins", &aside));
    let (sends, log_ins) = (sends?, log_ins?);
    report.add(Figure::new("sends alone: p99", alone.latency.p99, "ms"));
    report.add(Figure::new("sends beside log-ins: p50", sends.latency.p50, "ms"));
    report.add(Figure::new("sends beside log-ins: p99", sends.latency.p99, "ms").at_most(100.0));
    report.add(
        Figure::new("sends refused or unanswered", refused(&sends) + refused(&alone), "")
            .at_most(0.0),
    );
    report.add(Figure::new("log-ins: p50", log_ins.latency.p50, "ms"));
    for (status, count) in &log_ins.answers {
        report.add(Figure::new(format!("log-ins answered {status}"), *count as f64, ""));
    }
    report.note(format!(
        "{}/s sends, {}/s log-ins; provider at 50 ms",
        options.rate, options.log_ins
    ));
    report.points = timeline.points();
    Ok(report)
}
