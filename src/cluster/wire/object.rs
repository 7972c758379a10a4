//! JSON objects in, structs out; what else stands there is refused. Derived readers would take a list of the
//! values of a struct's fields as well.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Reads a struct, or nothing where null stands.
pub(super) fn one<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Obj<T>>::deserialize(deserializer)?.map(|Obj(value)| value))
}

/// Reads a list of structs, or nothing where null stands.
pub(super) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list = Option::<Vec<Obj<T>>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(|Obj(value)| value).collect()))
}

/// A struct written as an object.
struct Obj<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Obj<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Obj<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Obj<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Obj)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}
