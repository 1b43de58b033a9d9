//! Configurations of components: structs whose JSON Schema is a constant, so that the manifest can
//! hold it. Declared with [`config!`](crate::config!), [`choice!`](crate::choice!) and
//! [`variants!`](crate::variants!).

mod macros;
mod schema;

pub use schema::{Described, Field, Schema, Variant};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result};

/// A component's configuration: a struct declared with [`config!`](crate::config!), or
/// [`NoConfig`]. The host passes a JSON object that fits the schema.
pub trait Config: Described + DeserializeOwned {
    /// Reads a JSON object; missing keys get their defaults. Useful in tests:
    /// `Config::from_json("{}")`.
    ///
    /// # Errors
    /// If a key is unknown, missing, or has a wrong type; the error names the key.
    fn from_json(text: &str) -> Result<Self> {
        let mut value: Value = if text.trim().is_empty() {
            Value::Object(Default::default())
        } else {
            serde_json::from_str(text)?
        };
        Self::SCHEMA.fill(&mut value)?;
        serde_json::from_value(value).map_err(|error| Error::new(format!("configuration: {error}")))
    }
}

/// The configuration of a component without settings: `type Config = NoConfig;`. Any key in the run
/// file is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

impl Described for NoConfig {
    const SCHEMA: Schema = Schema::Object(&[]);
}

impl Config for NoConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    crate::choice! {
        /// A function.
        enum Activation {
            /// Rectified linear unit.
            Relu,
            /// Gaussian error linear unit.
            GeluErf,
        }
    }

    crate::variants! {
        /// A layer.
        enum Layer {
            /// Fully connected.
            Linear {
                /// Outputs.
                out: u64,
                /// Whether a bias is added.
                with_bias: bool = true,
            },
            /// Flattens all but the batch.
            Flatten {},
        }
    }

    crate::config! {
        /// Everything at once.
        struct Everything {
            /// Weight of the
            /// "old" value.
            alpha: f64 = 0.98 => 0.0..=1.0,
            /// Sizes.
            hidden: Vec<u64> = [64, 32],
            /// A path.
            path: String,
            /// A function.
            activation: Activation = "gelu-erf",
            /// A limit.
            max_steps: Option<u64> = null => 1..,
            /// Layers.
            layers: Vec<Layer> = [],
        }
    }

    const LEN: usize = Everything::SCHEMA.json_len();
    static JSON: [u8; LEN] = Everything::SCHEMA.json::<LEN>();

    fn parse(text: &str) -> Result<Everything> {
        Everything::from_json(text)
    }

    #[test]
    fn defaults_are_filled_in_at_every_depth() {
        let config = parse(
            r#"{"path": "a", "layers": [{"type": "linear", "out": 3}, {"type": "flatten"}]}"#,
        )
        .unwrap();
        assert_eq!((config.alpha, &*config.path), (0.98, "a"));
        assert_eq!(config.hidden, [64, 32]);
        assert!(matches!(config.activation, Activation::GeluErf));
        assert_eq!(config.max_steps, None);
        assert!(matches!(
            config.layers[..],
            [Layer::Linear { out: 3, with_bias: true }, Layer::Flatten {}]
        ));
        assert!(matches!(
            parse(r#"{"path": "a", "activation": "relu"}"#).unwrap().activation,
            Activation::Relu
        ));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        assert!(parse("{}").unwrap_err().message().contains("path"));
        assert!(parse(r#"{"path": "a", "alhpa": 1}"#).unwrap_err().message().contains("alhpa"));
    }

    #[test]
    fn the_schema_is_json_made_at_compile_time() {
        let schema: Value = serde_json::from_slice(&JSON).unwrap();
        assert_eq!(schema["description"], "Everything at once.");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["path"]));
        let alpha = &schema["properties"]["alpha"];
        assert_eq!(alpha["type"], "number");
        assert_eq!(alpha["minimum"], 0.0);
        assert_eq!(alpha["maximum"], 1.0);
        assert_eq!(alpha["default"], 0.98);
        assert_eq!(alpha["description"], "Weight of the \"old\" value.");
        assert_eq!(schema["properties"]["hidden"]["items"]["type"], "integer");
        assert_eq!(schema["properties"]["hidden"]["default"], serde_json::json!([64, 32]));
        assert_eq!(
            schema["properties"]["activation"]["enum"],
            serde_json::json!(["relu", "gelu-erf"])
        );
        assert_eq!(
            schema["properties"]["max-steps"]["type"],
            serde_json::json!(["integer", "null"])
        );
        assert_eq!(schema["properties"]["max-steps"]["minimum"], 1);
        let linear = &schema["properties"]["layers"]["items"]["oneOf"][0];
        assert_eq!(linear["properties"]["type"]["const"], "linear");
        assert_eq!(linear["required"], serde_json::json!(["type", "out"]));
        assert_eq!(linear["properties"]["with-bias"]["default"], true);
    }
}
