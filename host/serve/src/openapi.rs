//! The description of the interface, as OpenAPI 3.1.

use serde_json::{Value, json};

use crate::worker::About;

/// The document for a model; `token` if requests need one.
pub fn document(about: &About, token: bool) -> Value {
    let mut sample = json!({ "type": "number" });
    for size in about.shape.iter().rev() {
        sample = json!({ "type": "array", "items": sample, "minItems": size, "maxItems": size });
    }
    let mut properties = json!({
        "inputs": {
            "type": "array", "items": sample, "minItems": 1,
            "description": format!("Samples of `{}` ({}), as the model takes them.", about.input, about.dtype)
        },
        "top": { "type": "integer", "minimum": 0, "description": "Number of most probable classes in `top`." },
        "probabilities": { "type": "boolean", "description": "Whether the probability of every class is returned." },
        "raw": { "type": "boolean", "description": "Whether the outputs of the model are returned as they are." }
    });
    if about.rows {
        properties["rows"] = json!({
            "type": "array", "minItems": 1,
            "items": { "type": "object", "additionalProperties": { "type": ["number", "string", "boolean", "null"] } },
            "description": "Samples as the data set has them, by the names of its columns."
        });
    }
    let mut content = json!({
        "application/json": { "schema": { "type": "object", "additionalProperties": false, "properties": properties } }
    });
    if let Some(files) = &about.files {
        let file = json!({ "schema": { "type": "string", "description": format!("A file as the data set `{files}` reads it.") } });
        content["text/csv"] = file.clone();
        content["application/octet-stream"] = file;
    }
    let class = if about.classes.is_empty() {
        json!({ "type": "string" })
    } else {
        json!({ "enum": about.classes })
    };
    let prediction = json!({
        "type": "object", "required": ["key"],
        "properties": {
            "key": { "type": "string", "description": "Number of the sample, or its line in the file." },
            "class": class,
            "probability": { "type": ["number", "string"] },
            "top": { "type": "array", "items": { "type": "object" } },
            "probabilities": { "type": "object" },
            "value": { "type": ["number", "string"] },
            "values": { "type": "array", "items": { "type": ["number", "string"] } }
        }
    });
    let error = |description: &str| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": {
                "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } }
            } } }
        })
    };
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": format!("fluxbay: {}", about.run), "version": env!("CARGO_PKG_VERSION") },
        "paths": {
            "/predict": { "post": {
                "summary": "Predictions for some samples, in their order.",
                "requestBody": { "required": true, "content": content },
                "responses": {
                    "200": {
                        "description": "A prediction for each sample.",
                        "content": { "application/json": { "schema": {
                            "type": "object", "required": ["predictions"],
                            "properties": { "predictions": { "type": "array", "items": prediction } }
                        } } }
                    },
                    "401": error("The token is missing or wrong."),
                    "408": error("The request took too long."),
                    "413": error("The body is too long."),
                    "415": error("The content type is not one of those above."),
                    "422": error("The samples cannot be used; the text names the place."),
                    "500": error("The model failed, or a plugin ended its process."),
                    "503": error("Too many requests wait, or the model is being started again."),
                    "504": error("The model did not answer in time.")
                }
            } },
            "/health": { "get": { "summary": "Whether the model can be asked.", "responses": { "200": { "description": "Yes." }, "503": error("No.") } } },
            "/metrics": { "get": { "summary": "Counters for Prometheus.", "responses": { "200": { "description": "In the text format." } } } },
            "/openapi.json": { "get": { "summary": "This document.", "responses": { "200": { "description": "OpenAPI 3.1." } } } }
        }
    });
    if token {
        document["components"] =
            json!({ "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } });
        document["security"] = json!([{ "token": [] }]);
    }
    document
}
