//! Recurrent layers: LSTM and GRU, composed of matrix products and elementwise operations per step.

use super::{Init, Params};
use crate::{Error, Result, Tensor, abi::operation::op};

macro_rules! recurrent {
    ($(#[$doc:meta])* $layer:ident, $make:ident, $gates:literal, $(#[$make_doc:meta])*) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $layer {
            input: Tensor,
            hidden: Tensor,
            input_bias: Tensor,
            hidden_bias: Tensor,
            width: usize,
            reverse: bool,
        }

        $(#[$make_doc])*
        ///
        /// Parameters as PyTorch's first layer: `weight_ih_l0` `[gates width, inputs]`, `weight_hh_l0`
        /// `[gates width, width]`, `bias_ih_l0` and `bias_hh_l0` `[gates width]`, uniform within
        /// `1 / sqrt(width)` at first; with `_reverse` behind the names if `reverse`, which reads the
        /// sequence from its end.
        ///
        /// # Errors
        /// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
        pub fn $make(inputs: usize, width: usize, reverse: bool, params: Params) -> Result<$layer> {
            let first = Init::symmetric(1.0 / (width.max(1) as f64).sqrt());
            let suffix = if reverse { "_reverse" } else { "" };
            let name = |name: &str| format!("{name}_l0{suffix}");
            let rows = $gates * width;
            Ok($layer {
                input: params.get((rows, inputs), &name("weight_ih"), first)?,
                hidden: params.get((rows, width), &name("weight_hh"), first)?,
                input_bias: params.get(rows, &name("bias_ih"), first)?,
                hidden_bias: params.get(rows, &name("bias_hh"), first)?,
                width,
                reverse,
            })
        }

        impl $layer {
            /// The inputs of all gates at each step `[batch, time, gates width]`, and the number of
            /// sequences and steps.
            fn gates(&self, xs: &Tensor) -> Result<(Tensor, usize, usize)> {
                let &[batch, time, _] = &xs.dims()?[..] else {
                    return Err(Error::new(format!("{:?} is not [batch, time, inputs]", xs.dims()?)));
                };
                Ok((affine(xs, &self.input, &self.input_bias)?, batch, time))
            }

            /// The steps in the order in which they are read.
            fn order(&self, time: usize) -> Vec<usize> {
                if self.reverse { (0..time).rev().collect() } else { (0..time).collect() }
            }
        }
    };
}

recurrent! {
    /// Long short-term memory over `[batch, time, inputs]` (Hochreiter and Schmidhuber 1997).
    Lstm, lstm, 4,
    /// Long short-term memory of `width` cells.
}

recurrent! {
    /// Gated recurrent unit over `[batch, time, inputs]` (Cho et al. 2014, arXiv:1406.1078).
    Gru, gru, 3,
    /// A gated recurrent unit of `width` cells.
}

fn affine(xs: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Tensor::apply(op::LINEAR, &[xs, weight, bias], &[0], &[])
}

/// The states of all steps in the order of the sequence, `[batch, time, width]`.
fn joined(mut states: Vec<(usize, Tensor)>) -> Result<Tensor> {
    states.sort_by_key(|(at, _)| *at);
    let states: Vec<&Tensor> = states.iter().map(|(_, state)| state).collect();
    Tensor::stack(&states, 1)
}

impl Lstm {
    /// The hidden states `[batch, time, width]`, and the hidden and cell state after the last step
    /// read, `[batch, width]` each. `state` is the one before the first step; zeros by default.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn forward(
        &self,
        xs: &Tensor,
        state: Option<(Tensor, Tensor)>,
    ) -> Result<(Tensor, (Tensor, Tensor))> {
        let (gates, batch, time) = self.gates(xs)?;
        let zeros = || Tensor::zeros((batch, self.width), xs.dtype()?);
        let (mut hidden, mut cell) = match state {
            Some(state) => state,
            None => (zeros()?, zeros()?),
        };
        let mut states = Vec::with_capacity(time);
        for at in self.order(time) {
            let step = gates.narrow(1, at, 1)?.squeeze(1)?;
            let all = step.add(&affine(&hidden, &self.hidden, &self.hidden_bias)?)?;
            let gate = |index: usize| all.narrow(1, index * self.width, self.width);
            let (input, forget) = (gate(0)?.sigmoid()?, gate(1)?.sigmoid()?);
            let (new, output) = (gate(2)?.tanh()?, gate(3)?.sigmoid()?);
            cell = forget.mul(&cell)?.add(&input.mul(&new)?)?;
            hidden = output.mul(&cell.tanh()?)?;
            states.push((at, hidden.clone()));
        }
        Ok((joined(states)?, (hidden, cell)))
    }
}

impl Gru {
    /// The hidden states `[batch, time, width]`, and the one after the last step read, `[batch,
    /// width]`. `state` is the one before the first step; zeros by default.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn forward(&self, xs: &Tensor, state: Option<Tensor>) -> Result<(Tensor, Tensor)> {
        let (gates, batch, time) = self.gates(xs)?;
        let mut hidden = match state {
            Some(state) => state,
            None => Tensor::zeros((batch, self.width), xs.dtype()?)?,
        };
        let mut states = Vec::with_capacity(time);
        for at in self.order(time) {
            let step = gates.narrow(1, at, 1)?.squeeze(1)?;
            let inner = affine(&hidden, &self.hidden, &self.hidden_bias)?;
            let part = |of: &Tensor, index: usize| of.narrow(1, index * self.width, self.width);
            let reset = part(&step, 0)?.add(&part(&inner, 0)?)?.sigmoid()?;
            let keep = part(&step, 1)?.add(&part(&inner, 1)?)?.sigmoid()?;
            let new = part(&step, 2)?.add(&reset.mul(&part(&inner, 2)?)?)?.tanh()?;
            hidden = new.add(&keep.mul(&hidden.sub(&new)?)?)?;
            states.push((at, hidden.clone()));
        }
        Ok((joined(states)?, hidden))
    }
}
