//! The machine: what it is, and how much of it others took.

use std::time::Instant;

use serde::Serialize;

use crate::speed::Probe;

/// A run with more CPU steal than this is repeated.
pub(crate) const MOST_STEAL: f64 = 0.05;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
                .unwrap_or_default()
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.split(' ').next().and_then(|kib| kib.parse::<f64>().ok());
        Self {
            processor: after(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib.unwrap_or_default() / 1024.0 / 1024.0).round(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The processors' time since it was made.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Instant,
    jiffies: Jiffies,
    probe: Probe,
}

/// Shares of all processors' time, and of their speed.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Shares {
    pub(crate) seconds: f64,
    pub(crate) steal: f64,
    pub(crate) idle: f64,
    /// How fast they ran in the mean, as a share of their full speed: see [`Probe`].
    pub(crate) speed: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Jiffies {
    all: f64,
    idle: f64,
    steal: f64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), jiffies: Jiffies::now(), probe: Probe::start() }
    }

    pub(crate) fn end(self) -> Shares {
        let (now, then) = (Jiffies::now(), self.jiffies);
        let all = (now.all - then.all).max(1.0);
        Shares {
            seconds: self.begun.elapsed().as_secs_f64(),
            steal: (now.steal - then.steal) / all,
            idle: (now.idle - then.idle) / all,
            speed: self.probe.stop(),
        }
    }
}

impl Jiffies {
    fn now() -> Self {
        Self::of(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The line of all processors: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
    fn of(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let fields: Vec<f64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let field = |place: usize| fields.get(place).copied().unwrap_or_default();
        let idle = field(3) + field(4);
        Self { all: fields.iter().take(8).sum(), idle, steal: field(7) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_eighth_field() {
        let jiffies = Jiffies::of("cpu  10 0 20 60 5 0 1 4 9 9\ncpu0 1 2 3\n");
        assert_eq!((jiffies.all, jiffies.idle, jiffies.steal), (100.0, 65.0, 4.0));
    }
}
