//! Any text as a token, and a header, claims and signature (a line each) put together as one: none gets in that wasn't
//! signed with a key of ours or of the identity provider's, and of those none that says it is for or from another.

#![no_main]

use std::io::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use postrider_api::auth::identity_provider::IdentityProvider;
use postrider_api::http::clock::unix_ms;
use postrider_api::auth::token::{Grant, Holder, Token, issue};
use postrider_api::auth::verify_token::verify_any;
use postrider_common::config::Jwt;
use postrider_common::secrets::KeyRing;
use serde_json::{Value, json};

const ISSUER: &str = "https://id.example.com/";
const AUDIENCE: &str = "sms";
/// In the year 2100.
const LATE: i64 = 4_102_444_800;

/// Who is trusted. The keys are always the same, so that what was found is found again.
struct Trusted {
    ring: KeyRing,
    pair: Ed25519KeyPair,
    provider: IdentityProvider,
    runtime: tokio::runtime::Runtime,
    /// Holds the provider's keys, and is read again each minute.
    _file: tempfile::NamedTempFile,
}

static TRUSTED: LazyLock<Trusted> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "key-1", "use": "sig", "x": x});
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{}", json!({ "keys": [jwk] })).unwrap();
    let settings = Jwt {
        jwks_file: Some(file.path().to_owned()),
        issuer: Some(ISSUER.to_owned()),
        audience: Some(AUDIENCE.to_owned()),
        ..Jwt::default()
    };
    Trusted {
        ring: "a".repeat(40).parse().unwrap(),
        pair,
        provider: IdentityProvider::load(&settings).unwrap().unwrap(),
        runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        _file: file,
    }
});

/// One right token of ours and one of the provider's.
static RIGHT: LazyLock<[String; 2]> = LazyLock::new(|| {
    let ours = issue(&TRUSTED.ring, 7, &[Grant::Read], 0, LATE * 1000).unwrap();
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "key-1"}).to_string();
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "iat": 1, "exp": LATE});
    let theirs = signed_by_provider(&unsigned(header.as_bytes(), claims.to_string().as_bytes()));
    assert!([&ours, &theirs].iter().all(|token| verify(token).is_some()));
    [ours, theirs]
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        assert!(RIGHT.iter().any(|right| right == text) || verify(text).is_none());
    }
    changed(bytes);
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    if let [Some(header), Some(claims), Some(signature)] = [(); 3].map(|()| lines.next()) {
        put_together(header, claims, signature);
    }
});

/// A right token with one byte replaced, or some put in: the first two bytes say which and where.
fn changed(bytes: &[u8]) {
    let [which, at, put @ ..] = bytes else { return };
    let right = &RIGHT[usize::from(which % 2)];
    // Twice as far as a byte reaches: our tokens have some 400 letters.
    let at = (usize::from(*at) * 2 + usize::from(which / 128)) % right.len();
    let mut changed = right.clone().into_bytes();
    changed.splice(at..at + usize::from(put.len() == 1), put.iter().copied());
    if let Ok(changed) = String::from_utf8(changed) {
        assert!(changed == *right || verify(&changed).is_none(), "{changed}");
    }
}

fn put_together(header: &[u8], claims: &[u8], signature: &[u8]) {
    let unsigned = unsigned(header, claims);
    let forged = format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert!(verify(&forged).is_none(), "{forged}");
    // The provider's public key as a shared secret.
    let public = TRUSTED.pair.public_key().as_ref();
    assert!(verify(&signed(&unsigned, public)).is_none());

    let said = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap_or_default();
    let (header, claims) = (said(header), said(claims));
    let ours = TRUSTED.ring.current();
    if let Some(token) = verify(&signed(&unsigned, ours.signing.as_bytes())) {
        assert_eq!(header["alg"], "HS256");
        assert_eq!(header["kid"], ours.id.as_str());
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("postrider"), &json!("postrider")));
        assert!(matches!(token.holder, Holder::Account(_)));
    }
    if let Some(token) = verify(&signed_by_provider(&unsigned)) {
        assert_eq!(header["alg"], "EdDSA");
        assert_eq!(header["kid"], "key-1");
        assert_eq!(claims["iss"], ISSUER);
        assert_eq!(token.holder, Holder::Username(claims["sub"].as_str().unwrap().to_owned()));
    }
}

fn verify(token: &str) -> Option<Token> {
    let found = verify_any(&TRUSTED.ring, Some(&TRUSTED.provider), token, unix_ms());
    TRUSTED.runtime.block_on(found).ok()
}

fn unsigned(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn signed(unsigned: &str, secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, unsigned.as_bytes())))
}

fn signed_by_provider(unsigned: &str) -> String {
    let signature = TRUSTED.pair.sign(unsigned.as_bytes());
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
}
