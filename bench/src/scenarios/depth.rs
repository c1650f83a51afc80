//! depth: accepting and carrying with nothing, and with ever more, waiting in the same queue.

use clap::Args;

use super::carrying::{carried_for, fill};
use super::{evenness, watch};
use crate::generator::Request;
use crate::load;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Jobs waiting, ever more of them.
    #[arg(long, value_delimiter = ',', default_value = "0,10000,100000,1000000")]
    depths: Vec<u64>,
    /// Seconds of accepting, and of carrying.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("depth");
    let mut stage = Stage::distributed(Manner::takes(0), &[]).await?;
    let timeline = watch(&stage);
    // What is waiting already; as much is accepted in a turn as is carried, or more.
    let mut waiting = 0;
    let (mut accepting, mut carrying) = (Vec::new(), Vec::new());
    for depth in &options.depths {
        if *depth >= waiting + 1000 {
            let batches = (depth - waiting) / 1000;
            fill(&mut stage, Request::Notices, batches, &timeline).await?;
            waiting += batches * 1000;
        }
        let plan = stage.plan(Request::Notice, None, options.seconds);
        let accepted = load::run("accepting", &plan, &timeline).await?;
        waiting += accepted.accepted();
        accepting.push(accepted.accepted() as f64 / accepted.at);
        stage.add_worker(&[])?;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        carrying.push(carried_for(&stage, options.seconds.min(5.0)).await);
        waiting = waiting.saturating_sub(stage.rows().await);
        stage.workers.clear();
        let (accepted, carried) = (accepting.last(), carrying.last());
        let name = |what| format!("{what} with {depth} waiting");
        report.add(Figure::new(name("accepted"), *accepted.unwrap_or(&0.0), "/s"));
        report.add(Figure::new(name("carried"), *carried.unwrap_or(&0.0), "/s"));
    }
    report.add(Figure::new("accepting: least of most", evenness(&accepting), "").at_least(0.85));
    report.add(Figure::new("carrying: least of most", evenness(&carrying), "").at_least(0.85));
    report.note("notices; provider at 0 ms; what a turn leaves is part of the next one's backlog");
    report.points = timeline.points();
    Ok(report)
}
