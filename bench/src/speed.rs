//! How fast the processors run: a core of a virtual machine does half as much in the same time while a neighbour uses what
//! both share, and no count of the kernel's says so, steal included.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::CpuSet;
use rustix::time::{ClockId, clock_gettime};

/// Between two pieces of work: each takes some 0.2 ms of one core, in turn, so less than a hundredth of any.
const EVERY: Duration = Duration::from_millis(20);

/// One piece of work.
const ENTRIES: u32 = 4_000;

/// A thread that does the same piece of work again and again, on each core in turn.
#[derive(Debug)]
pub(crate) struct Probe {
    end: Sender<()>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Probe {
    pub(crate) fn start() -> Self {
        let (end, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let cores = cores();
            let mut took = Vec::new();
            for core in cores.iter().cycle() {
                if ended.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                if rustix::thread::sched_setaffinity(None, core).is_ok() {
                    work(ENTRIES / 10); // what is cold after a change of core
                    let before = busy();
                    work(ENTRIES);
                    took.push(busy().saturating_sub(before));
                }
            }
            took
        });
        Self { end, thread }
    }

    /// The mean speed since the start, as a share of the full one.
    pub(crate) fn stop(self) -> f64 {
        drop(self.end);
        mean_speed(&self.thread.join().unwrap_or_default())
    }
}

/// The cores that this process may use, each as a set of its own.
fn cores() -> Vec<CpuSet> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    cores
        .map(|core| {
            let mut alone = CpuSet::new();
            alone.set(core);
            alone
        })
        .collect()
}

/// What this thread has run: a wait for the core doesn't count.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Numbers written as text and kept in a map, as a service does all day. Sums alone are nearly as fast on a core that does
/// half of this in the same time.
fn work(entries: u32) {
    let mut texts = HashMap::new();
    for entry in 0..entries {
        texts.insert(entry % 256, black_box(entry).to_string());
    }
    black_box(texts);
}

/// The full speed is that of the fastest hundredth, since single pieces may have been lucky.
fn mean_speed(took: &[Duration]) -> f64 {
    let mut seconds: Vec<f64> =
        took.iter().map(Duration::as_secs_f64).filter(|seconds| *seconds > 0.0).collect();
    seconds.sort_unstable_by(f64::total_cmp);
    let fastest = seconds.get(seconds.len() / 100).copied().unwrap_or(f64::NAN);
    let speeds = seconds.iter().map(|seconds| (fastest / seconds).min(1.0));
    speeds.sum::<f64>() / seconds.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_time_is_half_the_speed() {
        let took = [2, 1, 2, 1].map(Duration::from_millis);
        assert!((mean_speed(&took) - 0.75).abs() < 1e-9, "{}", mean_speed(&took));
    }

    #[test]
    fn every_core_is_asked() {
        let allowed = std::thread::available_parallelism().unwrap().get();
        assert_eq!(cores().len(), allowed);
        let probe = Probe::start();
        std::thread::sleep(EVERY * 20);
        let speed = probe.stop();
        assert!(speed > 0.0 && speed <= 1.0, "{speed}");
    }
}
