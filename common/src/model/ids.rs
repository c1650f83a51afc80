//! The two identifiers that travel through every part: of a message, and of a verification.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: UUID version 7, so that ids sort by the time they were made.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id that a hash stands for: UUID version 8 (RFC 9562, 5.8) of its first 16 bytes.
            #[must_use]
            pub fn derived(hash: &[u8; 32]) -> Self {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&hash[..16]);
                Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
            }

            /// The 16 bytes of the UUID, big-endian.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        /// As text in every format, so that the store's keys can be read.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut text = Uuid::encode_buffer();
                to.serialize_str(self.0.hyphenated().encode_lower(&mut text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// One SMS to one phone number; it ends in exactly one row of `sms_log`.
    MessageId
}
id! {
    /// One code for (account, purpose, phone); a re-send is another message of the same verification.
    VerificationId
}
