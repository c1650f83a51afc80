//! What a run does and when: faults and requests, all of it drawn from the seed before anything is started.

mod deck;
mod steps;

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use deck::{inside, outside, track};
use steps::Steps;

/// API replicas, and as many workers.
pub const REPLICAS: usize = 2;
pub const PROVIDERS: usize = 2;
/// No fault begins before.
const FIRST: Duration = Duration::from_secs(2);
/// None begins later than this before the end.
const CALM: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Api(usize),
    Worker(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    RabbitMq,
    Redis,
    PostgreSql,
}

/// Two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// From a program to a service.
    ToService(Program, Service),
    /// From a worker to every provider.
    ToProviders(usize),
    /// From the callers to an API replica.
    FromCallers(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Every connection is cut, once; new ones get through.
    Cut,
    /// Every connection is cut, and those to come.
    Refused,
    /// Nothing gets through and nobody is told.
    Silent,
    /// Everything comes late.
    Late(Duration),
}

/// How a provider misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Says to try later.
    Later,
    /// Fails with HTTP 503.
    Fails,
    /// Fails with an HTTP 500 that says nothing: nobody knows what it did.
    Breaks,
    /// Takes the SMS and never answers.
    Hangs,
    /// Takes the SMS and drops the answer.
    Drops,
    /// Takes its time.
    Slow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill(Program),
    Pause(Program),
    KillService(Service),
    PauseService(Service),
    Wire(Wire, Damage),
    Provider(usize, Trouble),
    /// All workers stand still while callers flood the notices' lane.
    Flood,
    /// A node of the RabbitMQ cluster is killed; its clients are led to another.
    KillNode(usize),
    /// The primary of Redis is killed while its replica lags behind; its clients are led to whom Sentinel promotes.
    FailOver,
}

/// A fault that is planned. Faults of one track come one after the other; the two tracks go on side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub at: Duration,
    pub lasts: Duration,
    pub fault: Fault,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Code {
        phone: String,
        purpose: &'static str,
        address: String,
        keyed: bool,
    },
    Notice {
        phone: String,
        keyed: bool,
    },
    Many {
        phones: Vec<String>,
        keyed: bool,
    },
    /// The keyed request of that step once more.
    Repeat {
        of: usize,
    },
    /// A check of the code that that step sent.
    Check {
        of: usize,
        right: bool,
        by_id: bool,
        keyed: bool,
    },
    /// A ban of that phone, lifted after so long.
    Ban {
        phone: String,
        lasts: Duration,
    },
    /// Bytes that are no job, straight onto the queue.
    Garbage,
    /// A job whose sealed part is broken, straight onto the queue.
    BrokenJob,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    /// Which API replica is asked.
    pub replica: usize,
    pub op: Op,
}

/// What a seed stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub lasts: Duration,
    /// What befalls services and providers.
    pub outside: Vec<Planned>,
    /// What befalls our programs and the wires.
    pub inside: Vec<Planned>,
    /// In the order in which they are drawn; their times aren't.
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn of(seed: u64, lasts: Duration) -> Self {
        // Each draws for itself, so that a longer run begins as a shorter one.
        let chance = |part: u64| StdRng::seed_from_u64(seed.wrapping_mul(3).wrapping_add(part));
        let inside = track(&mut chance(0), lasts, inside, &[]);
        // A flood shows nothing where the queue is away.
        let floods: Vec<_> = inside.iter().filter(|p| p.fault == Fault::Flood).copied().collect();
        let outside = track(&mut chance(1), lasts, outside, &floods);
        let steps = Steps { chance: chance(2), lasts, drawn: Vec::new() }.draw(&inside);
        Self { seed, lasts, outside, inside, steps }
    }
}

/// RabbitMQ's nodes where they are a cluster.
pub const NODES: usize = 3;

