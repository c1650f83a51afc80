//! The sandbox: carries nothing, and keeps what it was handed for a day, for `GET /sandbox/messages`.

use futures::future::BoxFuture;
use postrider_common::model::job::Outcome;
use postrider_common::model::sandbox::SandboxText;
use postrider_common::secrets::KeyRing;
use postrider_common::store::{SandboxPut, Store};
use tokio::time::Instant;

use super::{Answer, Provider, Sms};

#[derive(Debug)]
pub(super) struct Sandbox {
    store: Store,
    keys: KeyRing,
}

impl Sandbox {
    pub(super) fn new(store: Store, keys: KeyRing) -> Self {
        Self { store, keys }
    }

    pub(super) async fn keep(&self, sms: &Sms) -> Answer {
        let kept = SandboxText { phone: sms.phone.masked(), text: sms.text.clone() };
        let put = SandboxPut {
            now: None,
            account_id: sms.owner.store_id(),
            message_id: sms.message_id,
            sealed: kept.seal(&self.keys, sms.message_id),
        };
        match self.store.sandbox_put(&put).await {
            Ok(()) => {
                let mut answer = Answer::of(Outcome::Accepted, "");
                answer.provider_message_id = Some(format!("sandbox-{}", sms.message_id));
                answer
            }
            Err(error) => {
                Answer::of(Outcome::Later, "sandbox_unavailable").with_message(error.to_string())
            }
        }
    }
}

impl Provider for Sandbox {
    fn send<'a>(&'a self, sms: &'a Sms, _begin_by: Instant) -> BoxFuture<'a, Answer> {
        Box::pin(self.keep(sms))
    }
}
