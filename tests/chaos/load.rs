//! The callers: each step of a plan at its time, whatever becomes of the others, and what each was told.

mod admin;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider_common::model::ids::MessageId;
use postrider_common::model::job::{EarlierAttempts, Job, Lane, WIRE_NAME};
use postrider_common::queue::rabbitmq::RabbitQueue;
use postrider_common::queue::{Destination, Outgoing, Published, Queue};
use postrider_common::secrets::KeyRing;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::clock::Clock;
use super::evidence::{Ban, Check, Fate, Poison, Send, Verdict};
use super::plan::{Op, Plan, Step};
use super::system::{Addresses, SECRET};
use crate::harness::processes::{Answer, Client};
use crate::harness::provider::Provider;

/// How long a check waits for the code to be texted.
const CODE_PATIENCE: Duration = Duration::from_secs(6);
const SENDS: &str = "/v1/verifications";
const NOTICES: &str = "/v1/notices";
const CHECKS: &str = "/v1/verifications/check";

/// What the callers were told.
#[derive(Debug, Default)]
pub struct Told {
    pub sends: Vec<Send>,
    pub checks: Vec<Check>,
    pub bans: Vec<Ban>,
    pub poison: BTreeMap<String, Poison>,
}

struct Callers {
    clients: Vec<Client>,
    /// As an admin, who may ban.
    admins: Vec<Client>,
    providers: Vec<Provider>,
    queue: Queue,
    keys: KeyRing,
    clock: Clock,
    seed: u64,
    steps: Vec<Step>,
    /// The message of a step that was told one.
    messages: Mutex<HashMap<usize, Sent>>,
    /// What a step asked, for whoever repeats it.
    bodies: Mutex<HashMap<usize, Value>>,
    told: Mutex<Told>,
}

#[derive(Debug, Clone)]
struct Sent {
    message: String,
    verification: String,
}

/// Does every step at its time after `begun`, and returns when the last is answered.
pub async fn drive(
    plan: &Plan,
    addresses: &Addresses,
    providers: &[Provider],
    begun: Instant,
    clock: Clock,
) -> Told {
    let callers = Arc::new(Callers {
        clients: addresses.clients.clone(),
        admins: addresses.admins.clone(),
        providers: providers.to_vec(),
        queue: Queue::Rabbit(RabbitQueue::start(
            &addresses.amqp.clone().into(),
            Duration::from_secs(5),
        )),
        keys: SECRET.parse().unwrap(),
        clock,
        seed: plan.seed,
        steps: plan.steps.clone(),
        messages: Mutex::default(),
        bodies: Mutex::default(),
        told: Mutex::default(),
    });
    let mut order: Vec<usize> = (0..plan.steps.len()).collect();
    order.sort_by_key(|step| plan.steps[*step].at);
    let mut under_way = JoinSet::new();
    for step in order {
        sleep_until(begun + plan.steps[step].at).await;
        let callers = callers.clone();
        under_way.spawn(async move { callers.take(step).await });
    }
    while let Some(ended) = under_way.join_next().await {
        ended.expect("no answer is other than the API describes it");
    }
    callers.queue.close().await;
    std::mem::take(&mut *callers.told.lock().unwrap())
}

impl Callers {
    async fn take(&self, step: usize) {
        match &self.steps[step].op {
            Op::Code { .. } | Op::Notice { .. } | Op::Many { .. } => self.send(step, step).await,
            Op::Repeat { of } if matches!(self.steps[*of].op, Op::Check { .. }) => {
                let asked = self.bodies.lock().unwrap().get(of).cloned();
                // One that found no code to check isn't repeated.
                if let Some(body) = asked {
                    self.check(step, *of, &body).await;
                }
            }
            Op::Repeat { of } => self.send(step, *of).await,
            Op::Check { of, right, by_id, .. } => {
                if let Some(body) = self.check_body(*of, *right, *by_id).await {
                    self.bodies.lock().unwrap().insert(step, body.clone());
                    self.check(step, step, &body).await;
                }
            }
            Op::Ban { phone, lasts } => self.ban(step, phone, *lasts).await,
            Op::Garbage => self.garbage(step).await,
            Op::BrokenJob => self.broken_job(step).await,
        }
    }

