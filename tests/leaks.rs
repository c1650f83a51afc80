//! What no log, metric, table of refusals or attempts, and no dead letter may hold: codes, tokens, keys, passwords, whole
//! phone numbers and query strings, sent through every endpoint that there is, at the finest log level.

use postrider_common::secrets::KeyRing;
use reqwest::Method;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::distributed::{Alone, Distributed, start};
use crate::harness::eventually;
use crate::harness::processes::{Client, token};
use crate::harness::provider::Behaviour;

/// So many digits that none are there by chance.
const LENGTH: (&str, &str) = ("POSTRIDER_CODE__LENGTH", "9");
const TRACE: (&str, &str) = ("POSTRIDER_LOG__FILTER", "trace");
const OPEN: (&str, &str) = ("POSTRIDER_ACCOUNTS__REGISTRATION", "open");

const PASSWORD: &str = "marked-password-4f1d";
const NEW_PASSWORD: &str = "marked-password-9c2e";
const WRONG_PASSWORD: &str = "marked-wrong-password-77aa";
const ANSWER: &str = "marked-answer-31bb";
const QUERY: &str = "marked-query-58cc";
const BODY: &str = "marked-body-0e0e";
const BEARER: &str = "marked-bearer-12dd";
const PARAM: &str = "marked-param-5511";
const PHONE: &str = "13912345678";
const REFUSED: &str = "13912345677";

/// Says and asks what callers do, each thing with a secret in it; gives the secrets that came up.
async fn use_it(it: &Distributed) -> Vec<String> {
    let client = &it.client;
    let mut secrets = vec![client.token.clone()];
    let ops =
        Client::new(client.url.clone(), token(&it.settings, &["--account", "ops", "--admin"]));
    secrets.push(ops.token.clone());

    // Accounts: v1's, and the platform dialect's with all of it in a query string.
    let new = json!({
        "username": "marked", "password": PASSWORD, "email": "marked@example.com",
        "security_question": "pet?", "security_answer": ANSWER,
    });
    assert_eq!(client.post("/v1/accounts", &new).await.0, 201);
    for (password, status) in [(WRONG_PASSWORD, 401), (PASSWORD, 201)] {
        let log_in = json!({"username": "marked", "password": password});
        let (found, session) = client.post("/v1/sessions", &log_in).await;
        assert_eq!(found, status, "{session}");
        secrets.extend(session["token"].as_str().map(str::to_owned));
    }
    let marked = Client::new(client.url.clone(), secrets.last().unwrap().clone());
    let change = json!({
        "old_password": PASSWORD, "new_password": NEW_PASSWORD, "security_answer": ANSWER,
    });
    assert_eq!(marked.put("/v1/accounts/me/password", &change).await.0, 204);
    let (_, by_query) = client
        .get(&format!("/api/login?username=marked&password={NEW_PASSWORD}&{QUERY}={QUERY}"))
        .await;
    let session = by_query["user"]["token"].as_str().unwrap().to_owned();
    client.get(&format!("/api/balance?token={session}")).await;
    client.get(&format!("/api/recharge?token={session}&amount=1")).await;
    client
        .get(&format!("/api/change_password?username=marked&old_password={WRONG_PASSWORD}&new_password={PASSWORD}&security_answer={ANSWER}"))
        .await;
    secrets.push(session);
    let key = json!({"name": "k", "scopes": ["send", "verify", "read"]});
    let (_, key) = client.post("/v1/api-keys", &key).await;
    secrets.push(key["key"].as_str().unwrap().to_owned());
    let by_key = Client::new(client.url.clone(), secrets.last().unwrap().clone());

    // Codes, sent, failed and approved, by v1 and by a dialect.
    let (_, sent) = by_key.send_code(PHONE).await;
    let message = sent["message_id"].as_str().unwrap();
    by_key.message_once(message, "sent").await;
    let code = code_of(it, message);
    by_key.check(PHONE, "987654321").await;
    assert_eq!(by_key.check(PHONE, &code).await.0, 200);
    secrets.push(code);
    let other = "13912345679";
    let asked = json!({"phoneNumber": other, "purpose": "register"});
    assert_eq!(client.post("/sms/send", &asked).await.1["code"], 200);
    let by_mall = eventually("the dialect's code to be handed over", || async {
        it.provider.handed().into_iter().find(|call| call.phone == other)
    })
    .await;
    let by_mall: Value = serde_json::from_str(&by_mall.params).unwrap();
    secrets.push(by_mall["code"].as_str().unwrap().to_owned());
    secrets.push(other.to_owned());
    let wrong = json!({"phoneNumber": PHONE, "purpose": "register", "code": "987654321"});
    client.post("/sms/verify", &wrong).await;
    let channel = json!({"phone": PHONE, "channel": "marked", "code": "987654321"});
    for path in ["getVerificationCode", "verify_code"] {
        client.post(&format!("/sms_message/{path}"), &channel).await;
    }
    let notice = json!({"template": "parcel", "params": {"number": PARAM}, "phones": [PHONE, "1"]});
    let (_, sent) = client.post("/v1/notices", &notice).await;
    client.message_once(sent["accepted"][0]["id"].as_str().unwrap(), "sent").await;

    // What a provider refuses in words that repeat the number and the parameters.
    it.provider.always_for(REFUSED, Behaviour::Say(400, "isv.MOBILE_NUMBER_ILLEGAL"));
    let notice = json!({"template": "parcel", "params": {"number": PARAM}, "phone": REFUSED});
    let (_, sent) = client.post("/v1/notices", &notice).await;
    client.message_once(sent["id"].as_str().unwrap(), "failed").await;

    // What looks for a number, and what bans one.
    client.get(&format!("/v1/messages?phone={PHONE}")).await;
    let ban = json!({"kind": "phone", "value": PHONE, "reason": "x"});
    ops.post("/v1/blacklist", &ban).await;
    client.send_code(PHONE).await;
    ops.get("/v1/blacklist").await;
    ops.post("/v1/explain", &json!({"phone": PHONE, "purpose": "login"})).await;
    secrets
}

