//! Which keys are taken from the file and when it is read again, and what callers with its tokens may do.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::signers::{AUDIENCE, ISSUER, Signer, Trusting, claims, settings, write};
use super::*;
use crate::auth::token::Grant;
use crate::testing::TestApp;

const KID: &str = "key-1";

fn refused(keys: &[Value]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(&file, keys);
    IdentityProvider::load(&settings(&file)).unwrap_err().to_string()
}

#[test]
fn a_file_with_a_dangerous_key_is_refused_at_the_start() {
    let right = Signer::ed().jwk("right");
    let secret = json!({"kty": "oct", "kid": KID, "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"});
    let with = |mut jwk: Value, member: &str, value: Value| {
        jwk[member] = value;
        jwk
    };
    let n = |bytes: &[u8]| {
        use base64::Engine as _;
        json!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
    };
    let rsa = Signer::rsa().jwk(KID);
    let (mut padded, mut one_bit_less) = ([0xff; 256], [0xff; 256]);
    (padded[0], one_bit_less[0]) = (0, 0x7f);
    for (key, said) in [
        (secret, "symmetric"),
        (json!({"kty": "oct", "kid": KID}), "symmetric"),
        (with(Signer::ed().jwk(KID), "d", json!("AAAA")), "private"),
        (with(rsa.clone(), "n", n(&[0xff; 128])), "2048"),
        (with(rsa.clone(), "n", n(&padded)), "2048"),
        (with(rsa.clone(), "n", n(&one_bit_less)), "2048"),
        (with(rsa, "n", json!("!")), "read"),
        (with(Signer::ec().jwk(KID), "x", n(&[1; 31])), "length"),
        (with(Signer::ed().jwk(KID), "x", Value::Null), "member"),
        (with(Signer::ed().jwk(KID), "kid", json!("right")), "twice"),
    ] {
        let problem = refused(&[right.clone(), key]);
        assert!(problem.contains(said) && problem.contains("jwt.jwks_file"), "{said}: {problem}");
    }
    // Left out, and then nothing is left.
    for key in [
        with(right.clone(), "use", json!("enc")),
        with(right.clone(), "alg", json!("ES256")),
        with(right.clone(), "key_ops", json!(["sign"])),
        with(right.clone(), "kid", Value::Null),
        with(right.clone(), "crv", json!("Ed448")),
        with(Signer::rsa().jwk(KID), "alg", json!("RS512")),
        json!({"kty": "PQC", "kid": KID}),
    ] {
        assert!(refused(&[key]).contains("no public key"));
    }
    let nowhere = Jwt { jwks_file: Some("/nowhere/jwks.json".into()), ..settings(&empty()) };
    assert!(matches!(IdentityProvider::load(&nowhere), Err(JwksError::Unreadable(_))));
    assert!(matches!(IdentityProvider::load(&settings(&empty())), Err(JwksError::Unreadable(_))));
    assert!(IdentityProvider::load(&Jwt::default()).unwrap().is_none());
}

