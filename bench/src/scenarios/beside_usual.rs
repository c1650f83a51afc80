//! beside-usual: this service and one as it is written in an afternoon, in turns, on the same machine in the same minutes.

use clap::Args;

use super::carrying::{Service, both_at_once, carried};
use super::{Common, floors, median, refused};
use crate::generator::Request;
use crate::load;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;
use crate::timeline::Timeline;
use crate::usual::{PROCESSES, Usual};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds, of which the middle one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of accepting, and of accepting and carrying at once, in each.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// The usual one writes no rows of what it carried.
    #[arg(long)]
    rowless: bool,
}

/// What the rounds gave.
#[derive(Debug, Default)]
struct Rates {
    accepted: Vec<f64>,
    p99: Vec<f64>,
    carried: Vec<f64>,
    both: Vec<f64>,
    refused: f64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report =
        Report::new(if options.rowless { "beside-usual-rowless" } else { "beside-usual" });
    let mut stage = Stage::distributed(Manner::takes(50), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let services = stage.services.as_ref().filter(|_| !options.rowless);
    let database = services.map(|services| services.postgres.url());
    let mut usual = Usual::start(Manner::takes(50), database).await?;
    // The chart's queue is that of the one whose turn it is.
    let timeline = Timeline::start();
    let (mut ours, mut theirs) = (Rates::default(), Rates::default());
    warm_up(&mut stage, &timeline).await?;
    warm_up(&mut usual, &timeline).await?;
    for _ in 0..options.rounds {
        let watched = timeline.watch(stage.queues());
        ours.round("ours", &mut stage, options.seconds, &timeline).await?;
        watched.abort();
        let watched = timeline.watch(usual.queues());
        theirs.round("usual", &mut usual, options.seconds, &timeline).await?;
        watched.abort();
    }
    let refused = ours.refused + theirs.refused;
    report.add(Figure::new("p99 of accepting: ours", median(ours.p99), "ms"));
    report.add(Figure::new("p99 of accepting: the usual", median(theirs.p99), "ms"));
    for (what, ours, theirs, least) in [
        ("accepted", ours.accepted, theirs.accepted, 1.5),
        ("carried, provider at 50 ms", ours.carried, theirs.carried, 2.3),
        ("both at once", ours.both, theirs.both, 2.0),
    ] {
        // Of each round by itself: its minutes were the same for both.
        let times: Vec<f64> =
            ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let figure = Figure::new(format!("{what}: ours"), median(ours), "/s");
        report.add(figure.of_floor("guard", floors.guard));
        let figure = Figure::new(format!("{what}: the usual"), median(theirs), "/s");
        report.add(figure.of_floor("guard", floors.guard));
        for (round, times) in times.iter().enumerate() {
            report.add(Figure::new(format!("{what}: times, round {}", round + 1), *times, ""));
        }
        report.add(Figure::new(format!("{what}: times"), median(times), "").at_least(least));
    }
    report.add(Figure::new("refused or unanswered", refused, "").at_most(0.0));
    report.note(format!(
        "bench/usual: {PROCESSES} processes that accept, {PROCESSES} that carry 1,000 at once together, {}; ours: one of each, 1,000 at once",
        if options.rowless { "without rows" } else { "with a row each" }
    ));
    report.note(format!(
        "in turns; each accepts for {} s, carries that, then does both at once; the median of {} rounds",
        options.seconds, options.rounds
    ));
    report.points = timeline.points();
    Ok(report)
}

async fn warm_up(service: &mut impl Service, timeline: &Timeline) -> anyhow::Result<()> {
    let sent = load::run("warming up", &service.plan(Request::Code, None, 3.0), timeline).await?;
    service.start_workers().await?;
    carried(service, sent.accepted()).await?;
    service.end_workers();
    Ok(())
}

impl Rates {
    async fn round(
        &mut self,
        name: &str,
        service: &mut impl Service,
        seconds: f64,
        timeline: &Timeline,
    ) -> anyhow::Result<()> {
        let plan = service.plan(Request::Code, None, seconds);
        let sent = load::run(&format!("{name}: accepting"), &plan, timeline).await?;
        self.refused += refused(&sent);
        self.accepted.push(sent.accepted() as f64 / sent.at);
        self.p99.push(sent.latency.p99);
        service.start_workers().await?;
        self.carried.push(carried(service, sent.accepted()).await?);
        let both = both_at_once(service, sent.accepted(), seconds, timeline).await?;
        self.both.push(both[0].least().max(both[1].least()));
        service.end_workers();
        Ok(())
    }
}
