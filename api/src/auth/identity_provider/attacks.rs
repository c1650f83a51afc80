//! Tokens that must not get in, each wrong in one way alone: RFC 8725's list, and what proptest makes up.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use postrider_common::secrets::KeyRing;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::signers::{AUDIENCE, ISSUER, Signer, Trusting, claims, unsigned};
use crate::auth::token::{Grant, Holder, Token, TokenError, issue};
use crate::auth::verify_token::verify_any;
use crate::http::clock::unix_ms;

const KID: &str = "key-1";

fn ring() -> KeyRing {
    "a".repeat(40).parse().unwrap()
}

async fn verify(trusting: &Trusting, token: &str) -> Result<Token, TokenError> {
    verify_any(&ring(), Some(&trusting.provider), token, unix_ms()).await
}

#[tokio::test]
async fn a_right_token_of_each_algorithm_gets_in() {
    for signer in Signer::all() {
        let trusting = Trusting::new(&[signer.jwk(KID)]);
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
            let mut header = signer.header(KID);
            header["typ"] = json!(typ);
            let token = verify(&trusting, &signer.sign(&header, &claims())).await.unwrap();
            assert_eq!(token.holder, Holder::Username("shop".to_owned()));
            assert!(Grant::Read.is_in(&token.scope) && !Grant::Admin.is_in(&token.scope));
        }
        let mut lists = claims();
        lists["aud"] = json!(["other", AUDIENCE]);
        lists.as_object_mut().unwrap().remove("nbf");
        assert!(verify(&trusting, &signer.sign(&signer.header(KID), &lists)).await.is_ok());
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_none() {
    let signer = Signer::ed();
    let trusting = Trusting::new(&[signer.jwk(KID)]);
    let right = signer.sign(&signer.header(KID), &claims());
    let (message, signature) = right.rsplit_once('.').unwrap();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = unsigned(&json!({"alg": alg, "typ": "at+jwt", "kid": KID}), &claims());
        for token in [format!("{unsigned}."), unsigned.clone(), format!("{unsigned}.{signature}")] {
            assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid), "{alg}");
        }
    }
    assert_eq!(verify(&trusting, &format!("{message}.")).await, Err(TokenError::Invalid));
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let signer = Signer::rsa();
    let jwk = signer.jwk(KID);
    let trusting = Trusting::new(std::slice::from_ref(&jwk));
    let modulus = jwk["n"].as_str().unwrap();
    let secrets = [
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        modulus.as_bytes().to_vec(),
        jwk.to_string().into_bytes(),
        STANDARD.encode(URL_SAFE_NO_PAD.decode(modulus).unwrap()).into_bytes(),
    ];
    let unsigned = unsigned(&json!({"alg": "HS256", "typ": "at+jwt", "kid": KID}), &claims());
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let tag = hmac::sign(&key, unsigned.as_bytes());
        let token = format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid));
    }
}

#[tokio::test]
async fn the_key_and_not_the_header_says_the_algorithm() {
    let signer = Signer::rsa();
    let trusting = Trusting::new(&[signer.jwk(KID)]);
    for alg in ["RS512", "PS256"] {
        let mut header = signer.header(KID);
        header["alg"] = json!(alg);
        // Its signature is right, by the right key.
        let token = signer.sign(&header, &claims());
        assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid), "{alg}");
    }
    let all = Signer::all();
    for signer in &all {
        let trusting = Trusting::new(&[signer.jwk(KID)]);
        for other in all.iter().filter(|other| other.algorithm() != signer.algorithm()) {
            for header in [signer.header(KID), other.header(KID)] {
                let token = other.sign(&header, &claims());
                assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid));
            }
        }
    }
}

#[tokio::test]
async fn claims_that_are_wrong_or_missing_are_refused() {
    let signer = Signer::ed();
    let trusting = Trusting::new(&[signer.jwk(KID)]);
    let now = unix_ms() / 1000;
    let said = async |claims: &Value| {
        verify(&trusting, &signer.sign(&signer.header(KID), claims)).await.err()
    };
    for (name, value, expected) in [
        ("exp", json!(now - 31), Some(TokenError::Expired)),
        ("exp", json!(now - 20), None),
        ("exp", json!("never"), Some(TokenError::Invalid)),
        ("nbf", json!(now + 40), Some(TokenError::Invalid)),
        ("nbf", json!(now + 20), None),
        ("nbf", json!("soon"), Some(TokenError::Invalid)),
        ("iat", json!(now + 40), Some(TokenError::Invalid)),
        ("iat", json!("now"), Some(TokenError::Invalid)),
        ("iss", json!("https://id.example.com"), Some(TokenError::Invalid)),
        ("iss", json!("postrider"), Some(TokenError::Invalid)),
        ("iss", json!([ISSUER, "https://evil.example"]), Some(TokenError::Invalid)),
        ("aud", json!("another"), Some(TokenError::Invalid)),
        ("aud", json!([]), Some(TokenError::Invalid)),
        ("aud", json!({}), Some(TokenError::Invalid)),
        ("sub", json!(7), Some(TokenError::Invalid)),
        ("sub", json!(""), Some(TokenError::Invalid)),
    ] {
        let mut wrong = claims();
        wrong[name] = value;
        assert_eq!(said(&wrong).await, expected, "{name} {}", wrong[name]);
    }
    for name in ["exp", "iat", "iss", "aud", "sub"] {
        let mut lacking = claims();
        lacking.as_object_mut().unwrap().remove(name);
        assert_eq!(said(&lacking).await, Some(TokenError::Invalid), "{name}");
    }
}

