//! What callers ask for.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Fault, Op, PURPOSES, Planned, REFUSED, REPLICAS, Step, millis};

/// What all callers together send, without a flood.
const CODES_PER_SECOND: u32 = 18;
const NOTICES_PER_SECOND: u32 = 12;
const BATCHES_PER_SECOND: u32 = 2;
const BATCHES_PER_SECOND_OF_FLOOD: u32 = 20;
const PHONES_OF_FLOOD: usize = 50;
const SECONDS_PER_BAN: u32 = 6;
const ASKED_PER_BAN: usize = 14;
/// How long callers ask for a phone before it is banned, and after.
const UNBANNED: Duration = Duration::from_secs(1);

/// Draws requests.
pub(super) struct Steps {
    pub(super) chance: StdRng,
    pub(super) lasts: Duration,
    pub(super) drawn: Vec<Step>,
}

impl Steps {
    pub(super) fn draw(mut self, inside: &[Planned]) -> Vec<Step> {
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
        for number in 0..self.count(1) / SECONDS_PER_BAN {
            self.ban(number);
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

    fn address(&mut self) -> String {
        format!("203.0.113.{}", self.chance.random_range(1..25))
    }

    fn purpose(&mut self) -> &'static str {
        PURPOSES[usize::from(self.chance.random_bool(0.6))].0
    }

    fn code(&mut self) {
        let phone = self.phone("138");
        let address = self.address();
        let keyed = self.chance.random_bool(0.4);
        let purpose = self.purpose();
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

    /// Of a phone of its own, once: a second ban could meet what is left to be done of the first one's lifting.
    fn ban(&mut self, number: u32) {
        let (phone, lasts) = (format!("135{number:08}"), millis(&mut self.chance, 2_000..6_000));
        let asked = u64::try_from((UNBANNED + lasts + UNBANNED).as_millis()).unwrap();
        let end = u64::try_from(self.lasts.as_millis()).unwrap().saturating_sub(asked).max(1);
        let first = millis(&mut self.chance, 0..end);
        for _ in 0..ASKED_PER_BAN {
            let (phone, keyed) = (phone.clone(), false);
            let op = match self.chance.random_range(0..3) {
                0 => {
                    let (purpose, address) = (self.purpose(), self.address());
                    Op::Code { phone, purpose, address, keyed }
                }
                1 => Op::Notice { phone, keyed },
                _ => Op::Many { phones: vec![phone, self.phone("139")], keyed },
            };
            let at = first + millis(&mut self.chance, 0..asked);
            self.push(at, op);
        }
        self.push(first + UNBANNED, Op::Ban { phone, lasts });
    }
}
