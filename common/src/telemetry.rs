//! Logs to standard error, and the one recorder of metrics.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Bounds of every histogram of seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Libraries that see phone numbers, tokens or whole requests and would log them at their lowest levels: whatever the
/// filter says, they are kept at this.
const CAPPED: [&str; 6] = [
    "rlibphonenumber=off",
    "h2=warn",
    "hyper=warn",
    "hyper_util=warn",
    "reqwest=warn",
    "lapin=warn",
];

/// Why logs or metrics can't begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("logs can't begin: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    #[error("metrics can't begin: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Begins logging, once in a process. Standard output stays free for what commands print.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let mut filter = EnvFilter::try_new(filter)?;
    for cap in CAPPED {
        filter = filter.add_directive(cap.parse()?);
    }
    let base = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry.with(base.json().flatten_event(true)).try_init()?,
        LogFormat::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(base.with_ansi(terminal)).try_init()?;
        }
    }
    Ok(())
}

/// Begins recording metrics, once in a process; the handle renders them.
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    Ok(builder.install_recorder()?)
}
