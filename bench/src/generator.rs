//! The load generator, a process of its own. Open loop: each request has a time at which it is due, and its latency
//! counts from then, whether or not a connection was free (no coordinated omission). Without a rate it is a closed
//! loop: each connection asks again as soon as it is answered, and latency counts from the asking.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::http::Connection;
use crate::latency::{self, Latency};

/// How often the pacer releases what is due.
const TICK: Duration = Duration::from_micros(250);
/// How long what was due may still take after the end; what is open then, or never began, counts as unanswered.
const DRAIN: Duration = Duration::from_secs(10);

/// What a generator is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) request: Request,
    pub(crate) connections: usize,
    /// Requests a second; none: as fast as the answers come.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: f64,
    /// At most so many requests.
    pub(crate) count: Option<u64>,
    /// Phones are numbered from here, each request its own.
    pub(crate) first: u64,
}

/// What it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    Code,
    Notice,
    /// One request for a thousand phones.
    Notices,
    LogIn,
}

/// What happened in one second, or in all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Seconds since the start, at its end.
    pub(crate) at: f64,
    /// By status; 0: no answer.
    pub(crate) answers: BTreeMap<u16, u64>,
    pub(crate) latency: Latency,
    pub(crate) last: bool,
}

impl Report {
    /// Answers of the 2xx kind.
    pub(crate) fn accepted(&self) -> u64 {
        self.answers.iter().filter(|(status, _)| (200..300).contains(*status)).map(|(_, n)| n).sum()
    }
}

struct Shared {
    plan: Plan,
    start: Instant,
    due: Semaphore,
    next: AtomicU64,
    over: AtomicBool,
    open: AtomicU64,
    counts: Mutex<Counts>,
}

struct Counts {
    answers: BTreeMap<u16, u64>,
    second: Histogram<u64>,
    all: Histogram<u64>,
    told: BTreeMap<u16, u64>,
}

/// Does what the plan in this file says, and prints a [`Report`] a second, as JSON, and one over all.
pub(crate) async fn run(plan: &Path) -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_slice(&std::fs::read(plan)?)?;
    let counts = Counts {
        answers: BTreeMap::new(),
        second: latency::histogram(),
        all: latency::histogram(),
        told: BTreeMap::new(),
    };
    let shared = Arc::new(Shared {
        start: Instant::now(),
        due: Semaphore::new(0),
        next: AtomicU64::new(0),
        over: AtomicBool::new(false),
        open: AtomicU64::new(0),
        counts: Mutex::new(counts),
        plan,
    });
    if shared.plan.rate.is_some() {
        let pacer = shared.clone();
        std::thread::spawn(move || pacer.pace());
    }
    let connections: Vec<_> =
        (0..shared.plan.connections).map(|_| tokio::spawn(shared.clone().connection())).collect();
    let end = Duration::from_secs_f64(shared.plan.seconds);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.tick().await;
    loop {
        tokio::select! {
            _ = seconds.tick() => say(&shared.second()),
            () = tokio::time::sleep(end.saturating_sub(shared.start.elapsed())) => break,
        }
        if connections.iter().all(tokio::task::JoinHandle::is_finished) {
            break;
        }
    }
    let at = shared.start.elapsed().as_secs_f64();
    shared.over.store(true, Ordering::Relaxed);
    let drained = Instant::now();
    let at_work = || shared.open.load(Ordering::Relaxed) > 0 || shared.due.available_permits() > 0;
    while at_work() && drained.elapsed() < DRAIN {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    say(&shared.all(at));
    Ok(())
}

fn say(report: &Report) {
    println!("{}", serde_json::to_string(report).unwrap());
}

impl Shared {
    /// Releases requests when they are due. A thread of its own: the runtime's timer is coarse.
    fn pace(&self) {
        let rate = self.plan.rate.unwrap();
        let mut released = 0;
        while !self.over.load(Ordering::Relaxed) {
            let due = (self.start.elapsed().as_secs_f64() * rate) as usize;
            if due > released {
                self.due.add_permits(due - released);
                released = due;
            }
            std::thread::sleep(TICK);
        }
    }

    async fn connection(self: Arc<Self>) {
        let mut connection = None;
        let mut request = Vec::with_capacity(1024);
        while let Some((number, due)) = self.next().await {
            self.plan.write(self.plan.first + number, &mut request);
            self.open.fetch_add(1, Ordering::Relaxed);
            let status = self.ask(&mut connection, &request).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            let took = due.elapsed();
            let mut counts = self.counts.lock().unwrap();
            *counts.answers.entry(status).or_default() += 1;
            latency::record(&mut counts.second, took);
            latency::record(&mut counts.all, took);
        }
    }

