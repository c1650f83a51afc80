//! A provider for the tests: it speaks Alibaba Cloud's format, remembers what it was handed, and answers as the test
//! says at that moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::json;
use tokio::time::Instant;

/// How a call is answered.
#[derive(Debug, Clone)]
pub enum Behaviour {
    Accept,
    AcceptAfter(Duration),
    /// Takes it under an id that repeats the parameters.
    AcceptAsParams,
    /// An answer with this status and `Code`.
    Say(u16, &'static str),
    /// Takes the SMS and never answers.
    Hang,
    /// Takes the SMS and closes the connection in place of an answer.
    Cut,
}

/// One SMS that it was handed.
#[derive(Debug, Clone)]
pub struct Handed {
    pub phone: String,
    /// Our message's id.
    pub out_id: String,
    /// `TemplateCode` and `SignName`.
    pub template: (String, String),
    /// `TemplateParam`, as it came.
    pub params: String,
    pub at: Instant,
    /// Whether it was taken; what is answered with an error isn't.
    pub carried: bool,
    /// Whether its answer was given before the caller went away.
    pub answered: bool,
}

impl Handed {
    /// The code in the parameters; none in a notice's.
    pub fn code(&self) -> Option<String> {
        let params: serde_json::Value = serde_json::from_str(&self.params).ok()?;
        Some(params["code"].as_str()?.to_owned())
    }
}

#[derive(Debug)]
struct Shared {
    always: Mutex<Behaviour>,
    next: Mutex<Vec<Behaviour>>,
    phones: Mutex<BTreeMap<String, Behaviour>>,
    beginnings: Mutex<BTreeMap<String, Behaviour>>,
    handed: Mutex<Vec<Handed>>,
}

impl Shared {
    fn behaviour(&self, phone: &str) -> Behaviour {
        let next = self.next.lock().unwrap().pop();
        let next = next.or_else(|| self.phones.lock().unwrap().get(phone).cloned());
        let next = next.or_else(|| {
            let beginnings = self.beginnings.lock().unwrap();
            let begins = beginnings.iter().find(|(beginning, _)| phone.starts_with(*beginning));
            begins.map(|(_, behaviour)| behaviour.clone())
        });
        next.unwrap_or_else(|| self.always.lock().unwrap().clone())
    }
}

#[derive(Debug, Clone)]
pub struct Provider {
    shared: Arc<Shared>,
    pub url: String,
}

impl Provider {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            always: Mutex::new(Behaviour::Accept),
            next: Mutex::default(),
            phones: Mutex::default(),
            beginnings: Mutex::default(),
            handed: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let app = Router::new().route("/", post(answer)).with_state(shared.clone());
        tokio::spawn(axum::serve(listener, app).into_future());
        Self { shared, url }
    }

    pub fn port(&self) -> u16 {
        reqwest::Url::parse(&self.url).unwrap().port().unwrap()
    }

    /// From now on.
    pub fn always(&self, behaviour: Behaviour) {
        *self.shared.always.lock().unwrap() = behaviour;
    }

    /// From now on for this phone, as the calls name it, in place of what holds for all.
    pub fn always_for(&self, phone: &str, behaviour: Behaviour) {
        self.shared.phones.lock().unwrap().insert(phone.to_owned(), behaviour);
    }

    /// From now on for phones that begin so, in place of what holds for all.
    pub fn always_where(&self, beginning: &str, behaviour: Behaviour) {
        self.shared.beginnings.lock().unwrap().insert(beginning.to_owned(), behaviour);
    }

    /// For the next calls, in this order, whichever their phones.
    pub fn next(&self, behaviours: &[Behaviour]) {
        *self.shared.next.lock().unwrap() = behaviours.iter().rev().cloned().collect();
    }

    /// Every call so far.
    pub fn handed(&self) -> Vec<Handed> {
        self.shared.handed.lock().unwrap().clone()
    }

    /// The code of a message that it took.
    pub fn code_of(&self, out_id: &str) -> Option<String> {
        let handed = self.shared.handed.lock().unwrap();
        handed.iter().rev().find(|call| call.carried && call.out_id == out_id)?.code()
    }

    /// The calls for a message.
    pub fn handed_for(&self, out_id: &str) -> Vec<Handed> {
        self.handed().into_iter().filter(|handed| handed.out_id == out_id).collect()
    }
}

/// Marks a call as answered when its answer is dropped into the connection, and not when the caller went away before.
struct Pending {
    shared: Arc<Shared>,
    place: usize,
}

impl Pending {
    fn answered(&self) {
        self.shared.handed.lock().unwrap()[self.place].answered = true;
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let field = |name: &str| query.get(name).cloned().unwrap_or_default();
    let behaviour = shared.behaviour(&field("PhoneNumbers"));
    let pending = {
        let mut handed = shared.handed.lock().unwrap();
        handed.push(Handed {
            phone: field("PhoneNumbers"),
            out_id: field("OutId"),
            template: (field("TemplateCode"), field("SignName")),
            params: field("TemplateParam"),
            at: Instant::now(),
            carried: !matches!(behaviour, Behaviour::Say(..)),
            answered: false,
        });
        Pending { shared: shared.clone(), place: handed.len() - 1 }
    };
    let said = |status: u16, code: &str| {
        // As the real one does, it repeats what it was given.
        let message = format!("{}{code}: {}", field("PhoneNumbers"), field("TemplateParam"));
        let id = match behaviour {
            Behaviour::AcceptAsParams => format!("9006^{}", field("TemplateParam")),
            _ => "9006^0".to_owned(),
        };
        let body = json!({ "Code": code, "Message": message, "RequestId": "r", "BizId": id });
        (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
    };
    let response = match &behaviour {
        Behaviour::Accept | Behaviour::AcceptAsParams => said(200, "OK"),
        Behaviour::AcceptAfter(latency) => {
            tokio::time::sleep(*latency).await;
            said(200, "OK")
        }
        Behaviour::Say(status, code) => said(*status, code),
        Behaviour::Hang => std::future::pending().await,
        // A panic in a handler ends its connection; this one goes without a message in the test's output.
        Behaviour::Cut => std::panic::resume_unwind(Box::new(())),
    };
    pending.answered();
    response
}
