//! What the sandbox provider keeps of a message, sealed with the log key and bound to the message's id: the worker
//! writes it, the API shows it.

use serde::{Deserialize, Serialize};

use crate::model::ids::MessageId;
use crate::secrets::{KeyRing, OpenError, SealedFor};

/// A message as a provider would have carried it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxText {
    /// Masked: whoever reads the code needs no more of it.
    pub phone: String,
    /// With the code in it.
    pub text: String,
}

impl SandboxText {
    #[must_use]
    pub fn seal(&self, keys: &KeyRing, message: MessageId) -> String {
        #[expect(clippy::expect_used, reason = "strings always serialise")]
        let plain = serde_json::to_vec(self).expect("texts serialise");
        keys.seal(SealedFor::Log, &plain, message.as_bytes())
    }

    pub fn open(keys: &KeyRing, message: MessageId, sealed: &str) -> Result<Self, OpenError> {
        let plain = keys.open(SealedFor::Log, sealed, message.as_bytes())?;
        serde_json::from_slice(&plain).map_err(|_| OpenError::Broken)
    }
}

impl std::fmt::Debug for SandboxText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxText").field("phone", &self.phone).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_opened_as_it_was_sealed_and_is_not_shown() {
        let keys: KeyRing = "a".repeat(40).parse().unwrap();
        let id = MessageId::generate();
        let kept = SandboxText { phone: "+86138****8000".to_owned(), text: "123456".to_owned() };
        let sealed = kept.seal(&keys, id);
        assert_eq!(SandboxText::open(&keys, id, &sealed), Ok(kept.clone()));
        assert!(SandboxText::open(&keys, MessageId::generate(), &sealed).is_err());
        assert!(!format!("{kept:?}").contains("123456"));
    }
}