    /// The next request's number and when it is due.
    async fn next(&self) -> Option<(u64, Instant)> {
        let due = match self.plan.rate {
            None => None,
            Some(rate) => {
                self.due.acquire().await.ok()?.forget();
                Some(rate)
            }
        };
        // What was due by then is still asked for.
        if due.is_none() && self.over.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if self.plan.count.is_some_and(|count| number >= count) {
            return None;
        }
        let at = |rate| self.start + Duration::from_secs_f64(number as f64 / rate);
        Some((number, due.map_or_else(Instant::now, at)))
    }

    async fn ask(&self, connection: &mut Option<Connection>, request: &[u8]) -> u16 {
        if connection.is_none() {
            *connection = Connection::open(&self.plan.address).await.ok();
        }
        let Some(open) = connection else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return 0;
        };
        if let Ok(status) = open.exchange(request).await {
            return status;
        }
        *connection = None;
        0
    }

    fn second(&self) -> Report {
        let mut counts = self.counts.lock().unwrap();
        let answers = counts.answers.clone();
        let told = std::mem::replace(&mut counts.told, answers.clone());
        let since = |(status, n): (&u16, &u64)| (*status, n - told.get(status).unwrap_or(&0));
        let latency = Latency::of(&counts.second);
        counts.second.reset();
        let at = self.start.elapsed().as_secs_f64();
        Report { at, answers: answers.iter().map(since).collect(), latency, last: false }
    }

    fn all(&self, at: f64) -> Report {
        let counts = self.counts.lock().unwrap();
        let mut answers = counts.answers.clone();
        let open = self.open.load(Ordering::Relaxed) + self.due.available_permits() as u64;
        if open > 0 {
            *answers.entry(0).or_default() += open;
        }
        Report { at, answers, latency: Latency::of(&counts.all), last: true }
    }
}

impl Plan {
    /// For so many seconds at this rate, over 256 connections, with phones that nobody had before: `phones` is the next one's
    /// number.
    pub(crate) fn new(
        (address, token): (&str, &str),
        request: Request,
        rate: Option<f64>,
        seconds: f64,
        phones: &mut u64,
    ) -> Self {
        let first = *phones;
        // Nothing here sends faster than a hundred thousand a second.
        *phones += (rate.unwrap_or(100_000.0) * (seconds + 1.0)) as u64;
        let (address, token) = (address.to_owned(), token.to_owned());
        Self { address, token, request, connections: 256, rate, seconds, count: None, first }
    }

    pub(crate) fn over(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    fn write(&self, number: u64, into: &mut Vec<u8>) {
        use std::io::Write as _;
        let body = self.request.body(number);
        into.clear();
        let (path, host, token) = (self.request.path(), &self.address, &self.token);
        write!(
            into,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
    }
}

impl Request {
    fn path(self) -> &'static str {
        match self {
            Self::Code => "/v1/verifications",
            Self::Notice | Self::Notices => "/v1/notices",
            Self::LogIn => "/v1/sessions",
        }
    }

    fn body(self, number: u64) -> String {
        let phone = phone(number);
        match self {
            Self::Code => {
                let ip = address(number);
                format!(r#"{{"phone":"{phone}","purpose":"login","client_ip":"{ip}"}}"#)
            }
            Self::Notice => {
                format!(r#"{{"template":"parcel","params":{{"number":"7"}},"phone":"{phone}"}}"#)
            }
            Self::Notices => {
                let phones: Vec<_> =
                    (0..1000).map(|n| format!("\"{}\"", self::phone(number * 1000 + n))).collect();
                let phones = phones.join(",");
                format!(r#"{{"template":"parcel","params":{{"number":"7"}},"phones":[{phones}]}}"#)
            }
            Self::LogIn => {
                format!(r#"{{"username":"nobody-{number}","password":"not a password"}}"#)
            }
        }
    }
}

/// Numbers that differ for a billion requests, spread over prefixes as those of real users are.
fn phone(number: u64) -> String {
    // 7,919 is prime to 10^8: each number once.
    let spread = number.wrapping_mul(7_919) % 100_000_000;
    let carrier =
        [138, 139, 137, 136, 135, 158, 159, 150, 151, 187][(number / 100_000_000 % 10) as usize];
    format!("{carrier}{spread:08}")
}

/// One of 2^20 end users' addresses.
fn address(number: u64) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from(0x0a00_0000 + (number % (1 << 20)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_have_a_phone() {
        let phones: std::collections::HashSet<_> = (0..200_000).map(phone).collect();
        assert_eq!(phones.len(), 200_000);
        assert!(phones.iter().all(|phone| phone.len() == 11));
        assert_ne!(phone(5), phone(100_000_005));
    }

    #[test]
    fn a_request_says_its_length() {
        let plan = Plan {
            address: "127.0.0.1:1".to_owned(),
            token: "t".to_owned(),
            request: Request::Code,
            connections: 1,
            rate: None,
            seconds: 1.0,
            count: None,
            first: 0,
        };
        let mut request = Vec::new();
        plan.write(3, &mut request);
        let text = String::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    }
}
