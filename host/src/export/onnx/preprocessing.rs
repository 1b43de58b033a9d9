//! Preprocessing as part of the graph: what the data set and the transforms of evaluation do with raw values, in double
//! precision, in front of the model.

use candle_core::DType;
use fluxbay_plugin::steps::{RawInput, ValueStep, Weighted};

use super::graph::Graph;
use super::messages::{
    Attribute, DOUBLE, Dimension, FLOAT, INT64, StringPair, TensorShape, TensorType, TypeProto,
    UINT8, ValueInfo,
};
use super::traces::InputForm;
use super::{ExportError, onnx_type};

/// From raw values to the input of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// The raw inputs, each with its steps; the results are put together along the last axis.
    pub inputs: Vec<RawInput>,
    /// The steps of the transforms.
    pub steps: Vec<ValueStep>,
}

/// A tensor while it is preprocessed: its name, and the shape of a sample.
struct Flow {
    name: String,
    shape: Vec<usize>,
}

fn wrong(text: impl Into<String>) -> ExportError {
    ExportError::Model(format!("the preprocessing cannot be part of the graph: {}", text.into()))
}

fn ints(values: impl IntoIterator<Item = usize>) -> Vec<i64> {
    values.into_iter().map(|value| value as i64).collect()
}

impl Preprocessing {
    /// Adds the nodes that compute the model's input, under its name; returns the inputs of the graph.
    pub(super) fn add(
        &self,
        graph: &mut Graph,
        form: &InputForm,
        batch: &Dimension,
    ) -> Result<Vec<ValueInfo>, ExportError> {
        let mut infos = Vec::new();
        let mut flows = Vec::new();
        for input in &self.inputs {
            let kind = match input.dtype.as_str() {
                "u8" => UINT8,
                "i64" => INT64,
                "f32" => FLOAT,
                "f64" => DOUBLE,
                other => return Err(wrong(format!("`{}` has element type {other}", input.name))),
            };
            if input.name == form.name {
                return Err(wrong(format!(
                    "a raw input is called `{}`, as the model's",
                    form.name
                )));
            }
            let sizes = input
                .shape
                .iter()
                .map(|size| Dimension { dim_value: Some(*size as i64), dim_param: None });
            infos.push(ValueInfo {
                name: input.name.clone(),
                r#type: Some(TypeProto {
                    tensor_type: Some(TensorType {
                        elem_type: kind,
                        shape: Some(TensorShape {
                            dim: [batch.clone()].into_iter().chain(sizes).collect(),
                        }),
                    }),
                }),
            });
            let mut flow =
                Flow { name: graph.cast(&input.name, DOUBLE), shape: input.shape.clone() };
            for step in &input.steps {
                flow = flow.after(graph, step)?;
            }
            flows.push(flow);
        }
        let mut flow = together(graph, flows)?;
        for step in &self.steps {
            flow = flow.after(graph, step)?;
        }
        if flow.shape != form.shape {
            return Err(wrong(format!(
                "its result has shape {:?}, the model takes {:?}",
                flow.shape, form.shape
            )));
        }
        let name = graph.cast(&flow.name, onnx_type(form.dtype));
        graph.named(&form.name, &name);
        Ok(infos)
    }

    /// The words that whole numbers stand for, for the metadata of the file.
    pub(super) fn metadata(&self) -> Option<StringPair> {
        let words = self.inputs.iter().filter(|input| !input.categories.is_empty());
        let words: serde_json::Map<String, serde_json::Value> =
            words.map(|input| (input.name.clone(), input.categories.clone().into())).collect();
        let value = serde_json::Value::from(words);
        (value != serde_json::json!({}))
            .then(|| StringPair { key: "categories".to_owned(), value: value.to_string() })
    }
}

