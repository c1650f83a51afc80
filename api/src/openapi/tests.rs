//! The description is complete: every route is in it, and every code.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;

use super::*;
use crate::problem::Code;
use crate::testing::{TestApp, ask};

/// Method and path of all that is described.
fn described() -> BTreeSet<(String, String)> {
    let paths = document()["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(|m| (m.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

/// Method and path of all that is routed: the paths as the router shows them, the methods as each path says when it
/// is asked with one that it doesn't have.
async fn routed(test: &TestApp) -> BTreeSet<(String, String)> {
    let shown = format!("{:?}", crate::router::app(test.app.clone()));
    let table = shown.split_once("node: Node { paths: {").unwrap().1.split_once("} }").unwrap().0;
    let paths = table.split('"').filter(|text| text.starts_with('/'));
    let mut routed = BTreeSet::new();
    for path in paths {
        let asked = Request::builder().method("PROPFIND").uri(path.replace(['{', '}', '*'], ""));
        let app = crate::router::app(test.app.clone());
        let answer = ask(app, asked.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.headers["allow"].to_str().unwrap().to_owned();
        let methods = allowed.split(',').filter(|method| *method != "HEAD");
        routed.extend(methods.map(|method| (method.to_owned(), path.to_owned())));
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
