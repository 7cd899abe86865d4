//! A small check of arguments against a JSON schema: required ones, types, choices. What else a schema says is the tool's own business.

use serde_json::{Map, Value as Json};

/// The longest text of arguments that is read.
const MAX_TEXT: usize = 1 << 20;

/// The arguments, if they fit; else what is wrong, as a part of a sentence.
pub(super) fn fit(schema: &Json, arguments: &Json) -> Result<Map<String, Json>, String> {
    let mut arguments = match arguments {
        Json::Null => Map::new(),
        Json::Object(entries) => entries.clone(),
        Json::String(text) if text.len() <= MAX_TEXT => match serde_json::from_str(text) {
            Ok(Json::Object(entries)) => entries,
            _ => return Err("they are not a JSON object".into()),
        },
        _ => return Err("they are not a JSON object".into()),
    };
    let optional = |name: &str| !required(schema).any(|needed| needed == name);
    let typed = |name: &str| {
        let kinds = schema.get("properties").and_then(|p| p.get(name));
        kinds.is_some_and(|property| property.get("type").is_some() && !allows(property, "null"))
    };
    arguments.retain(|name, value| !(value.is_null() && optional(name) && typed(name)));
    object(schema, &arguments, "")?;
    Ok(arguments)
}

/// The names that an object must have.
fn required(schema: &Json) -> impl Iterator<Item = &str> {
    let names = schema.get("required").and_then(Json::as_array);
    names.into_iter().flatten().filter_map(Json::as_str)
}

/// Whether the schema's types have `kind` among them.
fn allows(schema: &Json, kind: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => one == kind,
        Some(Json::Array(some)) => some.iter().any(|one| one == kind),
        _ => true,
    }
}

fn object(schema: &Json, entries: &Map<String, Json>, place: &str) -> Result<(), String> {
    for name in required(schema) {
        if !entries.contains_key(name) {
            return Err(format!("\"{place}{name}\" is missing"));
        }
    }
    let properties = schema.get("properties").and_then(Json::as_object);
    for (name, value) in entries {
        match properties.and_then(|known| known.get(name)) {
            Some(property) => check(property, value, &format!("{place}{name}"))?,
            None if schema.get("additionalProperties") == Some(&Json::Bool(false)) => {
                let known: Vec<_> = properties.into_iter().flat_map(Map::keys).collect();
                return Err(match known.as_slice() {
                    [] => format!("there is no \"{place}{name}\", nor any other"),
                    names => format!(
                        "there is no \"{place}{name}\", only {}",
                        names
                            .iter()
                            .map(|name| format!("\"{place}{name}\""))
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                });
            }
            None => {}
        }
    }
    Ok(())
}

/// The nesting of JSON that serde_json reads bounds this one's.
fn check(schema: &Json, value: &Json, place: &str) -> Result<(), String> {
    let (kind, article) = match value {
        Json::Null => ("null", ""),
        Json::Bool(_) => ("boolean", "a "),
        // 5.0 is an integer to JSON schema.
        Json::Number(n) if n.as_f64().is_some_and(|x| x.fract() == 0.0) => ("integer", "an "),
        Json::Number(_) => ("number", "a "),
        Json::String(_) => ("string", "a "),
        Json::Array(_) => ("array", "an "),
        Json::Object(_) => ("object", "an "),
    };
    if !(allows(schema, kind) || kind == "integer" && allows(schema, "number")) {
        let wanted = match &schema["type"] {
            Json::String(one) => one.clone(),
            some => some
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .collect::<Vec<_>>()
                .join(" or "),
        };
        return Err(format!(
            "\"{place}\" is {article}{kind}, not of type {wanted}"
        ));
    }
    if let Some(choices) = schema.get("enum").and_then(Json::as_array)
        && !choices.contains(value)
    {
        let choices: Vec<_> = choices.iter().map(Json::to_string).collect();
        return Err(format!("\"{place}\" must be one of {}", choices.join(", ")));
    }
    match value {
        Json::Object(entries) => object(schema, entries, &format!("{place}.")),
        Json::Array(items) => match schema.get("items") {
            Some(of) => items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| check(of, item, &format!("{place}[{i}]"))),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_fit_or_a_sentence_says_why_not() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"enum": ["C", "F"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "at": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
            "note": {"type": ["string", "null"]},
        }, "required": ["city"], "additionalProperties": false});
        for (arguments, wrong) in [
            (json!({"city": "Bern"}), None),
            (json!("{\"city\": \"Bern\"}"), None),
            (
                json!({"city": "Bern", "days": 2.0, "unit": "C", "tags": ["a"], "at": {"x": 1}, "note": null}),
                None,
            ),
            (json!(null), Some("\"city\" is missing")),
            (json!({}), Some("\"city\" is missing")),
            (json!([1]), Some("they are not a JSON object")),
            (json!("Bern"), Some("they are not a JSON object")),
            (
                json!({"city": null}),
                Some("\"city\" is null, not of type string"),
            ),
            (
                json!({"city": 5}),
                Some("\"city\" is an integer, not of type string"),
            ),
            (
                json!({"city": "Bern", "days": 1.5}),
                Some("\"days\" is a number, not of type integer"),
            ),
            (
                json!({"city": "Bern", "days": "2"}),
                Some("\"days\" is a string, not of type integer"),
            ),
            (
                json!({"city": "Bern", "unit": "K"}),
                Some("\"unit\" must be one of \"C\", \"F\""),
            ),
            (
                json!({"city": "Bern", "tags": ["a", 1]}),
                Some("\"tags[1]\" is an integer, not of type string"),
            ),
            (
                json!({"city": "Bern", "at": {}}),
                Some("\"at.x\" is missing"),
            ),
            (
                json!({"city": "Bern", "note": 1}),
                Some("\"note\" is an integer, not of type string or null"),
            ),
            (
                json!({"city": "Bern", "town": "x"}),
                Some(
                    "there is no \"town\", only \"city\", \"days\", \"unit\", \"tags\", \"at\", \"note\"",
                ),
            ),
        ] {
            assert_eq!(
                fit(&schema, &arguments).err().as_deref(),
                wrong,
                "{arguments}"
            );
        }
    }

    #[test]
    fn an_optional_null_is_left_out() {
        let schema = json!({"properties": {"a": {"type": "string"}, "b": {}, "c": {"type": ["null", "string"]}}});
        let fitted = fit(&schema, &json!({"a": null, "b": null, "c": null})).unwrap();
        assert_eq!(Json::from(fitted), json!({"b": null, "c": null}));
    }
}
