//! The admin, who bans phones and lifts that again: each is asked for until it is answered that it was done, since before
//! that nobody knows whether it was.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::super::evidence::Ban;
use super::Callers;

const BANS: &str = "/v1/blacklist";
const PAUSE: Duration = Duration::from_millis(200);

impl Callers {
    /// Bans a phone for so long, from when that is answered.
    pub(super) async fn ban(&self, step: usize, phone: &str, lasts: Duration) {
        let (asked, told) = loop {
            let asked = self.clock.now();
            if self.set_ban(step, phone).await {
                break (asked, self.clock.now());
            }
            sleep(PAUSE).await;
        };
        sleep(lasts).await;
        let lifting = self.clock.now();
        while !self.lift_ban(step, phone).await {
            sleep(PAUSE).await;
        }
        let ban = Ban { phone: phone.to_owned(), asked, told, lifting };
        self.told.lock().unwrap().bans.push(ban);
    }

    async fn set_ban(&self, step: usize, phone: &str) -> bool {
        let admin = &self.admins[self.steps[step].replica];
        let ban = json!({ "kind": "phone", "value": phone, "reason": "asked us to stop" });
        let Ok((status, body)) = admin.try_post(BANS, "", &ban).await else { return false };
        assert!(status == 201 || status == 503, "a ban was answered with {status} {body}");
        status == 201
    }

    /// The client of the tests panics where a DELETE isn't answered.
    async fn lift_ban(&self, step: usize, phone: &str) -> bool {
        let admin = &self.admins[self.steps[step].replica];
        let timeout = Duration::from_secs(20);
        let http = reqwest::Client::builder().no_proxy().timeout(timeout).build().unwrap();
        let ban = json!({ "kind": "phone", "value": phone });
        let request = http.delete(format!("{}{BANS}", admin.url)).bearer_auth(&admin.token);
        let Ok(answer) = request.json(&ban).send().await else { return false };
        let status = answer.status().as_u16();
        // It is gone already where an earlier answer was lost.
        assert!(matches!(status, 204 | 404 | 503), "a lifting was answered with {status}");
        status != 503
    }
}
