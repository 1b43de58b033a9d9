//! The standard schedules: those of ParameterSchedulers.jl, warm-ups, onecycle, and schedules that
//! combine others.
//!
//! A schedule maps a time `t`, counted from 1, to a value; `length` is the time from which the value
//! is constant, if there is one. Schedules hold no state. The callback `scheduler` evaluates them
//! at each update or epoch and sets hyper-parameters.
//!
//! | module | schedules |
//! |---|---|
//! | `decay` | constant, linear, points, step, exp, poly, inv |
//! | `waves` | triangle and sine waves, cos-anneal |
//! | `onecycle` | onecycle |
//! | `combine` | warmup, sequence, loop, shifted, interpolator |
//! | `formula` | shared: schedules as formulas of their configuration, nested schedules |

mod combine;
mod decay;
mod formula;
mod onecycle;
mod waves;

use combine::{Interpolator, Loop, Sequence, Shifted, Warmup};
use decay::{Constant, Exp, Inv, Linear, Points, Poly, Step};
use fluxbay_plugin::prelude::*;
use onecycle::OneCycle;
use waves::{CosAnneal, Sin, SinDecay2, SinExp, Triangle, TriangleDecay2, TriangleExp};

/// An example run file: a scheduler with one schedule.
macro_rules! example {
    ($schedule:literal) => {
        concat!("[[callback]]\ncomponent = \"scheduler\"\n\n[callback.schedules]\n\"optimizer.learning-rate\" = ", $schedule, "\n")
    };
}

plugin! {
    summary: "The standard schedules: values over time, and schedules that combine others.",
    schedule "constant" => Constant {
        summary: "A constant value.",
        example: example!("{ component = \"constant\", value = 0.01 }"),
    },
    schedule "linear" => Linear {
        summary: "Linear interpolation from one value to another, then constant.",
        example: example!("{ component = \"linear\", start = 0.1, end = 0.001, steps = 1000 }"),
    },
    schedule "points" => Points {
        summary: "Linear interpolation between points of time and value.",
        example: example!("{ component = \"points\", points = [[1, 0.0], [100, 0.1], [1000, 0.001]] }"),
    },
    schedule "step" => Step {
        summary: "Falls by a factor at intervals.",
        details: "start * decay^i, where i is the number of completed intervals at time t. `every` sets one length for all intervals, `sizes` a length for each.",
        example: example!("{ component = \"step\", start = 0.1, decay = 0.1, every = 300 }"),
    },
    schedule "exp" => Exp {
        summary: "Exponential decay: start * decay^(t-1).",
        example: example!("{ component = \"exp\", start = 0.1, decay = 0.999 }"),
    },
    schedule "poly" => Poly {
        summary: "Polynomial decay to 0: start * (1 - (t-1)/steps)^degree.",
        example: example!("{ component = \"poly\", start = 0.1, degree = 2, steps = 1000 }"),
    },
    schedule "inv" => Inv {
        summary: "Inverse decay: start / (1 + (t-1) * decay)^degree.",
        example: example!("{ component = \"inv\", start = 0.1, decay = 0.01 }"),
    },
    schedule "cos-anneal" => CosAnneal {
        summary: "Half a cosine from high to low, repeated or once.",
        details: "low + (high - low) * (1 + cos(pi * (t-1) / period)) / 2. With `restart` it starts again after each period; without, it stays at `low`.",
        example: example!("{ component = \"cos-anneal\", high = 0.1, low = 1e-5, period = 1000, restart = false }"),
    },
    schedule "triangle" => Triangle {
        summary: "A triangle wave between two values, starting at the low one.",
        example: example!("{ component = \"triangle\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "triangle-decay2" => TriangleDecay2 {
        summary: "A triangle wave whose height halves after each period.",
        example: example!("{ component = \"triangle-decay2\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "triangle-exp" => TriangleExp {
        summary: "A triangle wave whose height decays exponentially.",
        example: example!("{ component = \"triangle-exp\", low = 0.001, high = 0.1, period = 200, decay = 0.999 }"),
    },
    schedule "sin" => Sin {
        summary: "A sine wave between two values, starting at the low one.",
        example: example!("{ component = \"sin\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "sin-decay2" => SinDecay2 {
        summary: "A sine wave whose height halves after each period.",
        example: example!("{ component = \"sin-decay2\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "sin-exp" => SinExp {
        summary: "A sine wave whose height decays exponentially.",
        example: example!("{ component = \"sin-exp\", low = 0.001, high = 0.1, period = 200, decay = 0.999 }"),
    },
    schedule "onecycle" => OneCycle {
        summary: "One rise and one fall over the whole training, in quarter sines.",
        details: "Rises from max/div to max in the first `warmup` share of the steps, falls to max/final-div, and stays there.",
        example: example!("{ component = \"onecycle\", steps = 1000, max = 0.01 }"),
    },
    schedule "warmup" => Warmup {
        summary: "A rise to the first value of another schedule, then that schedule.",
        example: example!("{ component = \"warmup\", steps = 100, schedule = { component = \"cos-anneal\", high = 0.1, period = 900, restart = false } }"),
    },
    schedule "sequence" => Sequence {
        summary: "Schedules in sequence.",
        example: example!("{ component = \"sequence\", parts = [{ value = 0.001, steps = 50 }, { component = \"exp\", start = 0.1, decay = 0.99 }] }"),
    },
    schedule "loop" => Loop {
        summary: "A repeated schedule.",
        example: example!("{ component = \"loop\", period = 100, schedule = { component = \"exp\", start = 0.1, decay = 0.97 } }"),
    },
    schedule "shifted" => Shifted {
        summary: "A schedule that starts at a later time.",
        example: example!("{ component = \"shifted\", offset = 50, schedule = { component = \"exp\", start = 0.1, decay = 0.97 } }"),
    },
    schedule "interpolator" => Interpolator {
        summary: "A schedule stretched by a rate, such as one in epochs that is evaluated at each step.",
        details: "schedule(t / rate). By default the inner time is rounded up, so that each value is kept for `rate` times.",
        example: example!("{ component = \"interpolator\", rate = 45, schedule = { component = \"poly\", start = 0.1, steps = 10 } }"),
    },
}
