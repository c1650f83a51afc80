//! accept: sends of codes, each to a phone of its own, over 256 connections, every limit looked at. The worker is off.

use clap::Args;

use super::{Common, floors, refused, usual, watch};
use crate::generator::Request;
use crate::load;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds for each of the three loads.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    #[arg(long, default_value_t = 256)]
    connections: usize,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("accept");
    let mut stage = Stage::distributed(Manner::takes(0), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    let mut load = async |name: &str, rate, seconds| {
        let plan = stage.plan(Request::Code, rate, seconds);
        load::run(name, &plan.over(options.connections), &timeline).await
    };
    load("warming up", None, 3.0).await?;

    let most = load("as fast as it goes", None, options.seconds).await?;
    let rate = most.accepted() as f64 / most.at;
    let target = (0.35 * floors.publish).min(0.6 * floors.guard);
    report.add(
        Figure::new("accepted at most", rate, "/s")
            .of_floor("publish", floors.publish)
            .at_least(target),
    );
    report.add(Figure::new("the same", rate, "/s").of_floor("guard", floors.guard));
    report.add(Figure::new("beside what is usual", rate, "/s").at_least(usual::ACCEPTED));
    report.add(Figure::new("p50 then", most.latency.p50, "ms"));
    report.add(Figure::new("p99 then", most.latency.p99, "ms").at_most(50.0));
    report.add(Figure::new("refused or unanswered then", refused(&most), "").at_most(0.0));

    let half = load("at half that rate", Some(rate / 2.0), options.seconds).await?;
    report.add(Figure::new("p50 at half that rate, open loop", half.latency.p50, "ms"));
    report
        .add(Figure::new("p99 at half that rate, open loop", half.latency.p99, "ms").at_most(10.0));
    report.add(Figure::new("refused or unanswered at half", refused(&half), "").at_most(0.0));

    let most = load("at nine tenths", Some(rate * 0.9), options.seconds).await?;
    report.add(Figure::new("p50 at 0.9 of that rate, open loop", most.latency.p50, "ms"));
    report.add(
        Figure::new("p99 at 0.9 of that rate, open loop", most.latency.p99, "ms").at_most(50.0),
    );
    report.add(Figure::new("refused or unanswered at 0.9", refused(&most), "").at_most(0.0));
    report.note(format!(
        "{} connections; a JWT with on_behalf, an end user's address in each request",
        options.connections
    ));
    report.note("the first load is a closed loop: its latencies count from the asking");
    report.points = timeline.points();
    Ok(report)
}
