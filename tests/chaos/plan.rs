//! What a run does and when: faults and requests, all of it drawn from the seed before anything is started.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// API replicas, and as many workers.
pub const REPLICAS: usize = 2;
pub const PROVIDERS: usize = 2;
/// No fault begins before.
const FIRST: Duration = Duration::from_secs(2);
/// None begins later than this before the end.
const CALM: Duration = Duration::from_secs(6);
/// What all callers together send, without a flood.
const CODES_PER_SECOND: u32 = 18;
const NOTICES_PER_SECOND: u32 = 12;
const BATCHES_PER_SECOND: u32 = 2;
/// A flood fills the notices' lane to its bound while no worker takes anything.
const FLOOD: Duration = Duration::from_millis(3_500);
const BATCHES_PER_SECOND_OF_FLOOD: u32 = 20;
const PHONES_OF_FLOOD: usize = 50;

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

/// Deals whole decks, shuffled, until the time is up; nothing while one of `others` lasts.
fn track(
    chance: &mut StdRng,
    lasts: Duration,
    deck: fn(&mut StdRng) -> Vec<Fault>,
    others: &[Planned],
) -> Vec<Planned> {
    let (mut at, mut planned) = (FIRST, Vec::new());
    let end = lasts.saturating_sub(CALM);
    loop {
        let mut deck = deck(chance);
        while !deck.is_empty() {
            let fault = deck.swap_remove(chance.random_range(0..deck.len()));
            let lasts = duration(chance, fault);
            let until = lasts + recovery(fault);
            for other in others {
                if at < other.at + other.lasts && at + until > other.at {
                    at = other.at + other.lasts;
                }
            }
            if at + lasts > end {
                return planned;
            }
            planned.push(Planned { at, lasts, fault });
            at += until + millis(chance, 100..1_000);
        }
    }
}

/// About what a service takes to start, so that plan and run stay together.
fn recovery(fault: Fault) -> Duration {
    match fault {
        Fault::KillService(Service::RabbitMq) => Duration::from_secs(6),
        _ => Duration::ZERO,
    }
}

fn duration(chance: &mut StdRng, fault: Fault) -> Duration {
    match fault {
        Fault::Wire(_, Damage::Cut) => Duration::ZERO,
        Fault::Kill(_) | Fault::KillService(_) => millis(chance, 0..1_500),
        Fault::Flood => FLOOD,
        // Now and then longer than a claim's lease.
        Fault::Pause(Program::Worker(_)) => millis(chance, 500..8_500),
        Fault::Wire(Wire::ToProviders(_), _) => millis(chance, 500..2_500),
        _ => millis(chance, 500..4_000),
    }
}

fn outside(chance: &mut StdRng) -> Vec<Fault> {
    let which = chance.random_range(0..PROVIDERS);
    let trouble = |place: usize, trouble| Fault::Provider((which + place) % PROVIDERS, trouble);
    let mut deck = vec![
        Fault::KillService(Service::RabbitMq),
        Fault::KillService(Service::Redis),
        Fault::KillService(Service::PostgreSql),
        Fault::PauseService(Service::RabbitMq),
        Fault::PauseService(Service::Redis),
        Fault::PauseService(Service::PostgreSql),
    ];
    let troubles = [
        Trouble::Later,
        Trouble::Fails,
        Trouble::Breaks,
        Trouble::Hangs,
        Trouble::Drops,
        Trouble::Slow,
    ];
    deck.extend(troubles.into_iter().enumerate().map(|(place, which)| trouble(place, which)));
    deck
}

fn inside(chance: &mut StdRng) -> Vec<Fault> {
    let program = |chance: &mut StdRng| match chance.random_range(0..REPLICAS * 2) {
        n if n < REPLICAS => Program::Api(n),
        n => Program::Worker(n - REPLICAS),
    };
    let mut deck = vec![Fault::Flood];
    for n in 0..REPLICAS {
        deck.extend([Fault::Kill(Program::Api(n)), Fault::Kill(Program::Worker(n))]);
    }
    let paused = chance.random_range(0..REPLICAS);
    deck.extend([Fault::Pause(Program::Api(paused)), Fault::Pause(Program::Worker(paused))]);
    for service in [Service::RabbitMq, Service::Redis, Service::PostgreSql] {
        for damage in damages(chance) {
            let wire = Wire::ToService(program(chance), service);
            deck.push(Fault::Wire(wire, damage));
        }
    }
    let damage = damages(chance);
    deck.push(Fault::Wire(Wire::ToProviders(chance.random_range(0..REPLICAS)), damage[0]));
    deck.push(Fault::Wire(Wire::FromCallers(chance.random_range(0..REPLICAS)), damage[1]));
    deck
}

/// Two of them, not alike.
fn damages(chance: &mut StdRng) -> [Damage; 2] {
    let mut all =
        vec![Damage::Cut, Damage::Refused, Damage::Silent, Damage::Late(millis(chance, 20..200))];
    let first = all.swap_remove(chance.random_range(0..all.len()));
    [first, all.swap_remove(chance.random_range(0..all.len()))]
}

fn millis(chance: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(chance.random_range(range))
}

/// Draws requests.
struct Steps {
    chance: StdRng,
    lasts: Duration,
    drawn: Vec<Step>,
}

