//! Draws from a Beta distribution with two equal parameters, using uniform random numbers of the
//! host.

use fluxbay_plugin::prelude::*;

/// The function that draws random numbers of the host.
type OfHost = fn(usize) -> Result<Vec<f64>>;

/// Uniform numbers in `[0, 1)`, drawn a few at a time.
pub struct Uniforms<F> {
    draw: F,
    left: Vec<f64>,
}

impl Uniforms<OfHost> {
    /// Random numbers of the host, so that a resumed run draws the same ones.
    pub fn of_host() -> Self {
        Uniforms::new(|count| Tensor::rand(0.0, 1.0, [count], DType::F64)?.to_vec())
    }
}

impl<F: FnMut(usize) -> Result<Vec<f64>>> Uniforms<F> {
    /// `draw` returns the given number of values.
    pub fn new(draw: F) -> Self {
        Uniforms { draw, left: Vec::new() }
    }

    /// The next number.
    ///
    /// # Errors
    /// None could be drawn.
    pub fn next(&mut self) -> Result<f64> {
        if self.left.is_empty() {
            self.left = (self.draw)(16)?;
        }
        self.left.pop().ok_or_else(|| Error::new("no random numbers were drawn"))
    }

    /// A standard normal variate, by the polar method (Marsaglia and Bray 1964).
    fn normal(&mut self) -> Result<f64> {
        loop {
            let (u, v) = (2.0 * self.next()? - 1.0, 2.0 * self.next()? - 1.0);
            let square = u * u + v * v;
            if square > 0.0 && square < 1.0 {
                return Ok(u * (-2.0 * square.ln() / square).sqrt());
            }
        }
    }

    /// Logarithm of a Gamma variate of shape `alpha` (Marsaglia and Tsang 2000); the logarithm
    /// avoids underflow for small `alpha`.
    fn log_gamma(&mut self, alpha: f64) -> Result<f64> {
        if alpha < 1.0 {
            return Ok(self.log_gamma(alpha + 1.0)? + (1.0 - self.next()?).ln() / alpha);
        }
        let d = alpha - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal()?;
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.next()?).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return Ok((d * v).ln());
            }
        }
    }
}

/// One draw from Beta(alpha, alpha).
pub fn beta<F: FnMut(usize) -> Result<Vec<f64>>>(
    alpha: f64,
    uniforms: &mut Uniforms<F>,
) -> Result<f64> {
    let (x, y) = (uniforms.log_gamma(alpha)?, uniforms.log_gamma(alpha)?);
    Ok(1.0 / (1.0 + (y - x).exp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of many draws.
    fn moments(alpha: f64) -> (f64, f64) {
        let mut state = 1u64;
        let mut uniforms = Uniforms::new(|count| {
            let mut next = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 11) as f64 / (1u64 << 53) as f64
            };
            Ok((0..count).map(|_| next()).collect())
        });
        let draws: Vec<f64> = (0..40_000).map(|_| beta(alpha, &mut uniforms).unwrap()).collect();
        assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        (mean, draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64)
    }

    #[test]
    fn draws_have_the_mean_and_the_variance_of_the_distribution() {
        for alpha in [0.1, 0.4, 1.0, 5.0] {
            let (mean, variance) = moments(alpha);
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            assert!((variance - 0.25 / (2.0 * alpha + 1.0)).abs() < 0.005, "{alpha}: {variance}");
        }
    }
}