/// The code that the provider was handed.
fn code_of(it: &Distributed, message: &str) -> String {
    let params = it.provider.handed_for(message)[0].params.clone();
    let params: Value = serde_json::from_str(&params).unwrap();
    params["code"].as_str().unwrap().to_owned()
}

/// Asks every endpoint of the description for nonsense with marks in all of its parts.
async fn abuse(it: &Distributed) -> usize {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let document: Value = it.client.get("/openapi.json").await.1;
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", QUERY).replace("{file}", QUERY);
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let names = names_of(&document, operation);
            let body: Map<String, Value> =
                names.into_iter().map(|name| (name, json!(BODY))).collect();
            // A token that is logged out opens nothing that comes later.
            let token = if path.ends_with("/current") { "" } else { &it.client.token };
            for bearer in [BEARER, token] {
                let url =
                    format!("{}{path}?token={QUERY}&phone={PHONE}&{QUERY}={QUERY}", it.client.url);
                let request = http
                    .request(method.clone(), url)
                    .bearer_auth(bearer)
                    .header("cookie", BEARER)
                    .header("referer", format!("http://x/?{QUERY}"));
                for request in [
                    request.try_clone().unwrap().json(&body),
                    request
                        .try_clone()
                        .unwrap()
                        .header("content-type", "application/x-www-form-urlencoded")
                        .body(format!("token={QUERY}&password={BODY}")),
                    request.body(format!("{{\"{BODY}")).header("content-type", "application/json"),
                ] {
                    let status = request.send().await.unwrap().status();
                    assert!(!status.is_server_error(), "{method} {path} answered {status}");
                    asked += 1;
                }
            }
        }
    }
    asked
}

/// The names of all that an operation's body may have.
fn names_of(document: &Value, operation: &Value) -> Vec<String> {
    let mut names = Vec::new();
    let mut schemas: Vec<&Value> =
        operation.pointer("/requestBody/content/application~1json/schema").into_iter().collect();
    while let Some(schema) = schemas.pop() {
        let referred = schema["$ref"].as_str().map(|place| place.trim_start_matches('#'));
        schemas.extend(referred.and_then(|place| document.pointer(place)));
        schemas.extend(["oneOf", "allOf"].iter().filter_map(|of| schema[of].as_array()).flatten());
        names
            .extend(schema["properties"].as_object().into_iter().flatten().map(|(n, _)| n.clone()));
    }
    names
}

