//! Writes trained models in formats of others.

#![forbid(unsafe_code)]

pub mod onnx;
