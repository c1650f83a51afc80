//! Master secrets and the keys derived from them: for tokens, codes, what is logged, what is queued.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The shortest master secret that is taken, in bytes.
pub const SHORTEST: usize = 32;

const NONCE: usize = 24;

/// Names a master secret without telling anything about it: the first 4 bytes of an HKDF output, in hex.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for KeyId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 32 bytes of key material, wiped when dropped and never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

/// The key that codes are derived with.
pub type CodeKey = Key;

impl Key {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn for_tests(byte: u8) -> Self {
        Self([byte; 32])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// All keys of one master secret.
#[derive(Debug, Clone)]
pub struct Keys {
    pub id: KeyId,
    /// Signs and checks our own tokens (HS256).
    pub signing: Key,
    /// Derives codes.
    pub code: CodeKey,
    /// Seals what is kept: the code in `sms_log`, the sandbox's texts, the job of a dead letter.
    log: Key,
    /// Seals what is queued: phone number and parameters in a job, a row on its way.
    job: Key,
    /// Keys the fingerprints of request bodies, so that they tell nothing about a code in them.
    fingerprint: Key,
    /// Keys the hashes of provider message ids that can't be kept as they are.
    provider_message: Key,
}

/// What a sealed text is for; one can't be opened as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedFor {
    Log,
    Queue,
}

/// The list of secrets: the first makes what is new, each opens and checks what it made.
#[derive(Debug, Clone)]
pub struct KeyRing(Vec<Keys>);

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("is required: one or more secrets of at least {SHORTEST} bytes, comma-separated")]
    Empty,
    #[error("secret number {0} must be at least {SHORTEST} bytes")]
    Short(usize),
}

/// Why a sealed text couldn't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("this process doesn't have the key {0}")]
    UnknownKey(KeyId),
    #[error("the sealed text is broken, or belongs to another record")]
    Broken,
}

impl KeyRing {
    /// Reads master secrets, comma-separated, white space around each ignored.
    pub fn from_master(secrets: &SecretString) -> Result<Self, SecretError> {
        let mut ring = Vec::new();
        for (index, secret) in secrets.expose_secret().split(',').map(str::trim).enumerate() {
            if secret.is_empty() && index == 0 {
                return Err(SecretError::Empty);
            }
            if secret.len() < SHORTEST {
                return Err(SecretError::Short(index + 1));
            }
            ring.push(Keys::derive(secret.as_bytes()));
        }
        Ok(Self(ring))
    }

    /// The keys that make what is new.
    #[must_use]
    pub fn current(&self) -> &Keys {
        &self.0[0]
    }

    #[must_use]
    pub fn get(&self, id: &KeyId) -> Option<&Keys> {
        self.0.iter().find(|keys| keys.id == *id)
    }

    /// Seals `plain` with the current key; `bound_to` (a message's id, say) must be given again to open it.
    /// Gives `<key id>.<nonce and ciphertext, base64url>`.
    #[must_use]
    pub fn seal(&self, purpose: SealedFor, plain: &[u8], bound_to: &[u8]) -> String {
        let keys = self.current();
        let nonce: [u8; NONCE] = rand::random();
        #[expect(clippy::expect_used, reason = "fails only above 256 GiB")]
        let sealed = keys
            .cipher(purpose)
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound_to })
            .expect("a text of this size can be sealed");
        let mut bytes = Vec::with_capacity(NONCE + sealed.len());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        format!("{}.{}", keys.id, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what [`KeyRing::seal`] made.
    pub fn open(
        &self,
        purpose: SealedFor,
        sealed: &str,
        bound_to: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let (id, text) = sealed.split_once('.').ok_or(OpenError::Broken)?;
        let id = KeyId::from(id);
        let keys = self.get(&id).ok_or(OpenError::UnknownKey(id))?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::Broken)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE).ok_or(OpenError::Broken)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| OpenError::Broken)?;
        keys.cipher(purpose)
            .decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: bound_to })
            .map_err(|_| OpenError::Broken)
    }

    /// Fingerprints of `data`, `<key id>.<keyed hash, hex>` for each secret, the current one's first: a stored one that
    /// equals any of them was made of the same data. Then the same without key ids, as older versions stored them.
    #[must_use]
    pub fn fingerprints(&self, data: &[u8]) -> Vec<String> {
        let hashes: Vec<_> = self.0.iter().map(|keys| keys.fingerprint.hash(data)).collect();
        let named = self.0.iter().zip(&hashes).map(|(keys, hash)| format!("{}.{hash}", keys.id));
        named.chain(hashes.iter().cloned()).collect()
    }

    /// A keyed hash of the id that a provider gave a message, `<key id>.<hash, hex>`: a receipt that names the id is matched
    /// by it where the id itself isn't kept.
    #[must_use]
    pub fn provider_message_hash(&self, provider: &str, id: &str) -> String {
        let keys = self.current();
        let hash = keys.provider_message.hash(format!("{provider}\n{id}").as_bytes());
        format!("{}.{hash}", keys.id)
    }

    /// The key that a stored fingerprint was made with, where this process lacks it.
    #[must_use]
    pub fn missing_key_of(&self, fingerprint: &str) -> Option<KeyId> {
        let (id, _) = fingerprint.split_once('.')?;
        Some(KeyId::from(id)).filter(|id| self.get(id).is_none())
    }

    /// The ids of all secrets, the current one's first.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.0.iter().map(|keys| keys.id.clone()).collect()
    }
}

