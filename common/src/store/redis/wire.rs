//! How requests and answers travel to Redis and back: `MessagePack`, which its Lua reads and writes by itself.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// Writes a request (one `MessagePack` value): structs as maps, and what tells `MessagePack` from JSON by
/// [`is_human_readable`](serde::Serializer::is_human_readable) in its short form.
///
/// # Errors
/// [`StoreError::Broken`]: it has no such form.
pub fn encode<Q: Serialize + ?Sized>(request: &Q) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(1024);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    request.serialize(&mut serializer).map_err(|error| StoreError::Broken(error.to_string()))?;
    Ok(bytes)
}

/// Reads an answer: a letter, and what it announces: `k` a `MessagePack` value, `l` nothing (the data is lost), `f` why
/// Redis failed. (`n` of a send is read by `new_message.rs`.)
///
/// # Errors
/// What the letter says, or [`StoreError::Broken`].
pub fn decode<A: DeserializeOwned>(answer: &[u8]) -> Result<A, StoreError> {
    match answer.split_first() {
        Some((b'k', answer)) => unpack(answer),
        Some((b'l', _)) => Err(StoreError::Lost),
        Some((b'f', why)) => {
            Err(StoreError::Unavailable(String::from_utf8_lossy(why).into_owned()))
        }
        _ => Err(StoreError::Broken("no answer".to_owned())),
    }
}

/// Reads one `MessagePack` value.
pub(super) fn unpack<A: DeserializeOwned>(value: &[u8]) -> Result<A, StoreError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(value).with_human_readable();
    A::deserialize(&mut deserializer).map_err(|error| StoreError::Broken(error.to_string()))
}
