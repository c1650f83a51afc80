//! Schemas of what has none of its own: the words that other crates define, and bodies that are only sketched.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// One of an enum's words as they are read and written, in a field: `#[schema(schema_with = words::<Lane>)]`.
pub fn words<T: DeserializeOwned>() -> Object {
    one_of(words_of::<T>())
}

/// One of these words: `fn kinds() -> Object { one_of(&["a", "b"]) }` beside the struct, then
/// `#[schema(schema_with = kinds)]`.
pub fn one_of(words: &[&'static str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.to_vec())).build()
}

/// The words of a plain enum, from serde itself: so that one that is added is described.
fn words_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut words: &'static [&'static str] = &[];
    // Reading always fails; what was asked for is what is wanted.
    drop(T::deserialize(Asked(&mut words)));
    words
}

/// Takes note of the variants that it is asked for.
struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only enums have words"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        Err(Error::custom("the words are known"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A JSON object of whatever members.
#[derive(Debug)]
pub struct Anything;

impl ToSchema for Anything {}

impl PartialSchema for Anything {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object)).into()
    }
}

/// A body that isn't JSON.
#[derive(Debug, ToSchema)]
pub struct Text(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_common::model::job::{Lane, Outcome};

    #[test]
    fn words_are_those_that_serde_reads() {
        assert_eq!(words_of::<Lane>(), ["code", "notice"]);
        assert!(words_of::<Outcome>().contains(&"refused_here"));
        assert!(words_of::<String>().is_empty());
    }
}
