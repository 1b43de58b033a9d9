//! The ONNX graph while it is built: nodes, constants, names.

use std::collections::HashMap;

use candle_core::{DType, Tensor};

use super::messages::{
    Attribute, Dimension, FLOAT, GraphProto, INT64, ModelProto, NodeProto, OperatorSetId,
    StringPair, TensorProto, TensorShape, TensorType, TypeProto, ValueInfo,
};
use super::symbolic::Number;
use super::traces::{Compared, InputForm, Operand, bytes};
use super::{Description, ExportError, OPSET, Preprocessing, onnx_type};

/// Version of the file format that has opset 18.
const IR_VERSION: i64 = 8;
/// Names of the symbolic sizes.
const BATCH: &str = "batch";
const LENGTH: &str = "length";

/// A tensor of the graph. Whole numbers of every type are i64 there.
#[derive(Clone, Debug)]
pub struct Value {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<Number>,
}

impl Value {
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
}

/// See the module.
pub struct Graph {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Names of constants by their bytes, dimensions and type.
    constants: HashMap<(Vec<u8>, Vec<i64>, i32), String>,
    parameters: HashMap<String, Value>,
    given: HashMap<usize, Value>,
    /// Names of the tensors that hold a number.
    numbers: HashMap<[i64; 4], String>,
    input: Value,
    /// Raw inputs, from which nodes compute `input`; it is an input itself if there are none.
    raw: Vec<ValueInfo>,
    next: usize,
    /// Prefix of the names of nodes.
    pub layer: String,
}

impl Graph {
    pub fn new(form: &InputForm, compared: &Compared) -> Graph {
        let batch = match compared.batch {
            Some(batch) => Number::constant(batch as i64),
            None => Number { constant: 0, batch: 1, length: 0, both: 0 },
        };
        let mut shape = vec![batch];
        shape.extend(form.shape.iter().map(|size| Number::constant(*size as i64)));
        if compared.symbolic_length && shape.len() > 1 {
            shape[1] = Number { constant: 0, batch: 0, length: 1, both: 0 };
        }
        Graph {
            nodes: Vec::new(),
            initializers: Vec::new(),
            constants: HashMap::new(),
            parameters: HashMap::new(),
            given: HashMap::new(),
            numbers: HashMap::new(),
            input: Value { name: form.name.clone(), dtype: form.dtype, shape },
            raw: Vec::new(),
            next: 0,
            layer: String::new(),
        }
    }

    /// Adds the nodes that compute the input of the model from raw values.
    pub fn preprocess(
        &mut self,
        preprocessing: &Preprocessing,
        form: &InputForm,
    ) -> Result<(), ExportError> {
        self.layer = "preprocessing".to_owned();
        let batch = dimension(&self.input.shape[0]);
        self.raw = preprocessing.add(self, form, &batch)?;
        self.layer.clear();
        Ok(())
    }

    /// Adds a node with one output; returns the output's name.
    pub fn node(&mut self, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.node_with(operator, inputs, attributes, 1).remove(0)
    }

