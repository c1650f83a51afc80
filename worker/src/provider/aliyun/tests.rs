//! The class of each answer.

mod numbers;
mod wire;

use postrider_common::model::job::{AnswerScope, Lane};
use proptest::prelude::*;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::*;
use crate::provider::http::{Response, any_response};

fn response(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    Response { status, headers: HeaderMap::new(), body: body.to_owned() }
}

fn answer(status: u16, body: &str) -> Answer {
    classify(Lane::Notice, &response(status, body))
}

/// An answer of this status with this `Code`.
fn coded(status: u16, code: &str) -> Answer {
    let body = serde_json::json!({
        "Code": code, "Message": "m", "RequestId": "r", "BizId": "9006^0"
    });
    answer(status, &body.to_string())
}

fn asking_for_time(mut response: Response) -> Response {
    response.headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
    response
}

#[test]
fn every_documented_code_has_its_class() {
    use AnswerScope::{Message, Provider};
    let later = "isp.SYSTEM_ERROR isp.UNKNOWN isp.GATEWAY_ERROR ServiceUnavailable InternalError \
        SignatureNonceUsed";
    let throttled = "Throttling Throttling.User Throttling.Api Throttling.Anything";
    let refused = "isv.MOBILE_NUMBER_ILLEGAL isv.MOBILE_COUNT_OVER_LIMIT isv.TEMPLATE_MISSING_PARAMETERS \
        isv.TEMPLATE_PARAMS_ILLEGAL isv.INVALID_PARAMETERS isv.INVALID_JSON_PARAM isv.PARAM_LENGTH_LIMIT \
        isv.PARAM_NOT_SUPPORT_URL isv.BLACK_KEY_CONTROL_LIMIT isv.SMS_CONTENT_ILLEGAL \
        isv.DOMESTIC_NUMBER_NOT_SUPPORTED";
    let limits = "isv.BUSINESS_LIMIT_CONTROL isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL";
    let account = "isv.SMS_SIGNATURE_ILLEGAL isv.SMS_SIGN_ILLEGAL isv.SIGN_STATE_ILLEGAL \
        isv.SMS_SIGNATURE_SCENE_ILLEGAL isv.SIGN_NAME_ILLEGAL isv.SMS_TEMPLATE_ILLEGAL isv.EXTEND_CODE_ERROR \
        isv.AMOUNT_NOT_ENOUGH isv.OUT_OF_SERVICE isv.ACCOUNT_NOT_EXISTS isv.ACCOUNT_ABNORMAL \
        isv.SECURITY_FROZEN_ACCOUNT isv.PRODUCT_UN_SUBSCRIPT isv.PRODUCT_UNSUBSCRIBE isv.DENY_IP_RANGE \
        isv.SMS_TEST_NUMBER_LIMIT isp.RAM_PERMISSION_DENY PORT_NOT_REGISTERED SignatureDoesNotMatch \
        IncompleteSignature InvalidTimeStamp.Expired InvalidAccessKeyId InvalidAccessKeyId.NotFound \
        InvalidAccessKeyId.Inactive InvalidSecurityToken.Expired InvalidSecurityToken.Malformed \
        MissingSecurityToken Forbidden Forbidden.RAM Forbidden.AccessKeyDisabled NoPermission";
    for (codes, outcome, scope) in [
        ("OK", Outcome::Accepted, Message),
        (later, Outcome::Later, Message),
        (throttled, Outcome::TooFast, Provider),
        (refused, Outcome::Refused, Message),
        (limits, Outcome::RefusedHere, Message),
        (account, Outcome::RefusedHere, Provider),
    ] {
        for code in codes.split_whitespace() {
            for status in [200, 400] {
                if code == "OK" && status != 200 {
                    continue;
                }
                let answer = coded(status, code);
                assert_eq!((answer.outcome, answer.scope), (outcome, scope), "{status} {code}");
                assert_eq!(answer.error_code.is_some(), outcome != Outcome::Accepted);
                assert_eq!(answer.provider_message_id.as_deref(), Some("9006^0"));
                assert!(!answer.try_next_now, "{code} is listed");
            }
        }
    }
}

