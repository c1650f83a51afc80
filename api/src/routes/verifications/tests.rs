//! Numbers and codes as people type them, through the API.

use serde_json::{Value, json};

use crate::auth::token::Grant;
use crate::testing::TestApp;

/// Numbers as people may write them. Each is sent to but once: a phone has one code a minute.
const TYPED: [(&str, &str); 10] = [
    ("13800138001", "+8613800138001"),
    ("138 0013 8002", "+8613800138002"),
    ("138-0013-8003", "+8613800138003"),
    ("(+86) 138.0013.8004", "+8613800138004"),
    ("0086 138 0013 8005", "+8613800138005"),
    ("8613800138006", "+8613800138006"),
    ("１３８００１３８００７", "+8613800138007"),
    ("＋８６１３８００１３８００８", "+8613800138008"),
    ("＋８６ １３８ ００１３ ８００９", "+8613800138009"),
    ("١٣٨٠٠١٣٨٠١٠", "+8613800138010"),
];

const NOT_NUMBERS: [&str; 12] = [
    "13800138001;13900139001",
    "13800138001,13900139001",
    "13800138001/13900139001",
    "13800138001 13900139001",
    "13800138002x123",
    "13800138003 ext. 5",
    "call 13911112222 ext. 9",
    "138abcd5678",
    "1-800-FLOWERS",
    "tel:13800138000",
    "12345 13800138000",
    "13800138000#",
];

async fn send(test: &TestApp, token: &str, phone: &str) -> (u16, Value) {
    let body = json!({"phone": phone, "purpose": "login"});
    let answer = test.post("/v1/verifications", token, body.to_string()).await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn accepts_a_number_in_any_script_and_with_separators() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    for (typed, e164) in TYPED {
        let (status, body) = send(&test, &token, typed).await;
        assert_eq!(status, 202, "{typed}: {body}");
        assert_eq!(send(&test, &token, e164).await.0, 429, "{typed} is {e164}");
    }
}

#[tokio::test]
async fn accepts_a_range_that_the_operator_says_is_valid() {
    let test = TestApp::start(&[("POSTRIDER_PHONE__ALSO_VALID", "+86149,+86146")]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    assert_eq!(send(&test, &token, "14912345678").await.0, 202);
    assert_eq!(send(&test, &token, "+8614912345678").await.0, 429, "it is one number");
    assert_eq!(send(&test, &token, "1491234567").await.1["code"], "phone_invalid");
    let admin = test.token("ops", &[Grant::Admin]).await;
    let ban = json!({"kind": "phone", "value": "14912345679", "reason": "x"});
    assert_eq!(test.post("/v1/blacklist", &admin, ban.to_string()).await.status, 201);

    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    assert_eq!(send(&test, &token, "14912345678").await.1["code"], "phone_invalid");
}

#[tokio::test]
async fn refuses_text_around_a_number_and_letters_in_it() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    for typed in NOT_NUMBERS {
        let (status, body) = send(&test, &token, typed).await;
        assert_eq!((status, body["code"].as_str()), (422, Some("phone_invalid")), "{typed}");
        assert_eq!(body["errors"][0]["field"], "phone", "{typed}");
        let check = json!({"phone": typed, "purpose": "login", "code": "123456"});
        let check = test.post("/v1/verifications/check", &token, check.to_string()).await;
        assert_eq!(check.problem(), (422, "phone_invalid"), "{typed}");
    }
    for (_, e164) in TYPED {
        assert_eq!(send(&test, &token, e164).await.0, 202, "nothing was sent to {e164}");
    }
}

#[tokio::test]
async fn accepts_a_code_with_spaces_a_hyphen_or_full_width_digits() {
    let test = TestApp::start(&[]).await;
    let token = test.token("shop", &Grant::USUAL).await;
    let full_width = |code: &str| -> String {
        code.chars().map(|c| char::from_u32(u32::from(c) - 0x30 + 0xff10).unwrap()).collect()
    };
    let typed: [&dyn Fn(&str) -> String; 5] = [
        &|code| format!("{} {}", &code[..3], &code[3..]),
        &|code| format!(" {}-{} ", &code[..3], &code[3..]),
        &|code| full_width(code),
        &|code| format!("{}　{}", full_width(&code[..3]), full_width(&code[3..])),
        &|code| code.chars().flat_map(|c| [c, ' ']).collect(),
    ];
    for (typed, (_, phone)) in typed.iter().zip(TYPED) {
        assert_eq!(send(&test, &token, phone).await.0, 202);
        let code = test.code("shop", "login", phone).await;
        for (typed, expected) in [(format!("{code}x"), 422), (typed(&code), 200)] {
            let check = json!({"phone": phone, "purpose": "login", "code": typed});
            let check = test.post("/v1/verifications/check", &token, check.to_string()).await;
            assert_eq!(check.status, expected, "{typed}");
        }
    }
}
