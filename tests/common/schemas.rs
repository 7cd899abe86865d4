//! Schemas, and a second opinion on what keeps to them.

use jsonschema::Validator;
use serde_json::{Value, json};

/// Twenty schemas: nested objects, enums, patterns, arrays, tuples, references, unions, formats, ranges.
pub(crate) fn schemas() -> Vec<Value> {
    vec![
        json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130}},
            "required": ["name", "age"], "additionalProperties": false}),
        json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "object", "properties":
            {"c": {"type": "array", "items": {"type": "boolean"}}}, "required": ["c"]}}, "required": ["b"]}}, "required": ["a"]}),
        json!({"enum": ["red", "green", 3, null, true, {"x": [1, 2]}, "\"quoted\"\n"]}),
        json!({"const": {"version": 2, "tags": ["a", "é"], "empty": {}}}),
        json!({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,5}$"}),
        json!({"type": "string", "pattern": "ab+c", "maxLength": 12}),
        json!({"type": "array", "items": {"type": "integer", "minimum": -5, "exclusiveMaximum": 12}, "minItems": 3, "maxItems": 6}),
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number", "minimum": 0.5, "maximum": 99.25}, {"type": "null"}],
            "items": false, "minItems": 3}),
        json!({"type": "array", "prefixItems": [{"type": "boolean"}], "items": {"enum": ["x", "y"]}, "minItems": 2, "maxItems": 4}),
        json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer", "minimum": 0, "maximum": 99},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}, "required": ["value"], "additionalProperties": false}}}),
        json!({"type": "object", "properties": {"home": {"$ref": "#/definitions/a~1b%20c"}, "work": {"$ref": "#/properties/home"}}, "required": ["work"],
            "definitions": {"a/b c": {"type": "object", "properties": {"zip": {"type": "string", "minLength": 5, "maxLength": 5}}, "required": ["zip"]}}}),
        json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0}}, "required": ["kind", "r"], "additionalProperties": false},
            {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "integer", "multipleOf": 5, "minimum": 5, "maximum": 500}}, "required": ["kind", "side"], "additionalProperties": false}]}),
        json!({"anyOf": [{"type": "string", "maxLength": 3}, {"type": "integer", "minimum": 1000, "maximum": 9999}, {"type": "array", "maxItems": 0}]}),
        json!({"type": "object", "properties": {"day": {"type": "string", "format": "date"}, "at": {"type": "string", "format": "date-time"},
            "hour": {"type": "string", "format": "time"}}, "required": ["day", "at", "hour"], "additionalProperties": false}),
        json!({"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}, "ip": {"type": "string", "format": "ipv4"},
            "six": {"type": "string", "format": "ipv6"}, "for": {"type": "string", "format": "duration"}}, "required": ["id", "ip", "six", "for"], "additionalProperties": false}),
        json!({"type": "object", "properties": {"naïve": {"type": "string"}, "日本": {"type": ["integer", "null"], "minimum": 0, "maximum": 7}, "a\"b\\c": {"type": "boolean"}},
            "required": ["日本", "naïve"], "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 9}}),
        json!({"type": "object", "patternProperties": {"^x_[a-z]+$": {"type": "integer", "minimum": 0, "maximum": 50}}, "additionalProperties": false}),
        json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 8}, "b": {"type": "string", "enum": ["p", "q"]}}, "required": ["b"]}]}),
        json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": -100, "maximum": 100}, "b": {"type": "number", "minimum": -1.5, "maximum": 2.25},
            "c": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 1000}}, "required": ["a", "b", "c"], "minProperties": 3.0, "title": "T", "uniqueItems": false}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "string", "format": "email"}, {"type": "string", "format": "hostname"}],
            "additionalItems": false, "minItems": 2}),
    ]
}

pub(crate) fn validator(schema: &Value) -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).unwrap()
}

/// Asserts that an answer is JSON by its schema.
pub(crate) fn check(validator: &Validator, schema: &Value, answer: &str) {
    let parsed: Value = serde_json::from_str(answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
    if let Err(error) = validator.validate(&parsed) {
        panic!("{error}: {answer} is not by {schema}");
    }
}
