//! Generated inputs, determined by a seed: configurations that a schema allows, and bytes.

use serde_json::{Map, Value, json};

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every platform.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The generator for a seed and a purpose.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A configuration that `schema` (of an object) allows. Some settings with defaults are omitted.
pub(super) fn configuration(schema: &Value, random: &mut Random) -> Map<String, Value> {
    let mut out = Map::new();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if required.contains(&name.as_str()) || random.below(3) > 0 {
            out.insert(name.clone(), value(property, random, 0));
        }
    }
    out
}

fn value(schema: &Value, random: &mut Random, depth: u32) -> Value {
    if let Some(options) = schema["enum"].as_array().filter(|options| !options.is_empty()) {
        return options[random.below(options.len() as u64) as usize].clone();
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(options) = schema[key].as_array().filter(|options| !options.is_empty()) {
            return value(&options[random.below(options.len() as u64) as usize], random, depth + 1);
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let kind =
        if types.is_empty() { "string" } else { types[random.below(types.len() as u64) as usize] };
    match kind {
        "integer" => integer(schema, random),
        "number" => number(schema, random),
        "boolean" => json!(random.below(2) == 0),
        "null" => Value::Null,
        "array" => {
            let low = schema["minItems"].as_u64().unwrap_or(0);
            let high = schema["maxItems"].as_u64().unwrap_or(low + 3).min(low + 8);
            let count =
                if depth > 3 { low } else { low + random.below(high.saturating_sub(low) + 1) };
            Value::Array((0..count).map(|_| value(&schema["items"], random, depth + 1)).collect())
        }
        "object" => Value::Object(configuration(schema, random)),
        _ => text(schema, random),
    }
}

fn integer(schema: &Value, random: &mut Random) -> Value {
    let low = schema["minimum"]
        .as_f64()
        .or_else(|| schema["exclusiveMinimum"].as_f64().map(|low| low + 1.0))
        .unwrap_or(-1000.0);
    let high = schema["maximum"]
        .as_f64()
        .or_else(|| schema["exclusiveMaximum"].as_f64().map(|high| high - 1.0))
        .unwrap_or(low.max(0.0) + 1000.0);
    let picked = match random.below(4) {
        0 => low,
        1 => high,
        _ => (low + random.unit() * (high - low)).floor(),
    };
    let picked = picked.clamp(-9e15, 9e15);
    if low >= 0.0 { json!(picked as u64) } else { json!(picked as i64) }
}

fn number(schema: &Value, random: &mut Random) -> Value {
    let low = schema["minimum"].as_f64();
    let high = schema["maximum"].as_f64();
    let (open_low, open_high) =
        (schema["exclusiveMinimum"].as_f64(), schema["exclusiveMaximum"].as_f64());
    let from = low.or(open_low).unwrap_or(-10.0);
    let to = high.or(open_high).unwrap_or(from.max(0.0) + 10.0);
    let picked = match random.below(5) {
        0 if low.is_some() => from,
        1 if high.is_some() => to,
        _ => from + (0.001 + 0.998 * random.unit()) * (to - from),
    };
    json!(picked)
}

fn text(schema: &Value, random: &mut Random) -> Value {
    const WORDS: &[&str] = &[
        "",
        "a",
        "training",
        "no such file",
        "../../etc",
        "\u{1F980}\u{0}\n",
        "loss",
        "%s%n",
        "0",
    ];
    let word = WORDS[random.below(WORDS.len() as u64) as usize];
    let low = schema["minLength"].as_u64().unwrap_or(0) as usize;
    let mut word = word.to_owned();
    while word.chars().count() < low {
        word.push('x');
    }
    let high = schema["maxLength"].as_u64().map_or(usize::MAX, |high| high as usize);
    json!(word.chars().take(high).collect::<String>())
}

/// Bytes added to make a state very large.
const HUGE: usize = 4 << 20;

/// A state that is changed in a few bytes, truncated, extended, doubled, or very large.
pub(super) fn damaged(state: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = state.to_vec();
    match random.below(5) {
        0 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
        1 => bytes.extend(random.bytes(8)),
        2 => bytes.extend_from_within(..),
        3 => bytes.resize(bytes.len() + HUGE, random.next() as u8),
        _ => {
            for _ in 0..=random.below(4) {
                if !bytes.is_empty() {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] = random.next() as u8;
                }
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::{Diagnostics, check_json};

    #[test]
    fn made_up_configurations_are_allowed_by_their_schema_and_follow_from_the_seed() {
        let schema = json!({ "type": "object", "additionalProperties": false, "required": ["a", "e"], "properties": {
            "a": { "type": "integer", "minimum": 1, "maximum": 9 },
            "b": { "type": "number", "exclusiveMinimum": 0, "default": 0.5 },
            "c": { "type": "array", "items": { "type": "integer", "minimum": 0 }, "minItems": 1, "maxItems": 3, "default": [1] },
            "d": { "type": ["string", "null"], "default": null },
            "e": { "enum": ["x", "y"] },
            "f": { "type": "object", "additionalProperties": false, "properties": { "g": { "type": "boolean", "default": true } }, "default": {} },
        }});
        let mut random = Random::new(7, "test");
        for _ in 0..500 {
            let made = configuration(&schema, &mut random);
            let mut diagnostics = Diagnostics::new();
            check_json(&schema, &Value::Object(made.clone()), "it", &mut diagnostics);
            assert!(
                !diagnostics.has_errors(),
                "{made:?} {:?}",
                diagnostics.iter().map(|d| &d.message).collect::<Vec<_>>()
            );
        }
        let again = |seed| configuration(&schema, &mut Random::new(seed, "test"));
        assert_eq!(again(3), again(3));
    }
}
