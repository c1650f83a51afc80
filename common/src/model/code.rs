//! The code of a verification: derived from its id, never made by chance and never kept in the clear.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::model::digits;
use crate::model::ids::VerificationId;
use crate::secrets::CodeKey;

/// Fewest and most digits that a purpose may ask for. Nine is what 31 bits can fill (RFC 4226, 5.3).
pub const DIGITS: std::ops::RangeInclusive<u8> = 4..=9;

/// A numeric code. `Debug` hides it; only [`Code::expose`] gives it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// The code of a verification: HMAC-SHA-256 over its id, cut as RFC 4226 section 5.3 cuts, to `digits`
    /// decimal digits with leading zeroes. Any process with the key makes the same one.
    #[must_use]
    pub fn derive(key: &CodeKey, id: VerificationId, digits: u8) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any key length");
        mac.update(id.as_bytes());
        let digest = mac.finalize().into_bytes();
        let digits = digits.clamp(*DIGITS.start(), *DIGITS.end());
        let number = truncate(&digest) % 10_u32.pow(u32::from(digits));
        Self(format!("{number:0width$}", width = usize::from(digits)))
    }

    /// The code of every verification that a test key asked for: the digits from 1 on.
    #[must_use]
    pub fn fixed(digits: u8) -> Self {
        let digits = digits.clamp(*DIGITS.start(), *DIGITS.end());
        Self("123456789"[..usize::from(digits)].to_owned())
    }

    /// Whether `typed` is this code, in a time that doesn't depend on where they differ. Spaces, hyphens and other
    /// scripts' digits are as keyboards and copied texts have them.
    #[must_use]
    pub fn matches(&self, typed: &str) -> bool {
        let is_separator = |c: &char| c.is_whitespace() || matches!(c, '-' | '－');
        let typed = typed.chars().filter(|c| !is_separator(c));
        let typed: String = typed.map(|c| digits::to_ascii(c).unwrap_or(c)).collect();
        self.0.as_bytes().ct_eq(typed.as_bytes()).into()
    }

    /// The text with `with` in place of the code, also where its digits are of another script or have separators between
    /// them.
    #[must_use]
    pub fn redact(&self, text: &str, with: &str) -> String {
        let mut redacted = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let len = if let Some(len) = self.len_at_start(rest) {
                redacted.push_str(with);
                len
            } else {
                redacted.push(first);
                first.len_utf8()
            };
            rest = &rest[len..];
        }
        redacted
    }

    /// Bytes of the code at the start of a text, with the separators between its digits.
    fn len_at_start(&self, text: &str) -> Option<usize> {
        let mut digits = self.0.chars().peekable();
        for (at, character) in text.char_indices() {
            let wanted = digits.peek()?;
            if digits::to_ascii(character) == Some(*wanted) {
                digits.next();
            } else if at == 0 || character.is_alphanumeric() {
                return None;
            }
            if digits.peek().is_none() {
                return Some(at + character.len_utf8());
            }
        }
        None
    }

    /// The digits, for the text of the SMS and the sealed column. Never log them.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(******)")
    }
}

/// Dynamic truncation (RFC 4226, 5.3): the low nibble of the last byte says where 31 bits are taken.
fn truncate(digest: &[u8]) -> u32 {
    let offset = usize::from(digest[digest.len() - 1] & 0x0f);
    let word = [digest[offset], digest[offset + 1], digest[offset + 2], digest[offset + 3]];
    u32::from_be_bytes(word) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_is_that_of_rfc_4226() {
        // Appendix D: HMAC-SHA-1 of counter 0 under the key "12345678901234567890", and its code.
        let digest = hex::decode("cc93cf18508d94934c64b65d8ba7667fb7cde4b0").unwrap();
        assert_eq!(truncate(&digest), 0x4c93_cf18);
        assert_eq!(truncate(&digest) % 1_000_000, 755_224);
    }

    #[test]
    fn the_same_verification_has_the_same_code_and_another_has_not() {
        let key = CodeKey::for_tests(7);
        let (id, other) = (VerificationId::generate(), VerificationId::generate());
        assert_eq!(Code::derive(&key, id, 6), Code::derive(&key, id, 6));
        assert_ne!(Code::derive(&key, id, 9), Code::derive(&key, other, 9));
        assert_ne!(Code::derive(&key, id, 9), Code::derive(&CodeKey::for_tests(8), id, 9));
    }

    #[test]
    fn matches_a_code_as_users_type_it() {
        let code = Code::fixed(6);
        for typed in [
            "123456",
            "123 456",
            " 123-456 ",
            "１２３４５６",
            "１２３　４５６",
            "123－456",
            "١٢٣٤٥٦",
        ] {
            assert!(code.matches(typed), "{typed}");
        }
        for typed in [
            "",
            "-",
            "12345",
            "1234567",
            "123456x",
            "12345６６",
            "+123456",
            "123.456",
            "一二三四五六",
        ] {
            assert!(!code.matches(typed), "{typed}");
        }
    }

    #[test]
    fn redacts_a_code_however_it_is_written() {
        let code = Code::fixed(6);
        for (text, redacted) in [
            ("id-123456", "id-*"),
            ("9006^{\"code\":\"123456\"} 1-2-3-4-5-6 of 123 456", "9006^{\"code\":\"*\"} * of *"),
            ("１２３４５６", "*"),
            ("01234567", "0*7"),
            ("123x456 12345", "123x456 12345"),
            ("验证码123456。", "验证码*。"),
        ] {
            assert_eq!(code.redact(text, "*"), redacted);
        }
    }

    #[test]
    fn a_code_has_its_digits_and_is_not_shown() {
        let key = CodeKey::for_tests(7);
        for digits in DIGITS {
            for _ in 0..50 {
                let code = Code::derive(&key, VerificationId::generate(), digits);
                assert_eq!(code.expose().len(), usize::from(digits));
                assert!(code.expose().bytes().all(|b| b.is_ascii_digit()));
                assert!(code.matches(code.expose()));
                assert!(!code.matches(&format!("{}0", code.expose())));
                assert!(!format!("{code:?}").contains(code.expose()));
            }
        }
    }
}