impl Plan {
    /// Redis fails over, and later back again.
    pub fn of_sentinel(seed: u64, lasts: Duration) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let (mut at, mut outside) = (FIRST * 3, Vec::new());
        while at + CALM * 2 <= lasts {
            let lasts = millis(&mut chance, 200..800);
            outside.push(Planned { at, lasts, fault: Fault::FailOver });
            at += Duration::from_secs(30);
        }
        let steps = Steps { chance, lasts, drawn: Vec::new() }.draw(&[]);
        Self { seed, lasts, outside, inside: Vec::new(), steps }
    }

    /// One node of the cluster is lost after the other, for long enough that its clients go on without it.
    pub fn of_cluster(seed: u64, lasts: Duration) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let (mut at, mut outside, mut node) =
            (FIRST * 2, Vec::new(), chance.random_range(0..NODES));
        loop {
            let lasting = millis(&mut chance, 3_000..6_000);
            if at + lasting + CALM > lasts {
                let steps = Steps { chance, lasts, drawn: Vec::new() }.draw(&[]);
                return Self { seed, lasts, outside, inside: Vec::new(), steps };
            }
            outside.push(Planned { at, lasts: lasting, fault: Fault::KillNode(node) });
            at += lasting + Duration::from_secs(14);
            node = (node + 1) % NODES;
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?}, {} requests", self.seed, self.lasts, self.steps.len())?;
        let mut all: Vec<_> = self.outside.iter().chain(&self.inside).collect();
        all.sort_by_key(|planned| planned.at);
        for Planned { at, lasts, fault } in all {
            writeln!(f, "  {:7.2} s  {:5.2} s  {fault:?}", at.as_secs_f64(), lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

/// What codes are for, and how long they live: some no longer than an outage lasts.
pub const PURPOSES: [(&str, Duration); 2] =
    [("login", Duration::from_secs(30)), ("register", Duration::from_secs(9))];

/// How numbers begin that every provider refuses.
pub const REFUSED: &str = "136";

fn millis(chance: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(chance.random_range(range))
}

#[test]
fn a_plan_is_its_seed_s_alone() {
    let minute = Duration::from_mins(1);
    assert_eq!(Plan::of(7, minute), Plan::of(7, minute));
    assert_ne!(Plan::of(7, minute), Plan::of(8, minute));
    let begins =
        |plan: &Plan| plan.outside.iter().take(3).map(|planned| planned.fault).collect::<Vec<_>>();
    let longer = Plan::of(7, Duration::from_mins(10));
    assert_eq!(begins(&Plan::of(7, minute)), begins(&longer), "more time is more of it");
}

#[test]
fn faults_of_a_track_follow_each_other_and_leave_time_to_recover() {
    for seed in 0..20 {
        let plan = Plan::of(seed, Duration::from_mins(2));
        for track in [&plan.outside, &plan.inside] {
            assert!(track.len() > 10, "{plan}");
            assert!(track.windows(2).all(|two| two[0].at + two[0].lasts < two[1].at), "{plan}");
            assert!(track.iter().all(|planned| planned.at + planned.lasts + CALM <= plan.lasts));
        }
        let repeats = plan.steps.iter().filter_map(|step| match step.op {
            Op::Repeat { of } | Op::Check { of, .. } => Some((step.at, plan.steps[of].at)),
            _ => None,
        });
        assert!(
            repeats.into_iter().all(|(at, of)| at >= of),
            "nothing is repeated before it is asked"
        );
    }
}

#[test]
fn each_phone_is_banned_once_and_asked_for_meanwhile() {
    let minute = Duration::from_mins(1);
    for plan in [Plan::of(7, minute), Plan::of_sentinel(7, minute), Plan::of_cluster(7, minute)] {
        let mut banned = std::collections::BTreeSet::new();
        for step in &plan.steps {
            let Op::Ban { phone, lasts } = &step.op else { continue };
            assert!(banned.insert(phone), "{phone}");
            let meanwhile = step.at..step.at + *lasts;
            let is_asked = |other: &&Step| {
                let of_phone = match &other.op {
                    Op::Code { phone: of, .. } | Op::Notice { phone: of, .. } => of == phone,
                    Op::Many { phones, .. } => phones.contains(phone),
                    _ => false,
                };
                of_phone && meanwhile.contains(&other.at)
            };
            assert!(plan.steps.iter().filter(is_asked).count() > 1, "{phone}");
        }
        assert_eq!(banned.len(), 10);
    }
}