    /// Adds a node; returns the names of its outputs.
    pub fn node_with(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
        outputs: usize,
    ) -> Vec<String> {
        let number = self.next;
        self.next += 1;
        let output: Vec<String> = match outputs {
            1 => vec![format!("v{number}")],
            several => (0..several).map(|index| format!("v{number}.{index}")).collect(),
        };
        let name = if self.layer.is_empty() {
            format!("{operator}_{number}")
        } else {
            format!("{}/{operator}_{number}", self.layer)
        };
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: output.clone(),
            name,
            op_type: operator.to_owned(),
            attribute: attributes,
        });
        output
    }

    fn constant(&mut self, raw: Vec<u8>, dims: Vec<i64>, data_type: i32) -> String {
        let key = (raw, dims, data_type);
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = format!("constant.{}", self.constants.len());
        let (raw_data, dims, _) = key.clone();
        self.initializers.push(TensorProto { dims, data_type, name: name.clone(), raw_data });
        self.constants.insert(key, name.clone());
        name
    }

    /// A list of whole numbers.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(raw, vec![values.len() as i64], INT64)
    }

    /// A whole number without dimensions.
    pub fn int(&mut self, value: i64) -> String {
        self.constant(value.to_le_bytes().to_vec(), Vec::new(), INT64)
    }

    /// A number without dimensions, of the type of `like`.
    pub fn scalar(&mut self, value: f64, like: DType) -> String {
        self.filled(&[value], &[], like)
    }

    /// Numbers with dimensions, of the type `like`.
    pub fn filled(&mut self, values: &[f64], dims: &[i64], like: DType) -> String {
        let data_type = onnx_type(like);
        let raw = values
            .iter()
            .flat_map(|value| match data_type {
                super::messages::DOUBLE => value.to_le_bytes().to_vec(),
                FLOAT => (*value as f32).to_le_bytes().to_vec(),
                _ => (*value as i64).to_le_bytes().to_vec(),
            })
            .collect();
        self.constant(raw, dims.to_vec(), data_type)
    }

    /// Zeros of a shape that may depend on the sizes.
    pub fn all_zero(&mut self, shape: &[Number], dtype: DType) -> String {
        let (zero, shape) = (self.scalar(0.0, dtype), self.shape(shape));
        self.node("Expand", &[&zero, &shape], Vec::new())
    }

    /// A number that may depend on the sizes, as a list of one element.
    pub fn number(&mut self, number: Number) -> String {
        if let Some(value) = number.fixed() {
            return self.ints(&[value]);
        }
        let key = [number.constant, number.batch, number.length, number.both];
        if let Some(name) = self.numbers.get(&key) {
            return name.clone();
        }
        let mut sum: Option<String> = None;
        let sizes = [(number.batch, 1), (number.length, 2), (number.both, 3)];
        for (factor, which) in sizes.into_iter().filter(|(factor, _)| *factor != 0) {
            let size = match which {
                1 => self.size(0),
                2 => self.size(1),
                _ => {
                    let (batch, length) = (self.size(0), self.size(1));
                    self.node("Mul", &[&batch, &length], Vec::new())
                }
            };
            let term = if factor == 1 {
                size
            } else {
                let factor = self.ints(&[factor]);
                self.node("Mul", &[&size, &factor], Vec::new())
            };
            sum = Some(match sum {
                None => term,
                Some(before) => self.node("Add", &[&before, &term], Vec::new()),
            });
        }
        let mut name = sum.unwrap_or_default();
        if number.constant != 0 {
            let constant = self.ints(&[number.constant]);
            name = self.node("Add", &[&name, &constant], Vec::new());
        }
        self.numbers.insert(key, name.clone());
        name
    }

    /// Size of dimension `axis` of the input, as a list of one element.
    fn size(&mut self, axis: i64) -> String {
        let number = Number {
            constant: 0,
            batch: i64::from(axis == 0),
            length: i64::from(axis == 1),
            both: 0,
        };
        let key = [0, number.batch, number.length, 0];
        if let Some(name) = self.numbers.get(&key) {
            return name.clone();
        }
        let input = self.input.name.clone();
        let attributes = vec![Attribute::int("start", axis), Attribute::int("end", axis + 1)];
        let name = self.node("Shape", &[&input], attributes);
        self.numbers.insert(key, name.clone());
        name
    }

    /// A shape as a list.
    pub fn shape(&mut self, shape: &[Number]) -> String {
        let fixed: Option<Vec<i64>> = shape.iter().map(|number| number.fixed()).collect();
        if let Some(fixed) = fixed {
            return self.ints(&fixed);
        }
        let parts: Vec<String> = shape.iter().map(|number| self.number(*number)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.node("Concat", &parts, vec![Attribute::int("axis", 0)])
    }

    pub fn cast(&mut self, name: &str, to: i32) -> String {
        self.node("Cast", &[name], vec![Attribute::int("to", i64::from(to))])
    }

    /// `name` in another shape.
    pub fn reshape(&mut self, name: &str, shape: &[Number]) -> String {
        let symbolic = shape.iter().filter(|number| number.fixed().is_none()).count();
        let fixed = |number: &Number| number.fixed();
        let target = if symbolic == 1 && shape.iter().all(|number| fixed(number) != Some(0)) {
            let sizes: Vec<i64> = shape.iter().map(|number| fixed(number).unwrap_or(-1)).collect();
            self.ints(&sizes)
        } else {
            self.shape(shape)
        };
        self.node("Reshape", &[name, &target], vec![Attribute::int("allowzero", 1)])
    }

    /// The value of an operand; `results` are those of the operations.
    pub fn operand(
        &mut self,
        operand: &Operand,
        results: &[Vec<Value>],
    ) -> Result<Value, ExportError> {
        let known = |tensor: &Tensor| {
            tensor.dims().iter().map(|size| Number::constant(*size as i64)).collect::<Vec<_>>()
        };
        let unreadable = |error: candle_core::Error| ExportError::Model(error.to_string());
        match operand {
            Operand::Input => Ok(self.input.clone()),
            Operand::Result { operation, output } => Ok(results[*operation][*output].clone()),
            Operand::Parameter { path, value } => {
                if let Some(known) = self.parameters.get(path) {
                    return Ok(known.clone());
                }
                let parameter =
                    Value { name: path.clone(), dtype: value.dtype(), shape: known(value) };
                self.initializers.push(TensorProto {
                    dims: value.dims().iter().map(|size| *size as i64).collect(),
                    data_type: onnx_type(value.dtype()),
                    name: path.clone(),
                    raw_data: bytes(value).map_err(unreadable)?,
                });
                self.parameters.insert(path.clone(), parameter.clone());
                Ok(parameter)
            }
            Operand::Constant { number, value, rows } => {
                if let Some(known) = self.given.get(number) {
                    return Ok(known.clone());
                }
                let dims = value.dims().iter().map(|size| *size as i64).collect();
                let raw = bytes(value).map_err(unreadable)?;
                let mut name = self.constant(raw, dims, onnx_type(value.dtype()));
                let mut shape = known(value);
                if let Some(rows) = rows {
                    shape[0] = *rows;
                    let (start, end, axes) =
                        (self.ints(&[0]), self.shape(&[*rows]), self.ints(&[0]));
                    name = self.node("Slice", &[&name, &start, &end, &axes], Vec::new());
                }
                let given = Value { name, dtype: value.dtype(), shape };
                self.given.insert(*number, given.clone());
                Ok(given)
            }
        }
    }

    /// Notes the outputs of the model.
    pub fn output(&mut self, name: &str, value: &Value) {
        self.named(name, &value.name);
    }

    /// Gives a tensor a name of its own.
    pub fn named(&mut self, name: &str, value: &str) {
        self.nodes.push(NodeProto {
            input: vec![value.to_owned()],
            output: vec![name.to_owned()],
            name: format!("output/{name}"),
            op_type: "Identity".to_owned(),
            attribute: Vec::new(),
        });
    }

    pub fn finish(
        self,
        form: &InputForm,
        compared: &Compared,
        description: &Description,
    ) -> Result<ModelProto, ExportError> {
        let info = |name: &str, dtype: DType, shape: &[Number]| ValueInfo {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                tensor_type: Some(TensorType {
                    elem_type: onnx_type(dtype),
                    shape: Some(TensorShape { dim: shape.iter().map(dimension).collect() }),
                }),
            }),
        };
        let outputs = compared.outputs.iter().enumerate();
        let output = outputs
            .map(|(index, (_, result))| info(&output_name(index), result.dtype, &result.shape))
            .collect();
        if self.parameters.contains_key(&form.name) {
            return Err(ExportError::Model(format!(
                "the model has a parameter `{0}` and an input `{0}`, which ONNX cannot tell apart",
                form.name
            )));
        }
        for raw in &self.raw {
            let name = &raw.name;
            let is_taken = self.parameters.contains_key(name)
                || self.nodes.iter().any(|node| node.output.contains(name))
                || self.initializers.iter().any(|one| one.name == *name);
            if is_taken {
                return Err(ExportError::Model(format!(
                    "the raw input `{name}` has the name of another tensor of the graph: rename that column"
                )));
            }
        }
        let mut metadata = vec![StringPair { key: "run".into(), value: description.name.clone() }];
        if !description.classes.is_empty() {
            let value = serde_json::Value::from(description.classes.clone()).to_string();
            metadata.push(StringPair { key: "classes".into(), value });
        }
        metadata.extend(description.preprocessing.as_ref().and_then(Preprocessing::metadata));
        let own = vec![info(&self.input.name, self.input.dtype, &self.input.shape)];
        Ok(ModelProto {
            ir_version: IR_VERSION,
            producer_name: "fluxbay".to_owned(),
            producer_version: description.version.clone(),
            graph: Some(GraphProto {
                node: self.nodes,
                name: if description.name.is_empty() { "model" } else { &*description.name }
                    .to_owned(),
                initializer: self.initializers,
                input: if self.raw.is_empty() { own } else { self.raw },
                output,
            }),
            opset_import: vec![OperatorSetId { domain: String::new(), version: OPSET }],
            metadata_props: metadata,
        })
    }
}

/// A size for the description of a tensor.
fn dimension(number: &Number) -> Dimension {
    match (number.fixed(), number.batch, number.length) {
        (Some(value), ..) => Dimension { dim_value: Some(value), dim_param: None },
        (None, 1, 0) if number.constant == 0 && number.both == 0 => {
            Dimension { dim_value: None, dim_param: Some(BATCH.to_owned()) }
        }
        (None, 0, 1) if number.constant == 0 && number.both == 0 => {
            Dimension { dim_value: None, dim_param: Some(LENGTH.to_owned()) }
        }
        // Another formula: the size is known when the model runs.
        _ => Dimension::default(),
    }
}

/// Name of an output of the model.
pub fn output_name(index: usize) -> String {
    if index == 0 { "yhats".to_owned() } else { format!("yhats-{index}") }
}
