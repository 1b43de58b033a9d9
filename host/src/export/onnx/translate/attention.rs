//! Attention and rotary positions.

use fluxbay_plugin::abi::operation::op;

use super::{Call, one};
use crate::export::onnx::ExportError;
use crate::export::onnx::graph::{Graph, Value};
use crate::export::onnx::messages::{Attribute, BOOL};
use crate::export::onnx::symbolic::Number;

pub(super) fn attention(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    match call.operation.info.code {
        op::ATTENTION => packed(graph, call),
        op::SCALED_ATTENTION => scaled(graph, call),
        _ => rotary(graph, call),
    }
}

/// `softmax(q k^T / sqrt(c / heads)) v` per head, of packed `[b, t, 3 c]`.
fn packed(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let value = call.input(0)?;
    let (heads, causal) = (call.int(0, 1)?, call.int(1, 0)?);
    let (batch, time) = (value.shape[0], value.shape[1]);
    let width = call.fixed(value.shape.get(2), "its width")? / 3;
    let size = width / heads;
    let fixed = Number::constant;
    let split = graph.reshape(&value.name, &[batch, time, fixed(3), fixed(heads), fixed(size)]);
    let ordered =
        graph.node("Transpose", &[&split], vec![Attribute::ints("perm", vec![2, 0, 3, 1, 4])]);
    let part = |graph: &mut Graph, index: i64| {
        let index = graph.int(index);
        graph.node("Gather", &[&ordered, &index], vec![Attribute::int("axis", 0)])
    };
    let (queries, keys, values) = (part(graph, 0), part(graph, 1), part(graph, 2));
    let turned = graph.node("Transpose", &[&keys], vec![Attribute::ints("perm", vec![0, 1, 3, 2])]);
    let products = graph.node("MatMul", &[&queries, &turned], Vec::new());
    let scale = graph.scalar(1.0 / (size as f64).sqrt(), value.dtype);
    let mut scores = graph.node("Mul", &[&products, &scale], Vec::new());
    if causal != 0 {
        let row = places(graph, Number::constant(0), time);
        let column = upright(graph, &row);
        let seen = graph.node("LessOrEqual", &[&row, &column], Vec::new());
        let never = graph.scalar(f64::NEG_INFINITY, value.dtype);
        scores = graph.node("Where", &[&seen, &scores, &never], Vec::new());
    }
    let weights = graph.node("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
    let mixed = graph.node("MatMul", &[&weights, &values], Vec::new());
    let ordered =
        graph.node("Transpose", &[&mixed], vec![Attribute::ints("perm", vec![0, 2, 1, 3])]);
    one(graph.reshape(&ordered, &[batch, time, fixed(width)]))
}

/// The whole numbers from `start` to before `end`.
fn places(graph: &mut Graph, start: Number, end: Number) -> String {
    let bound = |graph: &mut Graph, number: Number| match number.fixed() {
        Some(value) => graph.int(value),
        None => {
            let number = graph.number(number);
            let empty = graph.ints(&[]);
            graph.node("Reshape", &[&number, &empty], Vec::new())
        }
    };
    let (start, end) = (bound(graph, start), bound(graph, end));
    let step = graph.int(1);
    graph.node("Range", &[&start, &end, &step], Vec::new())
}

/// A row as a column.
fn upright(graph: &mut Graph, row: &str) -> String {
    let axes = graph.ints(&[1]);
    graph.node("Unsqueeze", &[row, &axes], Vec::new())
}

/// `softmax(scale q k^T + bias) v` over the keys that each query sees; 0 where there are none.
fn scaled(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let (q, k, v) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let (causal, window) = (call.int(0, 0)?, call.int(1, 0)?);
    let (queries, keys) = (q.shape[2], k.shape[2]);
    let width = call.fixed(q.shape.get(3), "its width")?;
    let heads = call.fixed(q.shape.get(1), "its number of heads")?;
    let groups = call.fixed(k.shape.get(1), "its number of heads of keys")?;
    // Every group is read by the same number of heads.
    let repeated = |graph: &mut Graph, value: &Value| {
        if groups == heads {
            return value.name.clone();
        }
        let axes = graph.ints(&[2]);
        let apart = graph.node("Unsqueeze", &[&value.name, &axes], Vec::new());
        let counts = graph.ints(&[1, 1, heads / groups, 1, 1]);
        let tiled = graph.node("Tile", &[&apart, &counts], Vec::new());
        let mut shape = value.shape.clone();
        shape[1] = Number::constant(heads);
        graph.reshape(&tiled, &shape)
    };
    let (k, v) = (repeated(graph, k), repeated(graph, v));
    let turned = graph.node("Transpose", &[&k], vec![Attribute::ints("perm", vec![0, 1, 3, 2])]);
    let products = graph.node("MatMul", &[&q.name, &turned], Vec::new());
    let scale = match call.float(0, 0.0)? {
        0.0 => 1.0 / (width as f64).sqrt(),
        scale => scale,
    };
    let scale = graph.scalar(scale, q.dtype);
    let mut scores = graph.node("Mul", &[&products, &scale], Vec::new());

    let mut optional = call.inputs[3..].iter().peekable();
    if let Some(bias) = optional.next_if(|value| value.dtype.is_float()) {
        scores = graph.node("Add", &[&scores, &bias.name], Vec::new());
    }
    let lengths = optional.next();

    // Which keys `[.., n, m]` a query sees.
    let mut seen: Option<String> = None;
    let mut and = |graph: &mut Graph, condition: String| {
        seen = Some(match seen.take() {
            None => condition,
            Some(before) => graph.node("And", &[&before, &condition], Vec::new()),
        });
    };
    let row = places(graph, Number::constant(0), keys);
    if causal != 0 || window > 0 {
        let first = Number {
            constant: keys.constant - queries.constant,
            batch: keys.batch - queries.batch,
            length: keys.length - queries.length,
            both: keys.both - queries.both,
        };
        let own = places(graph, first, keys);
        let column = upright(graph, &own);
        if causal != 0 {
            let condition = graph.node("LessOrEqual", &[&row, &column], Vec::new());
            and(graph, condition);
        }
        if window > 0 {
            let apart = graph.node("Sub", &[&row, &column], Vec::new());
            let apart = graph.node("Abs", &[&apart], Vec::new());
            let window = graph.int(window);
            let condition = graph.node("Less", &[&apart, &window], Vec::new());
            and(graph, condition);
        }
    }
    if let Some(lengths) = lengths {
        let axes = graph.ints(&[1, 2, 3]);
        let lengths = graph.node("Unsqueeze", &[&lengths.name, &axes], Vec::new());
        let condition = graph.node("Less", &[&row, &lengths], Vec::new());
        and(graph, condition);
    }
    let softmax = |graph: &mut Graph, scores: &str| {
        graph.node("Softmax", &[scores], vec![Attribute::int("axis", -1)])
    };
    let weights = match seen {
        None => softmax(graph, &scores),
        Some(seen) => {
            let seen = graph.cast(&seen, BOOL);
            let never = graph.scalar(f64::NEG_INFINITY, q.dtype);
            let masked = graph.node("Where", &[&seen, &scores, &never], Vec::new());
            let weights = softmax(graph, &masked);
            // A query that sees no key has no number there.
            let zero = graph.scalar(0.0, q.dtype);
            graph.node("Where", &[&seen, &weights, &zero], Vec::new())
        }
    };
    one(graph.node("MatMul", &[&weights, &v], Vec::new()))
}

/// Pairs of channels turned by the angles of their position.
fn rotary(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let x = call.input(0)?;
    let interleaved = call.int(0, 0)? != 0;
    let width = call.fixed(x.shape.last(), "its width")?;
    let rank = x.rank();
    // A table of each sequence, `[b, t, d / 2]`, has no dimensions between the first and the last two.
    let table = |graph: &mut Graph, index: usize| -> Result<String, ExportError> {
        let value = call.input(index)?;
        let between: Vec<i64> = (1..rank as i64 - 2).collect();
        if value.rank() < 3 || between.is_empty() {
            return Ok(value.name.clone());
        }
        let axes = graph.ints(&between);
        Ok(graph.node("Unsqueeze", &[&value.name, &axes], Vec::new()))
    };
    let (cosines, sines) = (table(graph, 1)?, table(graph, 2)?);
    let half = width / 2;
    let (first, second) = match interleaved {
        true => ((0, width, 2), (1, width, 2)),
        false => ((0, half, 1), (half, width, 1)),
    };
    let part = |graph: &mut Graph, (start, end, step): (i64, i64, i64)| {
        let (start, end) = (graph.ints(&[start]), graph.ints(&[end]));
        let (axes, steps) = (graph.ints(&[rank as i64 - 1]), graph.ints(&[step]));
        graph.node("Slice", &[&x.name, &start, &end, &axes, &steps], Vec::new())
    };
    let (a, b) = (part(graph, first), part(graph, second));
    let times = |graph: &mut Graph, a: &str, b: &str| graph.node("Mul", &[a, b], Vec::new());
    let (along, across) = (times(graph, &a, &cosines), times(graph, &b, &sines));
    let left = graph.node("Sub", &[&along, &across], Vec::new());
    let (along, across) = (times(graph, &b, &cosines), times(graph, &a, &sines));
    let right = graph.node("Add", &[&along, &across], Vec::new());
    if !interleaved {
        let attributes = vec![Attribute::int("axis", -1)];
        return one(graph.node("Concat", &[&left, &right], attributes));
    }
    let axes = graph.ints(&[rank as i64]);
    let pairs = [left, right].map(|part| graph.node("Unsqueeze", &[&part, &axes], Vec::new()));
    let attributes = vec![Attribute::int("axis", -1)];
    let pairs = graph.node("Concat", &[&pairs[0], &pairs[1]], attributes);
    one(graph.reshape(&pairs, &x.shape))
}
