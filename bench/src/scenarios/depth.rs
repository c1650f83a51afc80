//! depth: accepting and carrying with nothing, and with ever more, waiting in the same queue.

use clap::Args;

use super::carrying::{carried, fill};
use super::{Common, evenness, floors, median, watch};
use crate::generator::Request;
use crate::harness::eventually;
use crate::load;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;
use crate::timeline::Timeline;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Jobs waiting, ever more of them.
    #[arg(long, value_delimiter = ',', default_value = "0,10000,100000,1000000")]
    depths: Vec<u64>,
    /// Seconds of accepting, and of carrying.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds of each with so many waiting, of which the middle one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("depth");
    let mut stage = Stage::distributed(Manner::takes(0), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    let (mut accepting, mut carrying) = (Vec::new(), Vec::new());
    for depth in &options.depths {
        let (mut accepted_rates, mut carried_rates) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            bring_to(&mut stage, *depth, &timeline).await?;
            let plan = stage.plan(Request::Notice, None, options.seconds);
            let accepted = load::run("accepting", &plan, &timeline).await?;
            accepted_rates.push(accepted.accepted() as f64 / accepted.at);
            // What was accepted is carried: from a little more than the depth down to it.
            stage.add_worker(&[])?;
            carried_rates.push(carried(&stage, accepted.accepted()).await?);
            stage.workers.clear();
        }
        let (accepted, carried) = (median(accepted_rates), median(carried_rates));
        let figure = Figure::new(format!("accepted with {depth} waiting"), accepted, "/s");
        report.add(figure.of_floor("publish", floors.publish));
        let figure = Figure::new(format!("carried with {depth} waiting"), carried, "/s");
        report.add(figure.of_floor("consume", floors.consume));
        accepting.push(accepted);
        carrying.push(carried);
    }
    report.add(Figure::new("accepting: least of most", evenness(&accepting), "").at_least(0.85));
    report.add(Figure::new("carrying: least of most", evenness(&carrying), "").at_least(0.85));
    report.note("notices, which have no limits; provider at 0 ms");
    report.note(format!(
        "so many waited when accepting began; what {} s gave was carried then; the median of {} rounds",
        options.seconds, options.rounds
    ));
    report.points = timeline.points();
    Ok(report)
}

/// Makes so many jobs wait, to a thousand: fills the queue, or has a worker take what is too much.
async fn bring_to(stage: &mut Stage, depth: u64, timeline: &Timeline) -> anyhow::Result<()> {
    let queues = stage.queues();
    let ready = async || queues.ready().await;
    let waiting = eventually("the depth of the queue", ready).await;
    if waiting > depth {
        stage.add_worker(&[])?;
        let taken = async || (queues.ready().await? <= depth).then_some(());
        eventually("the queue to be short enough", taken).await;
        stage.workers.clear();
    }
    let missing = depth.saturating_sub(waiting) / 1000;
    if missing > 0 {
        fill(stage, Request::Notices, missing, timeline).await?;
    }
    Ok(())
}