fn empty() -> tempfile::NamedTempFile {
    tempfile::NamedTempFile::new().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_within_ten_seconds_and_a_removed_one_ends_within_a_minute() {
    let (old, new) = (Signer::ed(), Signer::ec());
    let trusting = Trusting::new(&[old.jwk("old")]);
    let found = async |kid: &str| trusting.provider.key(kid).await.is_some();
    write(&trusting.file, &[old.jwk("old"), new.jwk("new")]);
    assert!(!found("new").await, "the file was read just now");
    tokio::time::advance(NOT_BEFORE).await;
    assert!(found("new").await && found("old").await);

    write(&trusting.file, &[new.jwk("new")]);
    let last = Duration::from_millis(1);
    tokio::time::advance(NOT_AFTER.checked_sub(last).unwrap()).await;
    assert!(found("old").await);
    tokio::time::advance(last).await;
    assert!(!found("old").await && found("new").await);

    // A file that can't be used changes nothing, and isn't read with every request either.
    write(&trusting.file, &[json!({"kty": "oct", "kid": "new", "k": "AAAA"})]);
    tokio::time::advance(NOT_AFTER).await;
    assert!(found("new").await && !found("newer").await);
    write(&trusting.file, &[new.jwk("newer")]);
    assert!(!found("newer").await);
    tokio::time::advance(NOT_BEFORE).await;
    assert!(found("newer").await);
}

struct Shop {
    test: TestApp,
    signer: Signer,
    _file: tempfile::NamedTempFile,
}

impl Shop {
    async fn start() -> Self {
        let (file, signer) = (empty(), Signer::ed());
        write(&file, &[signer.jwk(KID)]);
        let test = TestApp::start(&[
            ("POSTRIDER_JWT__JWKS_FILE", file.path().to_str().unwrap()),
            ("POSTRIDER_JWT__ISSUER", ISSUER),
            ("POSTRIDER_JWT__AUDIENCE", AUDIENCE),
            ("POSTRIDER_JWT__ACCOUNT_CLAIM", "username"),
        ])
        .await;
        // The account is there.
        test.token("shop", &Grant::USUAL).await;
        Self { test, signer, _file: file }
    }

    fn token(&self, scope: &str, jti: Option<&str>) -> String {
        let mut claims = claims();
        (claims["username"], claims["sub"]) = (json!("shop"), json!("somebody"));
        (claims["scope"], claims["jti"]) = (json!(scope), json!(jti));
        self.signer.sign(&self.signer.header(KID), &claims)
    }

    async fn reads(&self, token: &str) -> u16 {
        self.test.get("/v1/messages", token).await.status.as_u16()
    }
}

#[tokio::test]
async fn its_tokens_may_what_they_say_and_no_more_than_the_account() {
    let shop = Shop::start().await;
    let token = shop.token("openid read admin on_behalf", Some("a"));
    assert_eq!(shop.reads(&token).await, 200);
    let code = r#"{"phone":"13800138000","purpose":"login"}"#;
    let send = shop.test.post("/v1/verifications", &token, code).await;
    assert_eq!(send.problem(), (403, "scope_missing"));
    let queues = shop.test.get("/v1/queues", &token).await;
    assert_eq!(queues.problem(), (403, "scope_missing"), "the account is no admin's");
    let sender = shop.token("send", Some("b"));
    assert_eq!(shop.test.post("/v1/verifications", &sender, code).await.status.as_u16(), 202);
    let nobody = {
        let mut claims = claims();
        claims["username"] = json!("nobody");
        shop.signer.sign(&shop.signer.header(KID), &claims)
    };
    assert_eq!(shop.test.get("/v1/messages", &nobody).await.problem(), (401, "token_invalid"));
}

#[tokio::test]
async fn its_tokens_may_have_16_kib_and_ours_may_not() {
    let shop = Shop::start().await;
    let token_of = |padding: usize| {
        let mut claims = claims();
        (claims["username"], claims["groups"]) = (json!("shop"), json!("g".repeat(padding)));
        shop.signer.sign(&shop.signer.header(KID), &claims)
    };
    let more = |token: &str| (16 * 1024 - token.len()) / 4 * 3;
    let largest = token_of(more(&token_of(0)));
    assert!((16 * 1024 - 4..=16 * 1024).contains(&largest.len()), "{}", largest.len());
    assert_eq!(shop.reads(&largest).await, 200);
    assert_eq!(shop.reads(&token_of(more(&token_of(0)) + 6)).await, 401);
    assert_eq!(shop.reads(&"a".repeat(16 * 1024)).await, 401);
}

#[tokio::test]
async fn its_tokens_are_logged_out_one_by_one_and_all_at_once() {
    let shop = Shop::start().await;
    let [one, two] = ["one", "two"].map(|jti| shop.token("read", Some(jti)));
    let log_out = |token: String| {
        let shop = &shop;
        async move { shop.test.delete("/v1/sessions/current", &token).await }
    };
    assert_eq!(log_out(one.clone()).await.status, StatusCode::NO_CONTENT);
    assert_eq!((shop.reads(&one).await, shop.reads(&two).await), (401, 200));
    let nameless = shop.token("read", None);
    assert_eq!(shop.reads(&nameless).await, 200);
    assert_eq!(log_out(nameless.clone()).await.problem(), (403, "session_needed"));
    let account = shop.test.app.database.account_by_name("shop").await.unwrap().unwrap();
    let admin = shop.test.token("ops", &[Grant::Admin]).await;
    let path = format!("/v1/accounts/{}/sessions", account.id);
    assert_eq!(shop.test.delete(&path, &admin).await.status, StatusCode::NO_CONTENT);
    assert_eq!((shop.reads(&two).await, shop.reads(&nameless).await), (401, 401));
}
