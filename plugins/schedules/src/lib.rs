//! The standard schedules: the shapes of ParameterSchedulers.jl, warm-ups, onecycle, and ways to
//! combine any schedules.

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

/// The heading of an example: a scheduler with one schedule.
macro_rules! example {
    ($schedule:literal) => {
        concat!("[[callback]]\ncomponent = \"scheduler\"\n\n[callback.schedules]\n\"optimizer.learning-rate\" = ", $schedule, "\n")
    };
}

plugin! {
    summary: "The standard schedules: shapes over time, and ways to combine them.",
    schedule "constant" => Constant {
        summary: "One value for ever.",
        example: example!("{ component = \"constant\", value = 0.01 }"),
    },
    schedule "linear" => Linear {
        summary: "A straight line from one value to another, then level.",
        example: example!("{ component = \"linear\", start = 0.1, end = 0.001, steps = 1000 }"),
    },
    schedule "points" => Points {
        summary: "Straight lines between points of time and value.",
        example: example!("{ component = \"points\", points = [[1, 0.0], [100, 0.1], [1000, 0.001]] }"),
    },
    schedule "step" => Step {
        summary: "Falls by a factor every so often.",
        details: "start * decay^i, where i stairs are done at time t. `every` gives all stairs one length, `sizes` gives each its own.",
        example: example!("{ component = \"step\", start = 0.1, decay = 0.1, every = 300 }"),
    },
    schedule "exp" => Exp {
        summary: "Falls by a factor at each time: start * decay^(t-1).",
        example: example!("{ component = \"exp\", start = 0.1, decay = 0.999 }"),
    },
    schedule "poly" => Poly {
        summary: "Falls to 0 along a power: start * (1 - (t-1)/steps)^degree.",
        example: example!("{ component = \"poly\", start = 0.1, degree = 2, steps = 1000 }"),
    },
    schedule "inv" => Inv {
        summary: "Falls like an inverse: start / (1 + (t-1) * decay)^degree.",
        example: example!("{ component = \"inv\", start = 0.1, decay = 0.01 }"),
    },
    schedule "cos-anneal" => CosAnneal {
        summary: "Half a cosine from high to low, again and again or once.",
        details: "low + (high - low) * (1 + cos(pi * (t-1) / period)) / 2. With `restart` it begins anew after each period, without it stays at `low`.",
        example: example!("{ component = \"cos-anneal\", high = 0.1, low = 1e-5, period = 1000, restart = false }"),
    },
    schedule "triangle" => Triangle {
        summary: "Straight up and down between two values, beginning at the low one.",
        example: example!("{ component = \"triangle\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "triangle-decay2" => TriangleDecay2 {
        summary: "A triangle whose height halves with each period.",
        example: example!("{ component = \"triangle-decay2\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "triangle-exp" => TriangleExp {
        summary: "A triangle whose height falls by a factor at each time.",
        example: example!("{ component = \"triangle-exp\", low = 0.001, high = 0.1, period = 200, decay = 0.999 }"),
    },
    schedule "sin" => Sin {
        summary: "Up and down along a sine between two values, beginning at the low one.",
        example: example!("{ component = \"sin\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "sin-decay2" => SinDecay2 {
        summary: "A sine whose height halves with each period.",
        example: example!("{ component = \"sin-decay2\", low = 0.001, high = 0.1, period = 200 }"),
    },
    schedule "sin-exp" => SinExp {
        summary: "A sine whose height falls by a factor at each time.",
        example: example!("{ component = \"sin-exp\", low = 0.001, high = 0.1, period = 200, decay = 0.999 }"),
    },
    schedule "onecycle" => OneCycle {
        summary: "One rise and one fall over the whole training, along sines.",
        details: "Rises from max/div to max within the share `warmup` of the steps, falls to max/final-div, and stays there.",
        example: example!("{ component = \"onecycle\", steps = 1000, max = 0.01 }"),
    },
    schedule "warmup" => Warmup {
        summary: "A rise before another schedule, ending at its first value.",
        example: example!("{ component = \"warmup\", steps = 100, schedule = { component = \"cos-anneal\", high = 0.1, period = 900, restart = false } }"),
    },
    schedule "sequence" => Sequence {
        summary: "One schedule after the other.",
        example: example!("{ component = \"sequence\", parts = [{ value = 0.001, steps = 50 }, { component = \"exp\", start = 0.1, decay = 0.99 }] }"),
    },
    schedule "loop" => Loop {
        summary: "A schedule again and again.",
        example: example!("{ component = \"loop\", period = 100, schedule = { component = \"exp\", start = 0.1, decay = 0.97 } }"),
    },
    schedule "shifted" => Shifted {
        summary: "A schedule that is entered at a later time of its own.",
        example: example!("{ component = \"shifted\", offset = 50, schedule = { component = \"exp\", start = 0.1, decay = 0.97 } }"),
    },
    schedule "interpolator" => Interpolator {
        summary: "A schedule stretched by a rate, such as one in epochs that is asked at each step.",
        details: "schedule(t / rate). By default the inner time is rounded up, so that each value lasts for `rate` times.",
        example: example!("{ component = \"interpolator\", rate = 45, schedule = { component = \"poly\", start = 0.1, steps = 10 } }"),
    },
}