#[test]
fn parameters_that_a_code_lacks_are_our_configuration() {
    let response = response(200, r#"{"Code":"isv.TEMPLATE_MISSING_PARAMETERS","Message":"m"}"#);
    let of = |lane| {
        let answer = classify(lane, &response);
        (answer.outcome, answer.scope)
    };
    assert_eq!(of(Lane::Code), (Outcome::RefusedHere, AnswerScope::Provider));
    assert_eq!(of(Lane::Notice), (Outcome::Refused, AnswerScope::Message));
}

#[test]
fn unlisted_code_goes_to_the_next_provider_and_is_never_the_callers_fault() {
    for status in [200, 202, 400, 402, 405, 409, 422, 451] {
        for code in ["isv.NEW", "MissingParameter", "", "isv.MOBILE_NUMBER_ILLEGAL.New"] {
            let answer = coded(status, code);
            assert_eq!(answer.outcome, Outcome::Later, "{status} {code}");
            assert!(answer.try_next_now, "{status} {code}");
            assert_eq!(answer.error_code.as_deref(), Some(code));
        }
    }
}

#[test]
fn wrong_token_or_endpoint_is_about_our_account_with_any_body() {
    let bodies = [
        "",
        "<html>404</html>",
        "not found",
        r#"{"Code":"isv.NEW","Message":"m"}"#,
        r#"{"Code":"isv.MOBILE_NUMBER_ILLEGAL","Message":"m"}"#,
        r#"{"Code":"isp.SYSTEM_ERROR","Message":"m"}"#,
        r#"{"error":"x"}"#,
    ];
    for status in [401, 403, 404] {
        for body in bodies {
            let answer = answer(status, body);
            let found = (answer.outcome, answer.scope);
            assert_eq!(found, (Outcome::RefusedHere, AnswerScope::Provider), "{status} {body}");
        }
    }
    assert_eq!(answer(404, "<html>").error_code.as_deref(), Some("http_404"));
    assert_eq!(coded(403, "Forbidden.RAM").error_code.as_deref(), Some("Forbidden.RAM"));
}

#[test]
fn code_decides_whatever_stands_beside_it() {
    for beside in
        [r#""Message":null,"BizId":null"#, r#""Message":["x"],"BizId":{}"#, r#""RequestId":5"#]
    {
        for start in ["", "\u{feff}"] {
            let body = |code: &str| format!("{start}{{\"Code\":\"{code}\",{beside}}}");
            let accepted = answer(200, &body("OK"));
            assert_eq!((accepted.outcome, accepted.provider_message_id), (Outcome::Accepted, None));
            let refused = answer(200, &body("isv.AMOUNT_NOT_ENOUGH"));
            assert_eq!(
                (refused.outcome, refused.scope),
                (Outcome::RefusedHere, AnswerScope::Provider)
            );
        }
    }
    let numbered = answer(200, r#"{"Code":"OK","BizId":5}"#);
    assert_eq!(numbered.provider_message_id.as_deref(), Some("5"));
}

#[test]
fn throttling_is_known_by_status_header_or_code() {
    let throttled = [
        coded(429, "isv.NEW"),
        coded(429, "ServiceUnavailable"),
        coded(429, "isv.MOBILE_NUMBER_ILLEGAL"),
        coded(400, "Throttling.User"),
        coded(403, "Throttling.User"),
        coded(503, "Throttling"),
        answer(429, "slow down"),
        answer(429, "{}"),
        classify(Lane::Notice, &asking_for_time(response(503, "<html>"))),
        classify(Lane::Notice, &asking_for_time(response(400, "<html>"))),
        classify(Lane::Notice, &asking_for_time(response(400, r#"{"Code":"isv.NEW"}"#))),
    ];
    for answer in throttled {
        let found = (answer.outcome, answer.scope);
        assert_eq!(found, (Outcome::TooFast, AnswerScope::Provider), "{answer:?}");
    }
    let answer = classify(Lane::Notice, &asking_for_time(response(429, "")));
    assert_eq!(answer.retry_after.unwrap().as_secs(), 7);
    for (status, body, outcome) in [
        (200, r#"{"Code":"OK"}"#, Outcome::Accepted),
        (400, r#"{"Code":"isv.MOBILE_NUMBER_ILLEGAL"}"#, Outcome::Refused),
        (401, "", Outcome::RefusedHere),
        (408, "", Outcome::Unknown),
        (500, "", Outcome::Unknown),
    ] {
        let answer = classify(Lane::Notice, &asking_for_time(response(status, body)));
        assert_eq!(answer.outcome, outcome, "{status} {body} with Retry-After");
    }
}

#[test]
fn other_answers_are_judged_by_their_status() {
    let cases = [
        (400, "<html>bad</html>", Outcome::RefusedHere),
        (400, "<?xml version='1.0'?><Error/>", Outcome::RefusedHere),
        (405, "<!doctype html>", Outcome::RefusedHere),
        (413, "", Outcome::RefusedHere),
        (400, "{}", Outcome::RefusedHere),
        (408, "<html>", Outcome::Unknown),
        (408, r#"{"Code":"isv.NEW","Message":"m"}"#, Outcome::Unknown),
        (500, r#"{"Code":"Whatever","Message":"m"}"#, Outcome::Unknown),
        (500, r#"{"Code":"InternalError","Message":"m"}"#, Outcome::Later),
        (503, r#"{"Code":"Whatever","Message":"m"}"#, Outcome::Later),
        (503, "<html>", Outcome::Later),
        (502, "<html>", Outcome::Unknown),
        (504, "", Outcome::Unknown),
        (200, "not json", Outcome::Unknown),
        (200, "<html>", Outcome::Unknown),
        (200, "{}", Outcome::Unknown),
        (200, r#"["OK","m","9006^0"]"#, Outcome::Unknown),
        (204, "", Outcome::Unknown),
        (302, "", Outcome::Unknown),
        (302, r#"{"Code":"isv.NEW"}"#, Outcome::Unknown),
        (400, r#"{"Code":"OK","Message":"OK"}"#, Outcome::Unknown),
        (503, r#"{"Code":"OK","Message":"OK"}"#, Outcome::Unknown),
    ];
    for (status, body, outcome) in cases {
        let answer = answer(status, body);
        assert_eq!(answer.outcome, outcome, "{status} {body}");
        let about_us = outcome == Outcome::RefusedHere;
        assert_eq!(answer.scope == AnswerScope::Provider, about_us, "{status} {body}");
    }
}

#[test]
fn limit_of_a_minute_waits_a_minute_and_longer_ones_go_elsewhere() {
    let limited = |message: &str| {
        let body = serde_json::json!({ "Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": message });
        answer(200, &body.to_string())
    };
    for message in ["触发分钟级流控Permits:1", "minute-level flow control triggered"] {
        let answer = limited(message);
        let found = (answer.outcome, answer.scope);
        assert_eq!(found, (Outcome::TooFast, AnswerScope::Message), "{message}");
        assert_eq!(answer.retry_after.unwrap().as_secs(), 60);
    }
    for message in ["触发小时级流控Permits:5", "触发天级流控Permits:10", ""] {
        let answer = limited(message);
        let found = (answer.outcome, answer.scope);
        assert_eq!(found, (Outcome::RefusedHere, AnswerScope::Message), "{message}");
    }
}

fn any_body() -> impl Strategy<Value = String> {
    let code = prop_oneof![
        Just("OK".to_owned()),
        "[A-Za-z.]{0,12}",
        "(isv|isp)\\.[A-Z_]{1,12}",
        any::<String>()
    ];
    let spelled =
        (prop::sample::select(vec!["Code", "code", "CODE"]), code).prop_map(|(name, code)| {
            serde_json::json!({ name: code, "Message": "OK", "BizId": "9006^0" }).to_string()
        });
    prop_oneof![
        spelled,
        any::<String>(),
        Just(r#"{"Code":200}"#.to_owned()),
        Just(r#"["OK"]"#.to_owned()),
        Just(r#"{"Code":"OK"} trailing"#.to_owned()),
    ]
}

proptest! {
    #[test]
    fn only_the_documented_success_is_accepted(response in any_response(any_body())) {
        let answer = classify(Lane::Notice, &response);
        let body: serde_json::Value = serde_json::from_str(&response.body).unwrap_or_default();
        let documented = response.status.is_success() && body["Code"] == "OK";
        prop_assert_eq!(answer.outcome == Outcome::Accepted, documented, "{:?}", answer);
        prop_assert_eq!(answer.error_code.is_none(), documented);
    }
}
