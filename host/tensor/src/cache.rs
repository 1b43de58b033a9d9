//! Keys and values of attention that are kept while a text is generated.
//!
//! Each place where a model applies attention has a site, found by the order of the calls within a
//! forward pass. Elements are `[time, batch, groups, width]`, so that new tokens are written behind the
//! earlier ones without moving those.

use candle_core::Shape;

use super::backend::Backend;
use super::error::{Result, TensorError};
use super::value::Value;

/// Tokens that a site has room for at first.
const ROOM: usize = 64;

/// Keys and values of all sites.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    sites: Vec<Site>,
    /// The site of the next call within the pass.
    next: usize,
    /// Tokens of the passes before, and of this one.
    tokens: [usize; 2],
}

/// Keys and values of one place in the model, with room for more.
#[derive(Debug)]
struct Site {
    parts: [Value; 2],
}

impl Cache {
    /// Begins a forward pass of `count` new tokens.
    pub(crate) fn begin_pass(&mut self, count: usize) {
        let [before, last] = self.tokens;
        self.tokens = [before + last, count];
        self.next = 0;
    }

    /// Number of tokens of the passes before.
    pub(crate) fn first(&self) -> usize {
        self.tokens[0]
    }

    /// Adds new keys and values `[time, batch, groups, width]` to those of the next site. Returns the
    /// buffers of all of them and the number of tokens in them.
    pub(crate) fn extend(
        &mut self,
        backend: &dyn Backend,
        new: [&Value; 2],
    ) -> Result<([Value; 2], usize)> {
        let [first, count] = self.tokens;
        let shape = new[0].dims();
        if shape[0] != count {
            return Err(TensorError::request(format!(
                "it is applied to {} keys in a pass of {count} tokens, so they cannot be kept",
                shape[0]
            )));
        }
        let total = first + count;
        let at = self.next;
        self.next += 1;
        if at == self.sites.len() && first == 0 {
            let room = |part: &Value| room(backend, part, total.max(ROOM));
            self.sites.push(Site { parts: [room(new[0])?, room(new[1])?] });
        }
        let site = self.sites.get_mut(at).filter(|site| site.parts[0].dims()[1..] == shape[1..]);
        let Some(site) = site else {
            return Err(TensorError::request(
                "it is not applied in the same order and shape in every pass, so keys cannot be kept",
            ));
        };
        for (kept, new) in site.parts.iter_mut().zip(new) {
            if kept.dims()[0] < total {
                let larger = room(backend, new, (2 * kept.dims()[0]).max(total))?;
                backend.write(&larger.narrow(0, 0, first)?, &kept.narrow(0, 0, first)?)?;
                *kept = larger;
            }
            backend.write(&kept.narrow(0, first, count)?, new)?;
        }
        Ok((site.parts.clone(), total))
    }
}

/// A buffer of zeros for `tokens` tokens of the shape of `part`.
fn room(backend: &dyn Backend, part: &Value, tokens: usize) -> Result<Value> {
    let mut dims = part.dims().to_vec();
    dims[0] = tokens;
    backend.fill(part.dtype(), &Shape::from(dims), 0.0)
}