impl FromStr for KeyRing {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_master(&SecretString::from(text))
    }
}

impl Keys {
    /// HKDF-SHA-256 (RFC 5869) without a salt; each key has an `info` of its own.
    fn derive(master: &[u8]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, master);
        let key = |info: &str| {
            let mut bytes = [0; 32];
            #[expect(clippy::expect_used, reason = "32 bytes are far below HKDF's limit")]
            hkdf.expand(info.as_bytes(), &mut bytes).expect("32 bytes can be derived");
            Key(bytes)
        };
        Self {
            id: KeyId(hex::encode(&key("postrider key id v1").0[..4])),
            signing: key("postrider token signing v1"),
            code: key("postrider code v1"),
            log: key("postrider log v1"),
            job: key("postrider queue v1"),
            fingerprint: key("postrider fingerprint v1"),
            provider_message: key("postrider provider message v1"),
        }
    }

    fn cipher(&self, purpose: SealedFor) -> XChaCha20Poly1305 {
        let key = match purpose {
            SealedFor::Log => &self.log,
            SealedFor::Queue => &self.job,
        };
        XChaCha20Poly1305::new(&key.0.into())
    }
}

impl Key {
    /// 16 bytes of HMAC-SHA-256, in hex.
    fn hash(&self, data: &[u8]) -> String {
        let mut mac = self.mac();
        mac.update(data);
        hex::encode(&mac.finalize().into_bytes()[..16])
    }

    fn mac(&self) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        Hmac::<Sha256>::new_from_slice(&self.0).expect("any key length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "an-old-secret-of-more-than-32-bytes-aaaa";
    const B: &str = "a-new-secret-of-more-than-32-bytes-bbbbb";

    fn ring(text: &str) -> KeyRing {
        text.parse().unwrap()
    }

    #[test]
    fn short_and_missing_secrets_are_named() {
        assert!(matches!("".parse::<KeyRing>(), Err(SecretError::Empty)));
        assert!(matches!("short".parse::<KeyRing>(), Err(SecretError::Short(1))));
        assert!(matches!(format!("{A},short").parse::<KeyRing>(), Err(SecretError::Short(2))));
    }

    #[test]
    fn the_first_secret_seals_and_each_opens() {
        let old = ring(A).seal(SealedFor::Log, b"123456", b"id");
        let rotated = ring(&format!("{B}, {A}"));
        assert_eq!(rotated.open(SealedFor::Log, &old, b"id").unwrap(), b"123456");
        let new = rotated.seal(SealedFor::Log, b"654321", b"id");
        assert!(matches!(ring(A).open(SealedFor::Log, &new, b"id"), Err(OpenError::UnknownKey(_))));
    }

    #[test]
    fn a_sealed_text_belongs_to_its_record_and_purpose() {
        let ring = ring(A);
        let sealed = ring.seal(SealedFor::Log, b"123456", b"id");
        assert!(!sealed.contains("123456"));
        assert_eq!(ring.open(SealedFor::Log, &sealed, b"other"), Err(OpenError::Broken));
        assert_eq!(ring.open(SealedFor::Queue, &sealed, b"id"), Err(OpenError::Broken));
        assert_eq!(ring.open(SealedFor::Log, "nonsense", b"id"), Err(OpenError::Broken));
        assert_ne!(sealed, ring.seal(SealedFor::Log, b"123456", b"id"), "nonces differ");
    }

    #[test]
    fn fingerprints_survive_a_rotation() {
        let before = ring(A).fingerprints(b"body");
        let after = ring(&format!("{B},{A}")).fingerprints(b"body");
        assert!(after.contains(&before[0]));
        assert_ne!(after[0], before[0]);
        let old_format = before[0].split_once('.').unwrap().1;
        assert!(after.iter().any(|fingerprint| fingerprint == old_format));
    }

    #[test]
    fn a_fingerprint_names_the_key_that_is_missing() {
        let (old, both) = (ring(A), ring(&format!("{B},{A}")));
        let made = old.fingerprints(b"body").swap_remove(0);
        assert_eq!(ring(B).missing_key_of(&made), Some(old.current().id.clone()));
        assert_eq!(both.missing_key_of(&made), None);
        assert_eq!(ring(B).missing_key_of("00112233445566778899aabbccddeeff"), None);
        assert_eq!(both.ids(), [ring(B).current().id.clone(), old.current().id.clone()]);
    }

    #[test]
    fn a_provider_message_is_found_by_its_hash() {
        let hash = ring(A).provider_message_hash("main", "9006^0");
        assert_eq!(hash, ring(A).provider_message_hash("main", "9006^0"));
        assert!(hash.starts_with(ring(A).current().id.as_str()) && !hash.contains("9006^0"));
        for other in [
            ring(B).provider_message_hash("main", "9006^0"),
            ring(A).provider_message_hash("second", "9006^0"),
            ring(A).provider_message_hash("main", "9006^1"),
        ] {
            assert_ne!(other, hash);
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let ring = ring(A);
        assert!(!format!("{ring:?}").contains(A));
        assert!(format!("{ring:?}").contains("Key(..)"));
    }
}
