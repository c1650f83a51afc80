//! The description is complete: every route is in it, and every code.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};

use tower::ServiceExt as _;

use super::problems::Who;
use super::*;
use crate::auth::token::Grant;
use crate::http::problem::{Code, Told};
use crate::testing::conformance::{Conformance, Exchange};
use crate::testing::{Answer, TestApp, ask};

/// Method and path of all that is described.
fn described() -> BTreeSet<(String, String)> {
    let paths = document()["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(|m| (m.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

/// Method and path of all that is routed: the paths as the router shows them, and of each the methods that aren't
/// refused. What answers that nothing is there, as under a dialect's prefix, is no endpoint.
async fn routed(test: &TestApp) -> BTreeSet<(String, String)> {
    let shown = format!("{:?}", crate::routes::router::app(test.app.clone()));
    let table = shown.split_once("node: Node { paths: {").unwrap().1.split_once("} }").unwrap().0;
    let paths = table.split('"').filter(|text| text.starts_with('/'));
    let mut routed = BTreeSet::new();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let asked = Request::builder().method(method).uri(path.replace(['{', '}', '*'], ""));
            let app = crate::routes::router::app(test.app.clone());
            let answer = app.oneshot(asked.body(Body::empty()).unwrap()).await.unwrap();
            let told = answer.extensions().get::<Told>().map(|Told(problem)| problem.code);
            let missing = matches!(told, Some(Code::NotFound | Code::MethodNotAllowed));
            if answer.status() != 405 && !missing {
                routed.insert((method.to_owned(), path.to_owned()));
            }
        }
    }
    routed
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let all = routed(&TestApp::start(&[]).await).await;
    let described = described();
    let forgotten: Vec<_> = all.difference(&described).collect();
    let gone: Vec<_> = described.difference(&all).collect();
    assert!(
        forgotten.is_empty() && gone.is_empty(),
        "not described: {forgotten:?}; no route: {gone:?}"
    );
}

#[test]
fn every_endpoint_says_what_it_does_and_who_may() {
    let mut names = BTreeSet::new();
    for (method, path) in described() {
        let operation = &document()["paths"][&path][method.to_lowercase()];
        let text = |member: &str| operation[member].as_str().unwrap_or_default().to_owned();
        assert!(!text("summary").is_empty() && !text("summary").ends_with('.'), "{method} {path}");
        assert!(text("description").contains("**Who:**"), "{method} {path}");
        assert!(names.insert(text("operationId")), "{method} {path} has another's operationId");
        let tag = &operation["tags"][0];
        let tags = document()["tags"].as_array().unwrap();
        assert!(tags.iter().any(|known| known["name"] == *tag), "{method} {path}: {tag}");
    }
}

#[test]
fn every_code_is_some_endpoints() {
    let mut listed: Vec<_> = problems::UNROUTED.iter().map(|code| code.word()).collect();
    for operation in document()["paths"].as_object().unwrap().values() {
        for operation in operation.as_object().unwrap().values() {
            listed.extend(
                operation["x-problems"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()),
            );
        }
    }
    let missing: Vec<_> =
        Code::ALL.iter().map(|code| code.word()).filter(|w| !listed.contains(w)).collect();
    assert!(missing.is_empty(), "no endpoint's `x-problems` has {missing:?}");
}

#[test]
fn every_example_is_as_its_schema_says() {
    let conformance = Conformance::new(document());
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (place, media) in media(document()) {
        let schema = format!("{place}/schema");
        let examples = media["examples"].as_object().into_iter().flatten();
        let examples = examples.map(|(_, example)| match example["$ref"].as_str() {
            Some(place) => &document().pointer(place.trim_start_matches('#')).unwrap()["value"],
            None => &example["value"],
        });
        let one = media.get("example").into_iter();
        let before = seen;
        for example in examples.chain(one) {
            seen += 1;
            let why = conformance.valid(&schema, example).err();
            wrong.extend(why.map(|why| format!("{place}: {why}")));
        }
        assert!(seen > before, "{place} has no example");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100);
}

/// Every body that is described, with its place.
fn media(document: &Value) -> Vec<(String, &Value)> {
    fn walk<'a>(place: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
            if place.contains("/content/") && inner.get("schema").is_some() {
                found.push((place, inner));
            } else {
                walk(&place, inner, found);
            }
        }
    }
    let mut found = Vec::new();
    walk("", document, &mut found);
    found
}