impl Steps {
    fn draw(mut self, inside: &[Planned]) -> Vec<Step> {
        for _ in 0..self.count(CODES_PER_SECOND) {
            self.code();
        }
        for _ in 0..self.count(NOTICES_PER_SECOND) {
            let (phone, keyed) = (self.phone("139"), self.chance.random_bool(0.4));
            self.sending(Op::Notice { phone, keyed });
        }
        for _ in 0..self.count(BATCHES_PER_SECOND) {
            self.batch();
        }
        for _ in 0..=self.count(1) / 4 {
            let at = self.moment();
            self.push(at, Op::Garbage);
            let at = self.moment();
            self.push(at, Op::BrokenJob);
        }
        let floods = inside.iter().filter(|planned| planned.fault == Fault::Flood);
        for (number, flood) in floods.enumerate() {
            self.flood(number, flood);
        }
        self.drawn
    }

    fn count(&self, per_second: u32) -> u32 {
        per_second * u32::try_from(self.lasts.as_secs()).unwrap()
    }

    fn moment(&mut self) -> Duration {
        let end = u64::try_from(self.lasts.as_millis()).unwrap();
        millis(&mut self.chance, 0..end)
    }

    fn push(&mut self, at: Duration, op: Op) -> usize {
        let replica = self.chance.random_range(0..REPLICAS);
        self.drawn.push(Step { at, replica, op });
        self.drawn.len() - 1
    }

    fn push_after(&mut self, step: usize, range: std::ops::Range<u64>, op: Op) {
        let at = self.drawn[step].at + millis(&mut self.chance, range);
        self.push(at.min(self.lasts), op);
    }

    /// Some of few phones, so that limits bind and verifications are sent again; some that providers refuse.
    fn phone(&mut self, prefix: &str) -> String {
        match self.chance.random_range(0..100) {
            0..3 => format!("{REFUSED}{:08}", self.chance.random_range(0..50)),
            3..30 => format!("{prefix}{:08}", self.chance.random_range(0..12)),
            _ => format!("{prefix}{:08}", self.chance.random_range(1_000..1_500)),
        }
    }

    fn code(&mut self) {
        let phone = self.phone("138");
        let address = format!("203.0.113.{}", self.chance.random_range(1..25));
        let keyed = self.chance.random_bool(0.4);
        let purpose = PURPOSES[usize::from(self.chance.random_bool(0.6))].0;
        let sent = self.sending(Op::Code { phone, purpose, address, keyed });
        if self.chance.random_bool(0.6) {
            return;
        }
        for _ in 0..self.chance.random_range(0..3) {
            self.check(sent, false, 300..4_000);
        }
        let first = self.check(sent, true, 2_000..6_000);
        if self.chance.random_bool(0.5) {
            // Two at once, as a thief and a victim would.
            let (at, replica) = (self.drawn[first].at, self.drawn[first].replica);
            let keyed = self.chance.random_bool(0.4);
            let op =
                Op::Check { of: sent, right: true, by_id: self.chance.random_bool(0.5), keyed };
            self.drawn.push(Step { at, replica: (replica + 1) % REPLICAS, op });
        }
    }

    fn check(&mut self, of: usize, right: bool, range: std::ops::Range<u64>) -> usize {
        let by_id = !right || self.chance.random_bool(0.5);
        let keyed = self.chance.random_bool(0.4);
        self.push_after(of, range, Op::Check { of, right, by_id, keyed });
        let place = self.drawn.len() - 1;
        if keyed && right && self.chance.random_bool(0.5) {
            self.push_after(place, 50..3_000, Op::Repeat { of: place });
        }
        place
    }

    fn sending(&mut self, op: Op) -> usize {
        let at = self.moment();
        let keyed = matches!(
            op,
            Op::Code { keyed: true, .. }
                | Op::Notice { keyed: true, .. }
                | Op::Many { keyed: true, .. }
        );
        let place = self.push(at, op);
        if keyed {
            for _ in 0..self.chance.random_range(1..3) {
                self.push_after(place, 1..5_000, Op::Repeat { of: place });
            }
        }
        place
    }

    fn batch(&mut self) {
        let mut phones: Vec<String> =
            (0..self.chance.random_range(2..12)).map(|_| self.phone("139")).collect();
        phones.sort();
        phones.dedup();
        let keyed = self.chance.random_bool(0.5);
        self.sending(Op::Many { phones, keyed });
    }

    /// To phones of its own, each once.
    fn flood(&mut self, number: usize, flood: &Planned) {
        let lasts = u64::try_from(flood.lasts.as_millis()).unwrap();
        let batches = u64::from(BATCHES_PER_SECOND_OF_FLOOD) * lasts / 1_000;
        for batch in 0..batches {
            let first = (number * 1_000 + usize::try_from(batch).unwrap()) * PHONES_OF_FLOOD;
            let phones = (first..first + PHONES_OF_FLOOD).map(|n| format!("137{n:08}")).collect();
            let at = flood.at + Duration::from_millis(batch * lasts / batches);
            self.push(at, Op::Many { phones, keyed: false });
        }
    }
}

/// What codes are for, and how long they live: some no longer than an outage lasts.
pub const PURPOSES: [(&str, Duration); 2] =
    [("login", Duration::from_secs(30)), ("register", Duration::from_secs(9))];

/// How numbers begin that every provider refuses.
pub const REFUSED: &str = "136";

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
