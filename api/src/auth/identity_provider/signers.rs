//! An identity provider of the tests: fresh keys, and tokens that say whatever a test wants.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::IdentityProvider;
use crate::http::clock::unix_ms;
use postrider_common::config::Jwt;

pub(super) const ISSUER: &str = "https://id.example.com/";
pub(super) const AUDIENCE: &str = "sms";

pub(super) enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    /// One of each kind.
    pub(super) fn all() -> [Self; 3] {
        [Self::ed(), Self::ec(), Self::rsa()]
    }

    pub(super) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(super) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    /// Its public half.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": x})
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(x), "y": text(y)})
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let n = text(key.modulus().big_endian_without_leading_zero());
                let e = text(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "alg": "RS256", "kid": kid, "n": n, "e": e})
            }
        }
    }

    /// Signs as the header says where this key can, and as it always does elsewhere.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let unsigned = unsigned(header, claims);
        let message = unsigned.as_bytes();
        let signature = match self {
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let how: &'static dyn RsaEncoding = match header["alg"].as_str() {
                    Some("RS512") => &RSA_PKCS1_SHA512,
                    Some("PS256") => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(how, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        };
        format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn header(&self, kid: &str) -> Value {
        json!({"alg": self.algorithm(), "typ": "at+jwt", "kid": kid})
    }
}

pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    let text = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", text(header), text(claims))
}

/// Claims with which everything is right.
pub(super) fn claims() -> Value {
    let now = unix_ms() / 1000;
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "iat": now, "nbf": now, "exp": now + 60, "jti": "one",
        "scope": "read send",
    })
}

/// The file that a test changes, and who reads it.
pub(super) struct Trusting {
    pub(super) file: tempfile::NamedTempFile,
    pub(super) provider: IdentityProvider,
}

pub(super) fn settings(file: &tempfile::NamedTempFile) -> Jwt {
    Jwt {
        jwks_file: Some(file.path().to_owned()),
        issuer: Some(ISSUER.to_owned()),
        audience: Some(AUDIENCE.to_owned()),
        ..Jwt::default()
    }
}

pub(super) fn write(file: &tempfile::NamedTempFile, keys: &[Value]) {
    std::fs::write(file.path(), json!({ "keys": keys }).to_string()).unwrap();
}

impl Trusting {
    pub(super) fn new(keys: &[Value]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&file, keys);
        let provider = IdentityProvider::load(&settings(&file)).unwrap().unwrap();
        Self { file, provider }
    }
}