/// The results of several inputs along the last axis.
fn together(graph: &mut Graph, mut flows: Vec<Flow>) -> Result<Flow, ExportError> {
    if flows.len() == 1 {
        return flows.pop().ok_or_else(|| wrong("there is no raw input"));
    }
    let Some(first) = flows.first() else { return Err(wrong("there is no raw input")) };
    let mut shape = first.shape.clone();
    let Some(last) = shape.len().checked_sub(1) else {
        return Err(wrong("an input is a single number"));
    };
    if flows.iter().any(|flow| flow.shape.len() != last + 1 || flow.shape[..last] != shape[..last])
    {
        return Err(wrong("the inputs have shapes that cannot be put together"));
    }
    shape[last] = flows.iter().map(|flow| flow.shape[last]).sum();
    let names: Vec<&str> = flows.iter().map(|flow| flow.name.as_str()).collect();
    let name = graph.node("Concat", &names, vec![Attribute::int("axis", -1)]);
    Ok(Flow { name, shape })
}

impl Flow {
    fn with(self, name: String) -> Flow {
        Flow { name, ..self }
    }

    /// The size along an axis.
    fn size(&self, axis: usize) -> Result<usize, ExportError> {
        let size = self.shape.get(axis).copied();
        size.ok_or_else(|| wrong(format!("shape {:?} has no axis {axis}", self.shape)))
    }

    fn after(self, graph: &mut Graph, step: &ValueStep) -> Result<Flow, ExportError> {
        match step {
            ValueStep::Transpose(axes) => self.transposed(graph, axes),
            ValueStep::Reshape(shape) => {
                if shape.iter().product::<usize>() != self.shape.iter().product::<usize>() {
                    return Err(wrong(format!("{:?} does not become {shape:?}", self.shape)));
                }
                // 0 keeps the number of samples.
                let target = graph.ints(&ints([0].into_iter().chain(shape.iter().copied())));
                let name = graph.node("Reshape", &[&self.name, &target], Vec::new());
                Ok(Flow { name, shape: shape.clone() })
            }
            ValueStep::Cut { axis, start, size } => {
                let whole = self.size(*axis)?;
                if start + size > whole {
                    return Err(wrong(format!("{size} places from {start} on, of {whole}")));
                }
                let [start, end, axes] =
                    [*start, start + size, axis + 1].map(|value| graph.ints(&ints([value])));
                let name = graph.node("Slice", &[&self.name, &start, &end, &axes], Vec::new());
                Ok(self.resized(name, *axis, *size))
            }
            ValueStep::Pad { axis, before, after } => {
                let whole = self.size(*axis)?;
                let rank = self.shape.len() + 1;
                let mut pads = vec![0; 2 * rank];
                (pads[axis + 1], pads[rank + axis + 1]) = (*before as i64, *after as i64);
                let pads = graph.ints(&pads);
                let name = graph.node("Pad", &[&self.name, &pads], Vec::new());
                Ok(self.resized(name, *axis, before + whole + after))
            }
            ValueStep::Mix { axis, weights, bits } => self.mixed(graph, *axis, weights, *bits),
            ValueStep::Affine { axis, offset, divisor } => {
                self.affine(graph, *axis, offset, divisor)
            }
            ValueStep::Clip { least, most } => {
                let mut name = self.name.clone();
                for (operator, limit) in [("Max", least), ("Min", most)] {
                    if let Some(limit) = limit {
                        let limit = graph.scalar(*limit, DType::F64);
                        name = graph.node(operator, &[&name, &limit], Vec::new());
                    }
                }
                Ok(self.with(name))
            }
            ValueStep::Impute { values, indicators } => self.imputed(graph, values, *indicators),
            ValueStep::OneHot { classes } => {
                let all: Vec<f64> = (0..*classes).map(|class| class as f64).collect();
                let all = graph.filled(&all, &[*classes as i64], DType::F64);
                let last = graph.ints(&[-1]);
                let column = graph.node("Unsqueeze", &[&self.name, &last], Vec::new());
                let equal = graph.node("Equal", &[&column, &all], Vec::new());
                let mut shape = self.shape;
                shape.push(*classes);
                Ok(Flow { name: graph.cast(&equal, DOUBLE), shape })
            }
        }
    }

    fn resized(mut self, name: String, axis: usize, size: usize) -> Flow {
        self.shape[axis] = size;
        Flow { name, ..self }
    }

