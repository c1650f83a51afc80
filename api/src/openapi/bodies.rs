//! The shape of bodies: whether a request may have other fields than those that are described, and that a flattened
//! struct is one object.

use serde_json::{Map, Value};

/// What a request's body has no field for is refused, but ignored where it is open.
pub(super) fn open_or_close(document: &mut Value, mut requests: Vec<(String, bool)>) {
    while let Some((place, is_open)) = requests.pop() {
        let Some(schema) = document.pointer_mut(&place) else { continue };
        if schema["properties"].is_object() {
            schema["additionalProperties"] = is_open.into();
        }
        let parts = schema["oneOf"].as_array().into_iter().flatten().filter_map(pointer);
        requests.extend(parts.map(|place| (place, is_open)));
    }
}

/// Where the schema of an operation's request is, if it has one with a name.
pub(super) fn request(operation: &Value) -> Option<String> {
    pointer(operation.pointer("/requestBody/content/application~1json/schema")?)
}

/// Where the schema is that a reference names.
fn pointer(schema: &Value) -> Option<String> {
    schema["$ref"].as_str().map(|reference| reference.trim_start_matches('#').to_owned())
}

/// Each schema of a struct in another becomes one object with the members of both, which most generators of clients
/// understand better, and which can be closed.
pub(super) fn flatten(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for (_, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        let Some(parts) = schema["allOf"].as_array() else { continue };
        let parts = parts.iter().map(|part| {
            let name = part["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
            name.map_or(part, |name| &schemas[name])
        });
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for part in parts {
            properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
            required.extend(part["required"].as_array().cloned().unwrap_or_default());
        }
        let description = schema["description"].take();
        *schema = serde_json::json!({
            "type": "object", "description": description, "required": required, "properties": properties,
        });
    }
}
