//! Which faults there are and how long they last: decks of all of them, shuffled and dealt.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{
    CALM, Damage, FIRST, Fault, PROVIDERS, Planned, Program, REPLICAS, Service, Trouble, Wire,
    millis,
};

/// A flood fills the notices' lane to its bound while no worker takes anything.
const FLOOD: Duration = Duration::from_millis(3_500);

/// Deals whole decks, shuffled, until the time is up; nothing while one of `others` lasts.
pub(super) fn track(
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
        Fault::KillService(Service::RabbitMq) => Duration::from_secs(8),
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

pub(super) fn outside(chance: &mut StdRng) -> Vec<Fault> {
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

pub(super) fn inside(chance: &mut StdRng) -> Vec<Fault> {
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