    fn key(&self, of: usize) -> Option<String> {
        let (Op::Code { keyed, .. }
        | Op::Notice { keyed, .. }
        | Op::Many { keyed, .. }
        | Op::Check { keyed, .. }) = &self.steps[of].op
        else {
            return None;
        };
        keyed.then(|| format!("{}-{of}", self.seed))
    }

    async fn ask(
        &self,
        step: usize,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answer, String> {
        let client = &self.clients[self.steps[step].replica];
        client.try_post(path, key.unwrap_or_default(), body).await.map_err(|error| {
            if error.is_connect() { "no connection".to_owned() } else { "no answer".to_owned() }
        })
    }

    /// Asks for what the step `of` asks for.
    async fn send(&self, step: usize, of: usize) {
        let notice = json!({ "template": "parcel", "params": { "number": of.to_string() } });
        let with = |field: &str, value: Value| {
            let mut body = notice.clone();
            body[field] = value;
            body
        };
        let (lane, path, phones, body) = match &self.steps[of].op {
            Op::Code { phone, purpose, address, .. } => {
                let body = json!({ "phone": phone, "purpose": purpose, "client_ip": address });
                (Lane::Code, SENDS, vec![phone.clone()], body)
            }
            Op::Notice { phone, .. } => {
                (Lane::Notice, NOTICES, vec![phone.clone()], with("phone", json!(phone)))
            }
            Op::Many { phones, .. } => {
                (Lane::Notice, NOTICES, phones.clone(), with("phones", json!(phones)))
            }
            other => unreachable!("{other:?} sends nothing"),
        };
        let key = self.key(of);
        let asked = self.clock.now();
        let answer = self.ask(step, path, key.as_deref(), &body).await;
        let ended = self.clock.now();
        let is_batch = matches!(self.steps[of].op, Op::Many { .. });
        let fates: Vec<Fate> = phones
            .iter()
            .map(|phone| if is_batch { fate_in_batch(&answer, phone) } else { fate(&answer) })
            .collect();
        if let Fate::Accepted { id, verification: Some(verification) } = &fates[0] {
            let sent = Sent { message: id.clone(), verification: verification.clone() };
            self.messages.lock().unwrap().insert(of, sent);
        }
        let sends = phones.into_iter().zip(fates).map(|(phone, fate)| Send {
            step,
            lane,
            phone,
            key: key.clone(),
            asked,
            ended,
            fate,
        });
        self.told.lock().unwrap().sends.extend(sends);
    }

    /// Waits until the code is on its phone, or gives up.
    async fn check_body(&self, of: usize, right: bool, by_id: bool) -> Option<Value> {
        let Op::Code { phone, purpose, address, .. } = &self.steps[of].op else {
            unreachable!("only a code's send is checked");
        };
        let texted = async {
            loop {
                let sent = self.messages.lock().unwrap().get(&of).cloned();
                if let Some(sent) = sent {
                    let code = self.providers.iter().find_map(|p| p.code_of(&sent.message));
                    if let Some(code) = code {
                        return (sent, code);
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        let (sent, code) = timeout(CODE_PATIENCE, texted).await.ok()?;
        let code = if right { code } else { wrong(&code) };
        Some(if by_id {
            json!({ "id": sent.verification, "code": code, "client_ip": address })
        } else {
            json!({ "phone": phone, "purpose": purpose, "code": code, "client_ip": address })
        })
    }

    async fn check(&self, step: usize, of: usize, body: &Value) {
        let Op::Check { right, .. } = self.steps[of].op else { unreachable!("it is a check") };
        let key = self.key(of);
        let asked = self.clock.now();
        let answer = self.ask(step, CHECKS, key.as_deref(), body).await;
        let ended = self.clock.now();
        let verdict = match &answer {
            Err(why) => Verdict::Doubtful(why.clone()),
            Ok((200, body)) => Verdict::Approved(text(body, "id")),
            Ok((_, body)) if is_doubtful(&text(body, "code")) => {
                Verdict::Doubtful(text(body, "code"))
            }
            Ok((_, body)) => Verdict::Refused {
                word: text(body, "code"),
                attempts_left: body["attempts_left"].as_i64(),
            },
        };
        let verification = body["id"].as_str().map(str::to_owned);
        let check = Check { step, key, verification, right, asked, ended, verdict };
        self.told.lock().unwrap().checks.push(check);
    }

    async fn garbage(&self, step: usize) {
        let body = format!("no job at all: {step} of {}", self.seed).into_bytes();
        let id = format!("sha256.{}", hex::encode(Sha256::digest(&body)));
        self.poison(id, Poison::Garbage, body).await;
    }

    async fn broken_job(&self, step: usize) {
        let message_id = MessageId::generate();
        let job = Job {
            v: WIRE_NAME.to_owned(),
            message_id,
            account_id: 1,
            test: false,
            lane: Lane::Notice,
            purpose: String::new(),
            template: "parcel".to_owned(),
            raw_template: false,
            verification: None,
            key_id: self.keys.current().id.clone(),
            accepted_at: self.clock.now(),
            deadline: i64::MAX / 4,
            epoch: String::new(),
            generation: 0,
            attempt: 1,
            snoozed: 0,
            wait_ms: 0,
            tried: Vec::new(),
            attempts: Vec::new(),
            earlier: EarlierAttempts::default(),
            sealed: format!("broken {step}"),
        };
        let poison = Poison::BrokenJob(message_id.to_string());
        self.poison(format!("{message_id}.0"), poison, job.encode()).await;
    }

    /// Puts it onto the queue, until that is confirmed.
    async fn poison(&self, id: String, poison: Poison, body: Vec<u8>) {
        self.told.lock().unwrap().poison.insert(id.clone(), poison);
        let message = Outgoing { id, body, trace: None };
        let to = Destination::Lane(Lane::Notice);
        while self.queue.publish(to, message.clone()).await != Published::Confirmed {
            sleep(Duration::from_millis(200)).await;
        }
    }
}

fn wrong(code: &str) -> String {
    let last = if code.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &code[..code.len() - 1])
}

fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_default().to_owned()
}

/// Answers after which something may have come of a request.
fn is_doubtful(word: &str) -> bool {
    matches!(word, "outcome_unknown" | "request_timeout")
}

fn fate(answer: &Result<Answer, String>) -> Fate {
    match answer {
        Err(why) => Fate::Doubtful(why.clone()),
        Ok((202, body)) => {
            let verification = body["message_id"].is_string().then(|| text(body, "id"));
            let id = text(body, if verification.is_some() { "message_id" } else { "id" });
            Fate::Accepted { id, verification }
        }
        Ok((_, body)) => refused(&text(body, "code")),
    }
}

fn refused(word: &str) -> Fate {
    if is_doubtful(word) { Fate::Doubtful(word.to_owned()) } else { Fate::Refused(word.to_owned()) }
}

fn fate_in_batch(answer: &Result<Answer, String>, phone: &str) -> Fate {
    let Ok((_, body)) = answer else { return fate(answer) };
    let of_phone =
        |list: &str| body[list].as_array()?.iter().find(|entry| entry["phone"] == phone).cloned();
    if let Some(accepted) = of_phone("accepted") {
        return Fate::Accepted { id: text(&accepted, "id"), verification: None };
    }
    of_phone("rejected").map_or_else(|| fate(answer), |rejected| refused(&text(&rejected, "code")))
}
