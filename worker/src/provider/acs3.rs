//! Alibaba Cloud's request signature, version 3: ACS3-HMAC-SHA256 (help page "V3 request structure and signature").

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// All but what RFC 3986 leaves as it is: letters, digits, `-`, `.`, `_`, `~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request to be signed: its query, and its headers but `Authorization`. The body is empty.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Vec<(&'a str, String)>,
    /// Names in lower case: `host`, every `x-acs-*`, and others that are to be signed.
    pub(super) headers: Vec<(&'a str, String)>,
}

/// The hash of a body, in hex.
pub(super) fn body_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

impl Request<'_> {
    /// The query as it is signed and must be sent: sorted and encoded.
    pub(super) fn canonical_query(&self) -> String {
        let mut pairs: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        pairs.sort_unstable();
        pairs.join("&")
    }

    /// The value of `Authorization`.
    pub(super) fn authorization(&self, key_id: &SecretString, secret: &SecretString) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .expect("any key length");
        mac.update(format!("{ALGORITHM}\n{}", self.canonical_hash()).as_bytes());
        format!(
            "{ALGORITHM} Credential={},SignedHeaders={},Signature={}",
            key_id.expose_secret(),
            self.signed_headers(),
            hex::encode(mac.finalize().into_bytes()),
        )
    }

    fn sorted_headers(&self) -> Vec<&(&str, String)> {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort_unstable_by_key(|(name, _)| *name);
        headers
    }

    fn signed_headers(&self) -> String {
        self.sorted_headers().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }

    fn canonical_hash(&self) -> String {
        let headers: Vec<String> = self
            .sorted_headers()
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let headers = headers.concat();
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            self.method,
            self.path,
            self.canonical_query(),
            self.signed_headers(),
            body_hash(b""),
        );
        hex::encode(Sha256::digest(canonical))
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(date: &str, nonce: &str) -> Request<'static> {
        Request {
            method: "POST",
            path: "/",
            query: vec![
                ("RegionId", "cn-shanghai".to_owned()),
                ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd".to_owned()),
            ],
            headers: vec![
                ("x-acs-action", "RunInstances".to_owned()),
                ("host", "ecs.cn-shanghai.aliyuncs.com".to_owned()),
                ("x-acs-version", "2014-05-26".to_owned()),
                ("x-acs-date", date.to_owned()),
                ("x-acs-signature-nonce", nonce.to_owned()),
                ("x-acs-content-sha256", body_hash(b"")),
            ],
        }
    }

    fn signature(request: &Request<'_>) -> String {
        let authorization =
            request.authorization(&"YourAccessKeyId".into(), &"YourAccessKeySecret".into());
        authorization.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn the_vendors_worked_examples_come_out() {
        let a = example("2023-10-26T10:22:32Z", "3156853299f313e23d1673dc12e1703d");
        assert_eq!(
            a.canonical_hash(),
            "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
        );
        assert_eq!(
            signature(&a),
            "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
        let b = example("2023-10-26T09:01:01Z", "d410180a5abf7fe235dd9b74aca91fc0");
        assert_eq!(
            signature(&b),
            "e521358f7776c97df52e6b2891a8bc73026794a071b50c3323388c4e0df64804"
        );
    }

    #[test]
    fn texts_are_encoded_as_rfc_3986_says() {
        assert_eq!(encode("a b*~{\"码\"}"), "a%20b%2A~%7B%22%E7%A0%81%22%7D");
    }
}