#[tokio::test]
async fn nothing_secret_reaches_a_log_a_metric_or_a_table_but_the_messages() {
    let it = start(Alone { more: vec![LENGTH, TRACE, OPEN], ..Alone::default() }).await;
    let mut secrets = use_it(&it).await;
    assert!(abuse(&it).await > 150);
    secrets.extend(
        [
            PASSWORD,
            NEW_PASSWORD,
            WRONG_PASSWORD,
            ANSWER,
            QUERY,
            BODY,
            BEARER,
            PARAM,
            PHONE,
            REFUSED,
        ]
        .map(str::to_owned),
    );
    secrets.push("987654321".to_owned());

    let ops =
        Client::new(it.client.url.clone(), token(&it.settings, &["--account", "ops", "--admin"]));
    let metrics = ops.text("/metrics").await;
    for name in [
        "sms_guard_total{",
        r#"sms_store_duration_seconds_bucket{operation="admit""#,
        r#"sms_publish_duration_seconds_bucket{to="code""#,
    ] {
        assert!(metrics.contains(name), "{metrics}");
    }
    let mut connection = PgConnection::connect(&it.database).await.unwrap();
    let mut tables = Vec::new();
    for (table, word) in [
        ("sms_refusal", "phone_limited"),
        ("sms_attempt", "MOBILE_NUMBER_ILLEGAL"),
        ("dead_letter", "MOBILE_NUMBER_ILLEGAL"),
    ] {
        let rows =
            format!("SELECT coalesce(string_agg(to_json(r)::text, '\n'), '') FROM {table} AS r");
        let rows = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&mut connection);
        let rows: String = rows.await.unwrap();
        assert!(rows.contains(word), "{table}: {rows}");
        tables.push(rows);
    }
    let [refusals, attempts, dead_letters] = tables.try_into().unwrap();
    for (place, text) in [
        ("the API's log", it.api.output()),
        ("the worker's log", it.worker.output()),
        ("the metrics", metrics),
        ("the refusals", refusals),
        ("the attempts", attempts),
        ("the dead letters", dead_letters),
    ] {
        assert!(text.len() > 500, "{place} is hardly there: {text}");
        for secret in &secrets {
            let found = text.find(secret.as_str()).map(|at| {
                let from = text[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
                text[from..].chars().take(300).collect::<String>()
            });
            assert!(found.is_none(), "{place} has {secret}: {found:?}");
        }
    }
}

#[tokio::test]
async fn an_id_of_a_provider_that_repeats_the_code_is_redacted_and_found_by_its_hash() {
    let it = start(Alone { more: vec![LENGTH], ..Alone::default() }).await;
    let mut database = PgConnection::connect(&it.database).await.unwrap();
    let mut written = async |message: &str| {
        it.rows_of(&[message.to_owned()]).await;
        let both = "SELECT l.provider_message_id, l.provider_message_hash,
                           a.provider_message_id, a.provider_message_hash
                    FROM sms_log l JOIN sms_attempt a ON a.message_id = l.id WHERE l.id = $1";
        let both: (String, Option<String>, String, Option<String>) =
            sqlx::query_as(both).bind(message).fetch_one(&mut database).await.unwrap();
        assert_eq!((&both.0, &both.1), (&both.2, &both.3));
        (both.0, both.1)
    };
    let (_, plain) = it.client.send_code(PHONE).await;
    let plain = written(plain["message_id"].as_str().unwrap()).await;
    assert_eq!(plain, ("9006^0".to_owned(), None));

    it.provider.always(Behaviour::AcceptAsParams);
    let (_, sent) = it.client.send_code(REFUSED).await;
    let message = sent["message_id"].as_str().unwrap();
    let (id, hash) = written(message).await;
    assert_eq!(id, r#"9006^{"code":"******"}"#);
    let given = format!(r#"9006^{{"code":"{}"}}"#, code_of(&it, message));
    let keys: KeyRing = it.settings["POSTRIDER_SECRET"].parse().unwrap();
    assert_eq!(hash, Some(keys.provider_message_hash("main", &given)));
}