    fn transposed(self, graph: &mut Graph, axes: &[usize]) -> Result<Flow, ExportError> {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if sorted.iter().copied().ne(0..self.shape.len()) {
            return Err(wrong(format!("{axes:?} does not permute shape {:?}", self.shape)));
        }
        let permutation = ints([0].into_iter().chain(axes.iter().map(|axis| axis + 1)));
        let attribute = vec![Attribute::ints("perm", permutation)];
        let name = graph.node("Transpose", &[&self.name], attribute);
        Ok(Flow { name, shape: axes.iter().map(|axis| self.shape[*axis]).collect() })
    }

    /// Weighted sums along an axis, as a product with a matrix.
    fn mixed(
        self,
        graph: &mut Graph,
        axis: usize,
        weights: &[Weighted],
        bits: u32,
    ) -> Result<Flow, ExportError> {
        let from = self.size(axis)?;
        if weights.iter().any(|place| place.first + place.weights.len() > from) {
            return Err(wrong(format!("weights lie beyond the {from} places of axis {axis}")));
        }
        let last = self.shape.len() - 1;
        // The axis becomes the last one.
        let mut order: Vec<usize> = (0..=last).collect();
        order.swap(axis, last);
        let flow = if axis == last { self } else { self.transposed(graph, &order)? };
        let to = weights.len();
        let mut matrix = vec![0.0; from * to];
        for (column, place) in weights.iter().enumerate() {
            for (row, weight) in place.weights.iter().enumerate() {
                matrix[(place.first + row) * to + column] = *weight;
            }
        }
        let matrix = graph.filled(&matrix, &[from as i64, to as i64], DType::F64);
        let mut name = graph.node("MatMul", &[&flow.name, &matrix], Vec::new());
        if bits > 0 {
            let half = graph.scalar(2f64.powi(bits as i32 - 1), DType::F64);
            let unit = graph.scalar(2f64.powi(-(bits as i32)), DType::F64);
            name = graph.node("Add", &[&name, &half], Vec::new());
            name = graph.node("Mul", &[&name, &unit], Vec::new());
            name = graph.node("Floor", &[&name], Vec::new());
            let [least, most] = [0.0, 255.0].map(|limit| graph.scalar(limit, DType::F64));
            name = graph.node("Max", &[&name, &least], Vec::new());
            name = graph.node("Min", &[&name, &most], Vec::new());
        }
        let flow = flow.resized(name, last, to);
        if axis == last { Ok(flow) } else { flow.transposed(graph, &order) }
    }

    fn affine(
        self,
        graph: &mut Graph,
        axis: usize,
        offset: &[f64],
        divisor: &[f64],
    ) -> Result<Flow, ExportError> {
        let mut name = self.name.clone();
        for (operator, numbers, neutral) in [("Sub", offset, 0.0), ("Div", divisor, 1.0)] {
            if numbers.iter().all(|number| *number == neutral) {
                continue;
            }
            let constant = match numbers {
                [one] => graph.scalar(*one, DType::F64),
                several => {
                    if self.size(axis)? != several.len() {
                        return Err(wrong(format!(
                            "there are {} numbers for axis {axis} of shape {:?}",
                            several.len(),
                            self.shape
                        )));
                    }
                    let mut dims = vec![1; self.shape.len() - axis];
                    dims[0] = several.len() as i64;
                    graph.filled(several, &dims, DType::F64)
                }
            };
            name = graph.node(operator, &[&name, &constant], Vec::new());
        }
        Ok(self.with(name))
    }

    fn imputed(
        self,
        graph: &mut Graph,
        values: &[f64],
        indicators: bool,
    ) -> Result<Flow, ExportError> {
        let Some(last) = self.shape.len().checked_sub(1) else {
            return Err(wrong("a single number cannot be imputed"));
        };
        if ![1, self.shape[last]].contains(&values.len()) {
            return Err(wrong(format!("{} values for shape {:?}", values.len(), self.shape)));
        }
        let missing = graph.node("IsNaN", &[&self.name], Vec::new());
        let values = graph.filled(values, &[values.len() as i64], DType::F64);
        let name = graph.node("Where", &[&missing, &values, &self.name], Vec::new());
        if !indicators {
            return Ok(self.with(name));
        }
        let missing = graph.cast(&missing, DOUBLE);
        let name = graph.node("Concat", &[&name, &missing], vec![Attribute::int("axis", -1)]);
        let size = 2 * self.shape[last];
        Ok(self.resized(name, last, size))
    }
}
