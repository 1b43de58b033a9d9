//! Optimizer updates, each in one pass.

use super::Cpu;
use super::data::{contiguous, data, for_real, overwrite, overwrite2, overwrite3, overwrite4};
use super::functions::sign;
use super::kernels::elementwise::{scale, update};
use super::kernels::number::Real;
use super::kernels::optimize::step;
use crate::backend::{Optimizer, Update};
use crate::error::{Result, TensorError};
use crate::value::Value;

impl Optimizer for Cpu {
    fn update(&self, rule: &Update, targets: &[&Value], source: Option<&Value>) -> Result<()> {
        for_real!(targets[0].dtype(), T => self.update_of::<T>(rule, targets, source))
    }
}

impl Cpu {
    fn update_of<T: Real>(
        &self,
        rule: &Update,
        targets: &[&Value],
        source: Option<&Value>,
    ) -> Result<()> {
        let pool = &*self.pool;
        if let (Update::Scale(factor), &[target]) = (*rule, targets) {
            let factor = T::of(factor);
            return overwrite(target, |target: &mut [T]| scale(pool, target, factor));
        }
        let Some(source) = source else { return Err(wrong_targets()) };
        let source = contiguous(source)?;
        let g = data::<T>(&source)?;
        match (*rule, targets) {
            (Update::Lerp(factor), &[target]) => {
                let factor = T::of(factor);
                overwrite(target, |target| {
                    update(pool, target, &g, move |target, source| {
                        *target += factor * (source - *target)
                    })
                })
            }
            (Update::AddScaled(factor), &[target]) => {
                let factor = T::of(factor);
                overwrite(target, |target| {
                    update(pool, target, &g, move |target, source| *target += factor * source)
                })
            }
            (Update::Blend { momentum, factor }, &[target]) => {
                let (momentum, factor) = (T::of(momentum), T::of(factor));
                overwrite(target, |target: &mut [T]| {
                    target.iter_mut().zip(g.iter()).for_each(|(old, &new)| {
                        *old = *old * (T::ONE - momentum) + momentum * new * factor
                    });
                })
            }
            (Update::Sgd { rate, momentum, dampening, decay, nesterov, first }, _) => {
                let (rate, momentum) = (T::of(rate), T::of(momentum));
                let (dampening, decay) = (T::of(dampening), T::of(decay));
                match *targets {
                    [p] => overwrite(p, |p: &mut [T]| {
                        step(pool, [p], &g, |[p], g| [p - rate * (g + decay * p)]);
                    }),
                    [p, buffer] => overwrite2([p, buffer], |states| {
                        step(pool, states, &g, move |[p, buffer], g| {
                            let d = g + decay * p;
                            let buffer = if first {
                                d
                            } else {
                                momentum * buffer + (T::ONE - dampening) * d
                            };
                            let d = if nesterov { d + momentum * buffer } else { buffer };
                            [p - rate * d, buffer]
                        });
                    }),
                    _ => Err(wrong_targets()),
                }
            }
            (Update::Adam { size, correction, betas, epsilon, shrink, decay }, &[p, m, v]) => {
                let (size, correction, epsilon) = (T::of(size), T::of(correction), T::of(epsilon));
                let [b1, b2] = betas.map(T::of);
                let [rest1, rest2] = betas.map(|beta| T::of(1.0 - beta));
                let (shrink, decay) = (T::of(shrink), T::of(decay));
                overwrite3([p, m, v], |states| {
                    step(pool, states, &g, move |[p, m, v], g| {
                        let g = g + decay * p;
                        let m = b1 * m + rest1 * g;
                        let v = b2 * v + rest2 * g * g;
                        [p * shrink - size * m / (v.sqrt() / correction + epsilon), m, v]
                    });
                })
            }
            (Update::RmsProp { rate, alpha, epsilon, decay, momentum }, _) => {
                let (rate, alpha, epsilon) = (T::of(rate), T::of(alpha), T::of(epsilon));
                let (decay, momentum) = (T::of(decay), T::of(momentum));
                let rest = T::ONE - alpha;
                match *targets {
                    [p, square] => overwrite2([p, square], |states| {
                        step(pool, states, &g, move |[p, square], g| {
                            let g = g + decay * p;
                            let square = alpha * square + rest * g * g;
                            [p - rate * g / (square.sqrt() + epsilon), square]
                        });
                    }),
                    [p, square, buffer] => overwrite3([p, square, buffer], |states| {
                        step(pool, states, &g, move |[p, square, buffer], g| {
                            let g = g + decay * p;
                            let square = alpha * square + rest * g * g;
                            let buffer = momentum * buffer + g / (square.sqrt() + epsilon);
                            [p - rate * buffer, square, buffer]
                        });
                    }),
                    [p, square, buffer, mean] => overwrite4([p, square, buffer, mean], |states| {
                        step(pool, states, &g, move |[p, square, buffer, mean], g| {
                            let g = g + decay * p;
                            let square = alpha * square + rest * g * g;
                            let mean = mean + rest * (g - mean);
                            let root = (square - mean * mean).sqrt();
                            let buffer = momentum * buffer + g / (root + epsilon);
                            [p - rate * buffer, square, buffer, mean]
                        });
                    }),
                    _ => Err(wrong_targets()),
                }
            }
            (Update::Lion { rate, betas, decay }, &[p, m]) => {
                let (rate, [beta1, beta2], decay) = (T::of(rate), betas.map(T::of), T::of(decay));
                overwrite2([p, m], |states| {
                    step(pool, states, &g, move |[p, m], g| {
                        let direction = beta1 * m + (T::ONE - beta1) * g;
                        [
                            p * (T::ONE - rate * decay) - rate * sign(direction),
                            beta2 * m + (T::ONE - beta2) * g,
                        ]
                    });
                })
            }
            _ => Err(wrong_targets()),
        }
    }
}

#[cold]
#[inline(never)]
fn wrong_targets() -> Box<TensorError> {
    TensorError::request("the update has another number of targets or no source")
}