#[tokio::test]
async fn a_header_brings_no_key_of_its_own() {
    let (signer, attacker) = (Signer::ed(), Signer::ed());
    let trusting = Trusting::new(&[signer.jwk(KID)]);
    let jwk = attacker.jwk(KID);
    let brought = [
        json!({}),
        json!({"jwk": jwk}),
        json!({"jku": "https://evil.example/jwks.json"}),
        json!({"x5u": "https://evil.example/chain.pem"}),
        json!({"x5c": ["MIIB"]}),
        json!({"kid": "key-2"}),
        json!({"kid": "../key-1"}),
        json!({"kid": ""}),
        json!({"kid": null}),
    ];
    for more in brought {
        let mut header = attacker.header(KID);
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = attacker.sign(&header, &claims());
        assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid), "{header}");
    }
    // Nor does it matter where our own key does the signing.
    let mut header = signer.header(KID);
    header["jku"] = json!("https://evil.example/jwks.json");
    assert!(verify(&trusting, &signer.sign(&header, &claims())).await.is_ok());
    header["crit"] = json!(["exp"]);
    let critical = signer.sign(&header, &claims());
    assert_eq!(
        verify(&trusting, &critical).await,
        Err(TokenError::Invalid),
        "nothing is understood"
    );
}

#[tokio::test]
async fn a_token_of_another_kind_is_refused() {
    let signer = Signer::ec();
    let trusting = Trusting::new(&[signer.jwk(KID)]);
    for typ in [json!("JWT"), json!("id_token"), json!("logout+jwt"), json!("jwt"), Value::Null] {
        let mut header = signer.header(KID);
        header["typ"] = typ;
        let token = signer.sign(&header, &claims());
        assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid), "{header}");
    }
}

#[tokio::test]
async fn whose_key_it_is_decides_what_a_token_may_say() {
    let ring = ring();
    let ours = ring.current().id.to_string();
    let signer = Signer::ed();
    // Theirs under the name of one of our own keys: ours comes first, and doesn't fit.
    let trusting = Trusting::new(&[signer.jwk(&ours), signer.jwk(KID)]);
    let token = signer.sign(&signer.header(&ours), &claims());
    assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid));
    // Their key can't sign for our issuer, nor name an account by its number.
    let mut as_ours = claims();
    (as_ours["iss"], as_ours["aud"], as_ours["sub"]) =
        (json!("postrider"), json!("postrider"), json!("7"));
    let token = signer.sign(&signer.header(KID), &as_ours);
    assert_eq!(verify(&trusting, &token).await, Err(TokenError::Invalid));
    // And ours are taken beside theirs.
    let token = issue(&ring, 7, &[Grant::Read], unix_ms(), 60_000).unwrap();
    assert_eq!(verify(&trusting, &token).await.unwrap().holder, Holder::Account(7));
    let without =
        verify_any(&ring, None, &signer.sign(&signer.header(KID), &claims()), unix_ms()).await;
    assert_eq!(without, Err(TokenError::Invalid), "where no provider is configured");
}

/// One right token of each kind, ours among them.
static RIGHT: LazyLock<(Trusting, Vec<String>)> = LazyLock::new(|| {
    let signers = Signer::all();
    let jwks: Vec<_> = signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect();
    let mut claims = claims();
    claims["exp"] = json!(unix_ms() / 1000 + 3600);
    let sign = |signer: &Signer| signer.sign(&signer.header(signer.algorithm()), &claims);
    let mut tokens: Vec<_> = signers.iter().map(sign).collect();
    tokens.push(issue(&ring(), 7, &[Grant::Read], unix_ms(), 3_600_000).unwrap());
    (Trusting::new(&jwks), tokens)
});

fn gets_in(token: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(verify(&RIGHT.0, token)).is_ok()
}

#[test]
fn the_tokens_that_are_changed_below_are_right() {
    assert!(RIGHT.1.len() == 4 && RIGHT.1.iter().all(|token| gets_in(token)));
}

proptest! {
    #[test]
    fn no_text_gets_in(text in any::<String>(), parts in "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,4}") {
        prop_assert!(!gets_in(&text));
        prop_assert!(!gets_in(&parts));
    }

    #[test]
    fn no_header_and_claims_get_in_unsigned(header in "\\{(\"(alg|kid|typ)\":\"[A-Za-z0-9+-]{0,8}\",?){0,4}\\}", claims in any::<Vec<u8>>()) {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let token = format!("{}.{}.{}", text(header.as_bytes()), text(&claims), text(&[0; 64]));
        prop_assert!(!gets_in(&token));
    }

    #[test]
    fn a_changed_token_does_not_get_in(
        which in 0..4_usize, at in any::<proptest::sample::Index>(), byte in any::<u8>(), what in 0..3_u8,
    ) {
        let right = &RIGHT.1[which];
        let mut changed = right.clone().into_bytes();
        let at = at.index(changed.len());
        match what {
            0 => changed[at] = byte,
            1 => changed.insert(at, byte),
            _ => drop(changed.remove(at)),
        }
        let Ok(changed) = String::from_utf8(changed) else { return Ok(()) };
        prop_assume!(changed != *right);
        prop_assert!(!gets_in(&changed), "{changed}");
    }
}
