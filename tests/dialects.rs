//! The older systems' clients, against the embedded product and a provider that speaks Alibaba Cloud's format.

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::processes::{Client, Process, settings};
use crate::harness::provider::{Handed, Provider};
use crate::harness::services;

struct Moved {
    _process: Process,
    client: Client,
    provider: Provider,
}

async fn start() -> Moved {
    let provider = Provider::start().await;
    let data = services::new_folder("dialects");
    let mut process = Process::api(settings(&[
        ("POSTRIDER_DATA_DIR", &data.display().to_string()),
        ("POSTRIDER_PROVIDERS__MAIN__KIND", "aliyun"),
        ("POSTRIDER_PROVIDERS__MAIN__ACCESS_KEY_ID", "id"),
        ("POSTRIDER_PROVIDERS__MAIN__ACCESS_KEY_SECRET", "secret"),
        ("POSTRIDER_PROVIDERS__MAIN__ENDPOINT", &provider.url),
        ("POSTRIDER_TEMPLATES__VERIFY__SIGN", "Shop"),
        ("POSTRIDER_TEMPLATES__VERIFY__ALIYUN", "SMS_1"),
        ("POSTRIDER_DIALECTS__FLASK__ALLOW_RAW_TEMPLATES", "true"),
        ("POSTRIDER_DIALECTS__MALL__ANONYMOUS__ACCOUNT", "shop"),
        ("POSTRIDER_DIALECTS__MALL__ANONYMOUS__FROM", "127.0.0.1/32"),
    ]));
    let url = process.url().await;
    let token = process.token(&["--account", "shop"]);
    Moved { client: Client::new(url, token), _process: process, provider }
}

impl Moved {
    /// The one SMS to this phone.
    async fn handed(&self, phone: &str) -> Handed {
        eventually("the provider to be handed the SMS", || async {
            self.provider.handed().into_iter().find(|handed| handed.phone == phone)
        })
        .await
    }

    async fn said(&self, path: &str, body: Value) -> Value {
        let (status, said) = self.client.post(path, &body).await;
        assert_eq!(status, 200, "{said}");
        said
    }
}

#[tokio::test]
async fn a_code_goes_the_whole_way_in_either_dialect() {
    let moved = start().await;
    let sent = moved.said("/send", json!({"phoneNumber": "13800138000", "purpose": "login"})).await;
    assert_eq!(sent, json!({"code": 200, "message": "验证码发送成功", "data": null}));
    let code = moved.handed("13800138000").await.code().unwrap();
    let check = json!({"phoneNumber": "13800138000", "purpose": "login", "code": code});
    assert_eq!(moved.said("/sms/verify", check).await["msg"], "验证码正确");

    let body = json!({"phone": "13900139000", "channel": "login"});
    let sent = moved.said("/sms_message/getVerificationCode", body).await;
    assert_eq!(sent, json!({"code": 200, "message": "请求成功!", "data": {}}));
    let handed = moved.handed("13900139000").await;
    let code = handed.code().unwrap();
    assert_eq!((code.len(), handed.params), (4, json!({"code": code}).to_string()));
    let check = json!({"phone": "13900139000", "channel": "login", "code": code});
    assert_eq!(moved.said("/sms_message/verify_code", check).await["message"], "验证成功");
}

#[tokio::test]
async fn a_template_code_of_the_providers_own_reaches_it_as_it_is() {
    let moved = start().await;
    let body = json!({
        "phone": "13800138000", "channel": "orders", "template_code": "SMS_9999", "template_param": "{\"count\":3}"
    });
    let sent = moved.said("/sms_message/sendNotice", body).await;
    assert_eq!(sent["message"], "请求成功!");
    let handed = moved.handed("13800138000").await;
    assert_eq!(handed.template, ("SMS_9999".to_owned(), "Shop".to_owned()));
    assert_eq!(handed.params, r#"{"count":"3"}"#);
    let row = moved.client.message_once(&handed.out_id, "sent").await;
    assert_eq!((&row["template"], &row["purpose"]), (&json!("SMS_9999"), &json!("flask/orders")));
}

#[tokio::test]
async fn who_needs_no_token_sends_none() {
    let moved = start().await;
    let nobody = Client::new(moved.client.url.clone(), String::new());
    let body = json!({"phoneNumber": "13800138000", "purpose": "login"});
    assert_eq!(nobody.post("/send", &body).await.0, 200);
    assert_eq!(nobody.post("/sms_message/verify_code", &body).await.0, 401);
    assert_eq!(nobody.post("/v1/verifications", &body).await.0, 401);
}
