//! The fake provider and the proxy do what the other tests tell them to.

use std::time::Duration;

use serde_json::Value;

use crate::harness::eventually;
use crate::harness::provider::{Behaviour, Provider};
use crate::harness::proxy::Proxy;

/// Far more than an answer takes on this machine.
const SOON: Duration = Duration::from_secs(1);

async fn call(url: &str, phone: &str) -> reqwest::Result<(u16, Value)> {
    let client = reqwest::Client::builder().no_proxy().timeout(SOON).build()?;
    let fields =
        [("PhoneNumbers", phone), ("OutId", "id"), ("TemplateParam", r#"{"code":"123456"}"#)];
    let response = client.post(url).query(&fields).send().await?;
    Ok((response.status().as_u16(), response.json().await?))
}

async fn answer(url: &str, phone: &str) -> String {
    let (status, body) = call(url, phone).await.unwrap();
    format!("{status} {}", body["Code"].as_str().unwrap())
}

#[tokio::test]
async fn the_provider_answers_as_it_is_told_and_remembers() {
    let provider = Provider::start().await;
    let url = &provider.url;
    provider.always(Behaviour::Say(503, "ServiceUnavailable"));
    provider.always_for("2", Behaviour::AcceptAfter(Duration::from_millis(1)));
    provider.next(&[Behaviour::Accept, Behaviour::Say(200, "isp.SYSTEM_ERROR")]);
    assert_eq!(answer(url, "1").await, "200 OK");
    assert_eq!(answer(url, "1").await, "200 isp.SYSTEM_ERROR");
    assert_eq!(answer(url, "1").await, "503 ServiceUnavailable");
    assert_eq!(answer(url, "2").await, "200 OK");
    provider.next(&[Behaviour::Cut, Behaviour::Hang]);
    assert!(!call(url, "3").await.unwrap_err().is_timeout());
    assert!(call(url, "4").await.unwrap_err().is_timeout());

    let handed = provider.handed_for("id");
    let what: Vec<_> =
        handed.iter().map(|call| (call.phone.as_str(), call.carried, call.answered)).collect();
    assert_eq!(
        what,
        [
            ("1", true, true),
            ("1", false, true),
            ("1", false, true),
            ("2", true, true),
            ("3", true, false),
            ("4", true, false),
        ]
    );
    assert_eq!(handed[0].code().as_deref(), Some("123456"));
    assert!(handed.is_sorted_by_key(|call| call.at));
}

#[tokio::test]
async fn the_proxy_passes_swallows_cuts_and_refuses() {
    let provider = Provider::start().await;
    let (proxy, url) = Proxy::before(&provider.url).await;
    assert_eq!(answer(&url, "1").await, "200 OK");
    proxy.swallow();
    assert!(call(&url, "2").await.unwrap_err().is_timeout());
    proxy.refuse();
    assert!(!call(&url, "3").await.unwrap_err().is_timeout());
    proxy.pass();
    assert_eq!(answer(&url, "4").await, "200 OK");

    provider.next(&[Behaviour::Hang]);
    let hanging = call(&url, "5");
    let cut = async {
        eventually("the call to arrive", async || {
            provider.handed().into_iter().find(|c| c.phone == "5")
        })
        .await;
        proxy.cut();
    };
    let (ended, ()) = tokio::join!(hanging, cut);
    assert!(!ended.unwrap_err().is_timeout());
    let carried: Vec<_> = provider.handed().into_iter().map(|call| call.phone).collect();
    assert!(!carried.contains(&"3".to_owned()), "{carried:?}");
}