#[tokio::test]
async fn who_may_call_is_as_described() {
    let test = TestApp::start(&[]).await;
    for (method, path) in described() {
        let operation = &document()["paths"][&path][method.to_lowercase()];
        let who = Who::of(operation);
        let needs = |grant: &Grant| matches!(who, Who::Scope(scope) | Who::ScopeOrTrust(scope) if scope == grant.word());
        let others: Vec<_> = Grant::ALL.into_iter().filter(|grant| !needs(grant)).collect();
        let token = test.token("ops", &others).await;
        let request =
            || Request::builder().method(method.as_str()).uri(path.replace(['{', '}'], ""));
        let ask = async |request: axum::http::request::Builder| {
            ask(crate::routes::router::app(test.app.clone()), request.body(Body::empty()).unwrap())
                .await
        };
        let nobody = ask(request()).await;
        let other = ask(request().header("authorization", format!("Bearer {token}"))).await;
        if operation["x-dialect"] == "platform" {
            // It looks at parameters first.
            let is_scoped = matches!(who, Who::ScopeOrTrust(_));
            assert_eq!(other.status == 403, is_scoped, "{method} {path}: {}", other.body);
            continue;
        }
        if operation["x-dialect"].is_string() {
            let code = |status| if who == Who::Anybody { 200 } else { status };
            assert_eq!(nobody.body["code"], code(401), "{method} {path}");
            assert_eq!(other.status, 200, "{method} {path}");
            assert_eq!(other.body["code"] == 200, who == Who::Anybody, "{method} {path}");
            continue;
        }
        let let_in = |answer: &Answer| !matches!(answer.status.as_u16(), 401 | 403);
        if matches!(who, Who::Anybody | Who::ScopeOrTrust(_)) {
            assert!(let_in(&nobody), "{method} {path}: {}", nobody.body);
            continue;
        }
        assert_eq!(nobody.problem(), (401, "token_missing"), "{method} {path}");
        let Who::Scope(scope) = who else {
            assert!(let_in(&other), "{method} {path}: {}", other.body);
            continue;
        };
        assert_eq!(other.problem(), (403, "scope_missing"), "{method} {path}");
        let detail = format!("the scope `{scope}` is needed");
        assert_eq!(other.body["detail"], detail, "{method} {path}");
    }
}

#[test]
fn what_is_not_described_is_noticed() {
    let conformance = Conformance::new(document());
    let why = |status, headers: &[(&'static str, &'static str)], body: &str| {
        let named = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers = &named.collect::<HeaderMap>();
        let (sent, body) = (&[][..], body.as_bytes());
        let exchange = Exchange { method: "GET", target: "/healthz", sent, status, headers, body };
        conformance.check(&exchange).err().unwrap_or_default()
    };
    let headers = [("content-type", "application/json"), ("x-request-id", "a")];
    assert_eq!(why(200, &headers, r#"{"status":"alive"}"#), "");
    assert!(why(201, &headers, r#"{"status":"alive"}"#).contains("status"));
    assert!(why(200, &headers, r#"{"status":"dead"}"#).contains("dead"));
    assert!(why(200, &headers, r#"{"status":"alive","more":1}"#).contains("more"));
    assert!(why(200, &headers, "{}").contains("required"));
    assert!(why(200, &headers[..1], r#"{"status":"alive"}"#).contains("X-Request-Id"));
    assert!(why(200, &[headers[1], ("content-type", "text/html")], "").contains("type"));
    assert!(
        why(200, &[headers[0], ("x-request-id", "a b")], r#"{"status":"alive"}"#)
            .contains("does not match")
    );
    let other = [headers[0], headers[1], ("x-powered-by", "x")];
    assert!(why(200, &other, r#"{"status":"alive"}"#).contains("x-powered-by"));
}

#[test]
fn what_a_dialect_accepts_is_described_too() {
    let conformance = Conformance::new(document());
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("x-request-id", HeaderValue::from_static("a"));
    let why = |target, status, sent: &str, body: &str| {
        let (sent, body) = (sent.as_bytes(), body.as_bytes());
        let headers = &headers;
        let exchange = Exchange { method: "POST", target, sent, status, headers, body };
        conformance.check(&exchange).err().unwrap_or_default()
    };
    let right = r#"{"phoneNumber":13800138000,"purpose":"login","more":1}"#;
    let (sent, failed) =
        (r#"{"code":200,"message":"","data":null}"#, r#"{"code":400,"message":"","data":null}"#);
    assert_eq!(why("/send", 200, right, sent), "");
    assert!(why("/send", 200, r#"{"purpose":"login"}"#, sent).contains("accepted"));
    assert_eq!(why("/send", 200, r#"{"purpose":"login"}"#, failed), "");
    assert!(why("/sms/send", 200, right, sent).contains("msg"), "its text is elsewhere");
    assert!(why("/send", 422, right, failed).contains("status"));
    let nowhere = r#"{"code":404,"msg":"","data":null}"#;
    assert_eq!(why("/sms/nowhere", 200, "", nowhere), "");
    assert!(why("/nowhere", 200, "", nowhere).contains("nothing"));
}

#[test]
fn the_guide_tells_how_to_mend_every_refusal() {
    let guide = include_str!("../../../docs/api.md");
    let missing: Vec<_> = Code::ALL
        .iter()
        .map(|code| code.word())
        .filter(|w| !guide.contains(&format!("`{w}`")))
        .collect();
    assert!(missing.is_empty(), "docs/api.md has no {missing:?}");
}
