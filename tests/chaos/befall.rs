//! Does to the system what a plan says, and notes when it was done.

use std::sync::{Arc, Mutex};

use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::Clock;
use super::evidence::Done;
use super::plan::{Damage, Fault, Planned, Program, Service, Trouble};
use super::system::{Inside, LATENCY, Outside, READ_TIMEOUT};
use crate::harness::eventually_blocking;
use crate::harness::processes::Process;
use crate::harness::provider::Behaviour;

/// What was done and when.
pub type Journal = Arc<Mutex<Vec<Done>>>;

/// Does what a track has planned, each fault at its time or, where the one before took longer, after that.
pub async fn befall<V: Befall>(
    mut victim: V,
    planned: Vec<Planned>,
    begun: Instant,
    clock: Clock,
    journal: Journal,
) -> V {
    for Planned { at, lasts, fault } in planned {
        sleep_until(begun + at).await;
        let from = clock.now();
        victim.begin(fault);
        sleep(lasts).await;
        victim.end(fault);
        let done = Done { fault, begun: from, ended: clock.now() };
        println!(
            "  {:7.2} s  {:5} ms  {fault:?}",
            begun.elapsed().as_secs_f64(),
            done.ended - done.begun
        );
        journal.lock().unwrap().push(done);
    }
    victim
}

pub trait Befall {
    fn begin(&mut self, fault: Fault);
    fn end(&mut self, fault: Fault);
}

impl Outside {
    /// From here on the replica hears nothing of what the primary writes.
    fn lag(&mut self) {
        let primary = self.primary;
        let watched = &self.redis;
        eventually_blocking("the replica to follow", || watched.follows(primary).then_some(()));
        // Cut off too: what lies in its socket it would hear after all.
        watched.servers[1 - primary].pause();
        watched.servers[primary].cut_replicas();
        self.heard = self.redis.servers[primary].offset();
    }

    /// The primary dies, and Sentinel promotes the replica as it is.
    fn fail_over(&mut self) {
        let old = self.primary;
        let written = self.redis.servers[old].offset();
        self.redis.servers[old].kill();
        let watched = &self.redis;
        watched.servers[1 - old].resume();
        let new = watched.servers[1 - old].port();
        eventually_blocking("Sentinel to promote the replica", || {
            (watched.primary() == Some(new)).then_some(())
        });
        self.redis_balancer.lead_to(new);
        self.primary = 1 - old;
        self.redis.servers[old].start();
        let lost = written.zip(self.heard).map(|(written, heard)| written.saturating_sub(heard));
        println!(
            "  Redis failed over; written in the lost window: up to {} bytes",
            lost.unwrap_or_default()
        );
    }

    fn lose(&mut self, node: usize) {
        self.rabbits[node].kill();
        self.balancer.lead_to(self.rabbits[(node + 1) % self.rabbits.len()].port());
    }
}

impl Befall for Outside {
    fn begin(&mut self, fault: Fault) {
        block_in_place(|| match fault {
            Fault::KillNode(node) => self.lose(node),
            Fault::FailOver => self.lag(),
            Fault::KillService(Service::RabbitMq) => self.rabbits[0].kill(),
            Fault::KillService(Service::Redis) => self.redis.servers[self.primary].kill(),
            Fault::KillService(Service::PostgreSql) => self.postgres.kill(),
            Fault::PauseService(Service::RabbitMq) => self.rabbits[0].pause(),
            Fault::PauseService(Service::Redis) => self.redis.servers[self.primary].pause(),
            Fault::PauseService(Service::PostgreSql) => self.postgres.pause(),
            Fault::Provider(n, trouble) => self.providers[n].always(behaviour(trouble)),
            other => unreachable!("{other:?} is inside"),
        });
    }

    fn end(&mut self, fault: Fault) {
        block_in_place(|| match fault {
            Fault::KillNode(node) => self.rabbits[node].start(),
            Fault::FailOver => self.fail_over(),
            Fault::KillService(Service::RabbitMq) => self.rabbits[0].start(),
            Fault::KillService(Service::Redis) => self.redis.servers[self.primary].start(),
            Fault::KillService(Service::PostgreSql) => self.postgres.start(),
            Fault::PauseService(Service::RabbitMq) => self.rabbits[0].resume(),
            Fault::PauseService(Service::Redis) => self.redis.servers[self.primary].resume(),
            Fault::PauseService(Service::PostgreSql) => self.postgres.resume(),
            Fault::Provider(n, _) => self.providers[n].always(Behaviour::AcceptAfter(LATENCY)),
            other => unreachable!("{other:?} is inside"),
        });
    }
}

fn behaviour(trouble: Trouble) -> Behaviour {
    match trouble {
        Trouble::Later => Behaviour::Say(200, "isp.SYSTEM_ERROR"),
        Trouble::Fails => Behaviour::Say(503, "ServiceUnavailable"),
        Trouble::Breaks => Behaviour::Say(500, "nobody knows"),
        Trouble::Hangs => Behaviour::Hang,
        Trouble::Drops => Behaviour::Cut,
        Trouble::Slow => Behaviour::AcceptAfter(READ_TIMEOUT * 7 / 10),
    }
}

impl Inside {
    fn program(&mut self, program: Program) -> &mut Process {
        match program {
            Program::Api(n) => &mut self.apis[n],
            Program::Worker(n) => &mut self.workers[n],
        }
    }

    /// What each program printed and logged.
    pub fn logs(&self) -> Vec<String> {
        self.apis.iter().chain(&self.workers).map(Process::output).collect()
    }
}

impl Befall for Inside {
    fn begin(&mut self, fault: Fault) {
        block_in_place(|| match fault {
            Fault::Kill(program) => self.program(program).kill(),
            Fault::Pause(program) => self.program(program).signal("STOP"),
            Fault::Flood => self.workers.iter().for_each(|worker| worker.signal("STOP")),
            Fault::Wire(which, damage) => {
                for (_, proxy) in self.wires.iter().filter(|(wire, _)| *wire == which) {
                    match damage {
                        Damage::Cut => proxy.cut(),
                        Damage::Refused => proxy.refuse(),
                        Damage::Silent => proxy.swallow(),
                        Damage::Late(by) => proxy.delay(by),
                    }
                }
            }
            other => unreachable!("{other:?} is outside"),
        });
    }

    fn end(&mut self, fault: Fault) {
        block_in_place(|| match fault {
            Fault::Kill(program) => self.program(program).start(),
            Fault::Pause(program) => self.program(program).signal("CONT"),
            Fault::Flood => self.workers.iter().for_each(|worker| worker.signal("CONT")),
            Fault::Wire(which, _) => {
                self.wires
                    .iter()
                    .filter(|(wire, _)| *wire == which)
                    .for_each(|(_, wire)| wire.pass());
            }
            other => unreachable!("{other:?} is outside"),
        });
    }
}
