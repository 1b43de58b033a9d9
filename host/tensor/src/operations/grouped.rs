//! Linear maps whose matrix depends on the row: the experts of a mixture.

use candle_core::{Device, Shape, Tensor};
use smallvec::SmallVec;

use super::{Call, Produced};
use crate::context::Context;
use crate::error::Result;
use crate::value::Value;

/// Rows in the order of their groups.
struct Order {
    /// The row at each place.
    rows: Value,
    /// The place of each row.
    places: Value,
    /// Number of rows of each group.
    sizes: Vec<usize>,
}

impl Order {
    fn new(context: &Context, groups: &[u32], count: usize) -> Result<Order> {
        let mut sizes = vec![0; count];
        for &group in groups {
            sizes[group as usize] += 1;
        }
        let mut next = vec![0; count];
        for group in 1..count {
            next[group] = next[group - 1] + sizes[group - 1];
        }
        let (mut rows, mut places) = (vec![0_u32; groups.len()], vec![0_u32; groups.len()]);
        for (row, &group) in groups.iter().enumerate() {
            let place = &mut next[group as usize];
            (rows[*place], places[row]) = (row as u32, *place as u32);
            *place += 1;
        }
        let upload = |list: Vec<u32>| -> Result<Value> {
            let count = list.len();
            context.backend.upload(Tensor::from_vec(list, count, &Device::Cpu)?)
        };
        Ok(Order { rows: upload(rows)?, places: upload(places)?, sizes })
    }

    /// The groups that have rows: number, first place, number of rows.
    fn parts(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let mut first = 0;
        let starts = self.sizes.iter().enumerate().map(move |(group, &size)| {
            first += size;
            (group, first - size, size)
        });
        starts.filter(|&(.., size)| size > 0)
    }
}

/// The rows `[n, width]` at `places`.
fn picked(context: &Context, rows: &Value, places: &Value) -> Result<Value> {
    context.backend.index_select(rows, 0, places, rows.shape())
}

/// Parts behind one another: `[rows, width]`.
fn joined(context: &Context, parts: &[Value], like: &Value, width: usize) -> Result<Value> {
    if parts.is_empty() {
        return context.backend.fill(like.dtype(), &Shape::from((0, width)), 0.0);
    }
    context.backend.concatenate(&parts.iter().collect::<Vec<_>>(), 0)
}

pub(super) fn grouped_linear(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=usize::MAX, 0..=0, 0..=0)?;
    let dtype = call.real((0..call.inputs.len()).filter(|&input| input != 1))?;
    let (&[rows, inputs], &[given], &[outputs, _]) = (call.shape(0), call.shape(1), call.shape(2))
    else {
        return Err(call.error(format!(
            "takes x [n, in], groups [n] and w [out, in] of each group, got shapes {}",
            call.shapes()
        )));
    };
    let count = call.inputs.len() - 2;
    if let Some(wrong) = (2..count + 2).find(|&input| call.shape(input) != [outputs, inputs]) {
        return Err(call.error(format!(
            "input {wrong} has shape {:?} instead of {:?}",
            call.shape(wrong),
            [outputs, inputs]
        )));
    }
    if given != rows {
        return Err(call.error(format!("{given} groups do not fit {rows} rows")));
    }
    context.admit(dtype, &[rows, outputs])?;
    let backend = &context.backend;
    let index = backend.indices(call.inputs[1], 1, count)?;
    let order = Order::new(context, &backend.download(&index)?.to_vec1::<u32>()?, count)?;
    let x = picked(context, &backend.contiguous(call.inputs[0])?, &order.rows)?;
    let weights: SmallVec<[Value; 8]> = call.inputs[2..].iter().map(|w| (*w).clone()).collect();
    let product = |(group, first, size): (usize, usize, usize)| {
        let w = weights[group].transpose(0, 1)?;
        context.backend.matmul(&x.narrow(0, first, size)?, &w, &[])
    };
    let parts = order.parts().map(product).collect::<Result<Vec<_>>>()?;
    let out = picked(context, &joined(context, &parts, &x, outputs)?, &order.places)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let gradient = picked(context, &gradient, &order.rows)?;
        let mut results: SmallVec<[Option<Value>; 4]> = SmallVec::from_elem(None, count + 2);
        if gradients.wants(0) {
            let product = |(group, first, size): (usize, usize, usize)| {
                context.backend.matmul(&gradient.narrow(0, first, size)?, &weights[group], &[])
            };
            let parts = order.parts().map(product).collect::<Result<Vec<_>>>()?;
            let full = joined(context, &parts, &x, inputs)?;
            results[0] = Some(picked(context, &full, &order.places)?);
        }
        for (group, first, size) in order.parts().filter(|&(group, ..)| gradients.wants(group + 2))
        {
            let g = gradient.narrow(0, first, size)?.transpose(0, 1)?;
            results[group + 2] = Some(backend.matmul(&g, &x.narrow(0, first, size)?, &[])?);
        }
        for group in 0..count {
            if gradients.wants(group + 2) && order.sizes[group] == 0 {
                results[group + 2] = Some(backend.fill(dtype, weights[group].shape(), 0.0)?);
            }
        }
        Ok(results)
    }))
}
