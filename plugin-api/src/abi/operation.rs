//! Codes of the tensor operations that the host offers through
//! `apply(code, inputs, ints, floats) -> outputs`.
//!
//! A released code never changes its meaning; new operations get new codes. Conventions of the
//! documentation below:
//! * `inputs` are shapes; `[..]` stands for any leading dimensions, `w?` for an input that may be
//!   left out (at the end of the list). `ints` and `floats` are the attribute lists in their order;
//!   a name with `= v` may be left out and is then `v`.
//! * Dimensions may be negative: `-1` is the last one. `dims...` empty means all dimensions.
//! * "Broadcasting" is numpy's: shapes are aligned at the right, a 1 stretches.
//! * Floating inputs of one call have one dtype. f32 and f64 are computed as they are, bf16 and f16
//!   through f32.
//! * Gradients flow to floating inputs only. Results of integer dtype are constants. An operation
//!   marked as not differentiable answers with an error when a gradient would have to flow through
//!   it.
//! * Any wrong shape, dtype, attribute count or dimension is an error that names the operation;
//!   nothing is undefined.

/// What the table [`OPERATIONS`] says about one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationInfo {
    /// The code, as passed to `apply`.
    pub code: u32,
    /// Its name in kebab-case, as errors print it.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Whether gradients flow from its floating outputs to its floating inputs.
    pub differentiable: bool,
    /// Name of its constant in [`op`].
    pub constant: &'static str,
    /// Its documentation: inputs, attributes, outputs.
    pub doc: &'static str,
}

/// Finds an operation by its code; none if there is no such code. Constant time.
#[inline]
pub fn find(code: u32) -> Option<&'static OperationInfo> {
    let place = *PLACES.get(code as usize)?;
    OPERATIONS.get(usize::from(place))
}

/// Where in [`OPERATIONS`] each code is.
static PLACES: [u8; OPERATIONS[OPERATIONS.len() - 1].code as usize + 1] = {
    let mut places = [u8::MAX; OPERATIONS[OPERATIONS.len() - 1].code as usize + 1];
    let mut place = 0;
    assert!(OPERATIONS.len() < u8::MAX as usize);
    while place < OPERATIONS.len() {
        places[OPERATIONS[place].code as usize] = place as u8;
        place += 1;
    }
    places
};

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $constant:ident = $code:literal, $name:literal, $summary:literal, $differentiable:ident;)*) => {
        /// The codes.
        pub mod op {
            $($(#[doc = $doc])+ pub const $constant: u32 = $code;)*
        }
        /// All operations, ascending by code.
        pub const OPERATIONS: &[OperationInfo] = &[ $( OperationInfo {
            code: $code,
            name: $name,
            summary: $summary,
            differentiable: operations!(@ $differentiable),
            constant: stringify!($constant),
            doc: concat!($($doc, "\n"),+),
        } ),* ];
    };
    (@ yes) => { true };
    (@ no) => { false };
}

operations! {
    // ---- two inputs, broadcasting
    /// `a + b`. Inputs: a, b (broadcasting; any one dtype).
    ADD = 1, "add", "sum of two tensors", yes;
    /// `a - b`, as [`ADD`].
    SUB = 2, "sub", "difference of two tensors", yes;
    /// `a * b`, as [`ADD`].
    MUL = 3, "mul", "product of two tensors, element by element", yes;
    /// `a / b`, as [`ADD`].
    DIV = 4, "div", "quotient of two tensors", yes;
    /// `min(a, b)`; where both are equal the gradient goes to `a`.
    MINIMUM = 5, "minimum", "smaller of two tensors, element by element", yes;
    /// `max(a, b)`; where both are equal the gradient goes to `a`.
    MAXIMUM = 6, "maximum", "larger of two tensors, element by element", yes;
    /// `a ^ b`; floating inputs. Gradient: `b a^(b-1)` and `a^b ln a` (0 where `a` is 0).
    POW = 7, "pow", "power with a tensor as exponent", yes;

    // ---- one input, element by element: floating input, same shape
    /// `x mul + add`. Floats: mul, add.
    AFFINE = 20, "affine", "multiply by and add a number", yes;
    /// `-x`.
    NEG = 21, "neg", "negation", yes;
    /// `|x|`, gradient 0 at 0.
    ABS = 22, "abs", "absolute value", yes;
    /// `e^x`.
    EXP = 23, "exp", "exponential function", yes;
    /// Natural logarithm.
    LOG = 24, "log", "natural logarithm", yes;
    /// Square root.
    SQRT = 25, "sqrt", "square root", yes;
    /// `x^2`.
    SQR = 26, "sqr", "square", yes;
    /// `1 / x`.
    RECIP = 27, "recip", "reciprocal", yes;
    /// Sine.
    SIN = 28, "sin", "sine", yes;
    /// Cosine.
    COS = 29, "cos", "cosine", yes;
    /// Hyperbolic tangent.
    TANH = 30, "tanh", "hyperbolic tangent", yes;
    /// `max(x, 0)`, gradient 0 at 0.
    RELU = 31, "relu", "rectified linear unit", yes;
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: the tanh form (Hendrycks and Gimpel 2016).
    GELU = 32, "gelu", "Gaussian error linear unit, tanh form", yes;
    /// `x/2 (1 + erf(x / sqrt 2))`.
    GELU_ERF = 33, "gelu-erf", "Gaussian error linear unit, exact form", yes;
    /// `x sigmoid(x)`.
    SILU = 34, "silu", "sigmoid linear unit", yes;
    /// `1 / (1 + e^-x)`.
    SIGMOID = 35, "sigmoid", "logistic function", yes;
    /// `x` where positive, else `alpha (e^x - 1)`. Floats: alpha = 1.
    ELU = 36, "elu", "exponential linear unit", yes;
    /// `x` where positive, else `slope x`. Floats: slope = 0.01.
    LEAKY_RELU = 37, "leaky-relu", "leaky rectified linear unit", yes;
    /// `ln(1 + e^x)`.
    SOFTPLUS = 38, "softplus", "smooth rectified linear unit", yes;
    /// `x ^ exponent`. Floats: exponent.
    POWF = 39, "powf", "power with a number as exponent", yes;
    /// `x` kept within `[min, max]`; gradient 0 outside. Floats: min, max.
    CLAMP = 40, "clamp", "limit to an interval", yes;
    /// -1, 0 or 1. Gradient 0.
    SIGN = 41, "sign", "sign", yes;
    /// Largest whole number not above. Gradient 0.
    FLOOR = 42, "floor", "round down", yes;
    /// Smallest whole number not below. Gradient 0.
    CEIL = 43, "ceil", "round up", yes;
    /// Nearest whole number, halves to even. Gradient 0.
    ROUND = 44, "round", "round to nearest, halves to even", yes;
    /// Error function.
    ERF = 45, "erf", "error function", yes;

    // ---- comparison: inputs a, b (broadcasting, one dtype); result u8
    /// `a == b`.
    EQ = 60, "eq", "equal", no;
    /// `a != b`.
    NE = 61, "ne", "not equal", no;
    /// `a < b`.
    LT = 62, "lt", "less than", no;
    /// `a <= b`.
    LE = 63, "le", "less than or equal", no;
    /// `a > b`.
    GT = 64, "gt", "greater than", no;
    /// `a >= b`.
    GE = 65, "ge", "greater than or equal", no;
    /// Inputs: condition (u8, u32 or i64), a, b; all broadcasting. `a` where the condition is not
    /// 0, else `b`.
    WHERE_COND = 66, "where-cond", "choose between two tensors by a condition", yes;

    // ---- reduction: input x; ints keepdim (0 or 1), dims...
    /// Sum over dims. Any dtype.
    SUM = 80, "sum", "sum over dimensions", yes;
    /// Mean over dims.
    MEAN = 81, "mean", "mean over dimensions", yes;
    /// Largest value over dims; the gradient goes to the first one that is largest.
    MAX = 82, "max", "maximum over dimensions", yes;
    /// Smallest value over dims; the gradient goes to the first one that is smallest.
    MIN = 83, "min", "minimum over dimensions", yes;
    /// Variance over dims. Ints: keepdim, correction (1 divides by n - 1), dims...
    VAR = 84, "var", "variance over dimensions", yes;
    /// Euclidean norm over all elements, a scalar; gradient 0 where the norm is 0.
    NORM = 85, "norm", "Euclidean norm over all elements", yes;
    /// Index (u32) of the first largest value. Ints: keepdim, dim.
    ARGMAX = 86, "argmax", "index of the maximum", no;
    /// Index (u32) of the first smallest value. Ints: keepdim, dim.
    ARGMIN = 87, "argmin", "index of the minimum", no;
    /// `ln sum e^x` over dims, without overflow.
    LOG_SUM_EXP = 88, "log-sum-exp", "logarithm of the sum of exponentials over dimensions", yes;
    /// Running sum. Ints: dim.
    CUMSUM = 89, "cumsum", "cumulative sum", yes;
    /// Stable sort. Ints: dim, descending = 0. Outputs: values, indices (u32).
    SORT = 90, "sort", "sort along a dimension", yes;
    /// The k largest along the last dimension, descending. Ints: k. Outputs: values, indices (u32).
    TOP_K = 91, "top-k", "largest values and their places", yes;

    // ---- products
    /// Inputs: a `[.., m, k]`, b `[.., k, n]`; leading dimensions broadcast. Output `[.., m, n]`.
    MATMUL = 110, "matmul", "matrix product", yes;
    /// Inputs: x `[.., in]`, w `[out, in]`, b? `[out]`. Ints: activation = 0 (see
    /// [`activation`](super::activation)). Output `[.., out]`: `act(x w^T + b)`.
    LINEAR = 111, "linear", "affine map with optional bias and activation", yes;
    /// As [`LINEAR`] of samples of any shape: x `[batch, ..]`, whose other dimensions are taken as
    /// one and have `in` elements together. Output `[batch, out]`.
    FLAT_LINEAR = 112, "flat-linear", "affine map of flattened samples", yes;

    /// Inputs: x `[n, in]`, groups `[n]` (u32 or i64), then a w `[out, in]` for each group. Output
    /// `[n, out]`: row i is `x_i w^T` with the w of group i.
    GROUPED_LINEAR = 113, "grouped-linear", "linear map of each row with the matrix of its group", yes;

    // ---- shape
    /// Same elements, new shape. Ints: shape; one may be -1.
    RESHAPE = 130, "reshape", "same elements in another shape", yes;
    /// Ints: two dimensions to swap.
    TRANSPOSE = 131, "transpose", "swap two dimensions", yes;
    /// Ints: every dimension once, in the new order.
    PERMUTE = 132, "permute", "reorder dimensions", yes;
    /// Ints: dim, start, length.
    NARROW = 133, "narrow", "a range of one dimension", yes;
    /// Ints: dim (whose size must be 1).
    SQUEEZE = 134, "squeeze", "drop a dimension of size 1", yes;
    /// Ints: dim, the place of the new dimension of size 1.
    UNSQUEEZE = 135, "unsqueeze", "insert a dimension of size 1", yes;
    /// Ints: the shape to broadcast to.
    BROADCAST_AS = 136, "broadcast-as", "stretch to a shape", yes;
    /// Inputs: one or more, equal but for dim. Ints: dim.
    CAT = 137, "cat", "join along a dimension", yes;
    /// Inputs: one or more of equal shape. Ints: dim, the new one.
    STACK = 138, "stack", "join along a new dimension", yes;
    /// The same values laid out in row-major order.
    CONTIGUOUS = 139, "contiguous", "row-major layout", yes;
    /// Ints: triples (dim, before, after). Floats: value = 0.
    PAD = 140, "pad", "add a border of one value", yes;
    /// Ints: dims to reverse.
    FLIP = 141, "flip", "reverse dimensions", yes;

    // ---- indexing: indices are u32 or i64, every one is checked
    /// Inputs: x, indices `[n]`. Ints: dim. Output: x with that dimension replaced by n picked
    /// slices.
    INDEX_SELECT = 160, "index-select", "pick slices of a dimension", yes;
    /// Inputs: x, indices (rank of x; other dimensions not larger). Ints: dim.
    /// `out[i][j] = x[indices[i][j]][j]` for dim 0.
    GATHER = 161, "gather", "pick elements along a dimension", yes;
    /// Inputs: x, indices, source (shape of indices). Ints: dim. Adds source at the places that
    /// gather would read.
    SCATTER_ADD = 162, "scatter-add", "add elements at indices along a dimension", yes;
    /// Inputs: weights `[n, c]`, ids `[..]`. Output `[.., c]`.
    EMBEDDING = 163, "embedding", "rows of a table by id", yes;
    /// Inputs: ids `[..]`. Ints: classes, dtype = f32. Output `[.., classes]`.
    ONE_HOT = 164, "one-hot", "1 at the index, 0 elsewhere", no;

    /// Inputs: x `[n, ..]`, segments `[n]`. Ints: count, mode = 0 (0 sum, 1 mean). Output `[count,
    /// ..]`: sum or mean of the rows of each segment, 0 where there are none.
    SEGMENT_REDUCE = 165, "segment-reduce", "sum or mean of the rows of each segment", yes;

    // ---- convolution and pooling
    /// Inputs: x `[n, in, l]`, w `[out, in / groups, k]`, b? `[out]`. Ints: stride = 1, padding =
    /// 0, dilation = 1, groups = 1, activation = 0.
    CONV1D = 180, "conv1d", "convolution over one axis", yes;
    /// Inputs: x `[n, in, h, w]`, w `[out, in / groups, kh, kw]`, b? `[out]`. Ints: stride h, w =
    /// 1, padding h, w = 0, dilation h, w = 1, groups = 1, activation = 0.
    CONV2D = 181, "conv2d", "convolution over two axes", yes;
    /// Inputs: x `[n, in, h, w]`, w `[in, out / groups, kh, kw]`, b? `[out]`. Ints: stride h, w =
    /// 1, padding h, w = 0, output padding h, w = 0, dilation h, w = 1, groups = 1.
    CONV_TRANSPOSE2D = 182, "conv-transpose2d", "transposed convolution over two axes", yes;
    /// Input `[n, c, h, w]`. Ints: kernel h, w, stride h, w = kernel, padding h, w = 0 (at most
    /// half the kernel). Ties: the first largest of a window gets the gradient.
    MAX_POOL2D = 183, "max-pool2d", "largest value of each window", yes;
    /// As [`MAX_POOL2D`]; zeros of the padding count.
    AVG_POOL2D = 184, "avg-pool2d", "mean of each window", yes;
    /// Input `[n, c, h, w]`. Ints: new h, new w. Nearest neighbour: `out[i] = x[i h / new h]`.
    UPSAMPLE_NEAREST2D = 185, "upsample-nearest2d", "nearest-neighbour enlargement", yes;
    /// Input `[n, c, h, w]`. Ints: new h, new w, method = 0 (0 bilinear, 1 bicubic), antialias = 0,
    /// align corners = 0. PyTorch's `interpolate`: pixels are squares whose centres are mapped, or
    /// their corners are; with antialias the filter grows with the reduction, as Pillow's does.
    RESIZE2D = 186, "resize2d", "bilinear or bicubic resize", yes;
    /// Input `[n, c, h, w]`. Ints: new h, new w. `out[i]` is the mean from `floor(i h / new h)` to
    /// `ceil((i + 1) h / new h)`, along each axis.
    ADAPTIVE_AVG_POOL2D = 187, "adaptive-avg-pool2d", "mean of equal parts of each axis", yes;

    // ---- probabilities and losses
    /// Ints: dim = -1.
    SOFTMAX = 200, "softmax", "softmax along a dimension", yes;
    /// Ints: dim = -1.
    LOG_SOFTMAX = 201, "log-softmax", "logarithm of softmax along a dimension", yes;
    /// Inputs: logits `[.., c]`, target: labels (u32 or i64) `[..]` or probabilities `[.., c]`.
    /// Ints: reduction = mean (see [`reduction`](super::reduction)), ignored label = none (i64
    /// minimum). Floats: label smoothing = 0. The mean is over labels that are not ignored.
    /// Gradient to the logits only.
    CROSS_ENTROPY = 202, "cross-entropy", "softmax cross-entropy of logits", yes;
    /// Inputs: log-probabilities `[.., c]`, labels `[..]`. Ints: reduction = mean. `-x[label]`.
    NLL = 203, "nll", "negative log-likelihood of log-probabilities", yes;
    /// Inputs: prediction, target (same shape). Ints: reduction = mean. `(x - y)^2`. Gradient to
    /// both.
    MSE = 204, "mse", "squared error", yes;
    /// As [`MSE`], `|x - y|`.
    MAE = 205, "mae", "absolute error", yes;
    /// As [`MSE`]. Floats: delta = 1. `d^2/2` within delta, else `delta (|d| - delta/2)`.
    HUBER = 206, "huber", "Huber loss", yes;
    /// Inputs: logits, target probabilities (same shape). Ints: reduction = mean. Gradient to both.
    BCE_WITH_LOGITS = 207, "bce-with-logits", "binary cross-entropy of logits", yes;
    /// Inputs: logits `[.., c]`, target: labels (u32 or i64) `[..]` or probabilities `[.., c]`, class
    /// weights `[c]`. Ints and floats as [`CROSS_ENTROPY`]. Each class's share of the target is
    /// multiplied by its weight; the mean of labels is divided by the sum of their weights, that of
    /// probabilities by the number of rows. Gradient to the logits only.
    WEIGHTED_CROSS_ENTROPY = 208, "weighted-cross-entropy", "cross-entropy of logits with class weights", yes;
    /// Inputs: logits x, target probabilities y (same shape), weights p of positive targets
    /// (broadcasting to that shape). Ints: reduction = mean.
    /// `(1 - y) softplus(x) + p y softplus(-x)`. Gradient to the logits and the targets.
    WEIGHTED_BCE_WITH_LOGITS = 209, "weighted-bce-with-logits", "binary cross-entropy of logits with weighted positives", yes;

    // ---- normalisation, dropout, attention
    /// Inputs: x `[.., c]`, w? `[c]`, b? `[c]`. Floats: epsilon = 1e-5. Over the last dimension (Ba
    /// et al. 2016).
    LAYER_NORM = 220, "layer-norm", "layer normalisation over the last dimension", yes;
    /// Inputs: x `[.., c]`, w? `[c]`. Floats: epsilon = 1e-5. `x / sqrt(mean x^2 + epsilon) w`.
    RMS_NORM = 221, "rms-norm", "root-mean-square normalisation over the last dimension", yes;
    /// Inputs: x `[n, c, ..]`, w `[c]`, b `[c]`, running mean `[c]`, running variance `[c]`. Ints:
    /// mode = 0 (engine's mode; 1 training, 2 evaluation). Floats: epsilon = 1e-5, momentum = 0.1.
    /// Training uses the batch's statistics and updates the running ones in place (variance with n
    /// - 1), as PyTorch does.
    BATCH_NORM = 222, "batch-norm", "batch normalisation with running statistics", yes;
    /// Inputs: x `[n, c, ..]`, w? `[c]`, b? `[c]`. Ints: groups. Floats: epsilon = 1e-5.
    GROUP_NORM = 223, "group-norm", "normalisation over groups of channels", yes;
    /// Ints: stream = -1 (the engine's current). Floats: p. Training: zero with probability p, else
    /// `x / (1 - p)`; evaluation: `x`.
    DROPOUT = 224, "dropout", "random zeroing in training", yes;
    /// Input: packed queries, keys and values `[b, t, 3 c]`. Ints: heads, causal (0 or 1). Output
    /// `[b, t, c]`: `softmax(q k^T / sqrt(c / heads)) v` per head.
    ATTENTION = 225, "attention", "multi-head self-attention on packed qkv", yes;
    /// Inputs: q `[b, h, n, d]`, k and v `[b, g, m, d]` with h a multiple of g (head i reads group
    /// `i g / h`), bias? (floating, broadcasting to `[b, h, n, m]`, added to the scores), lengths?
    /// (u32 or i64 `[b]`: keys of each sequence, the rest is padding). Ints: causal = 0, window = 0
    /// (0: none), stream = -1 (of the dropout). Floats: scale = `1 / sqrt(d)` (0 or left out),
    /// dropout = 0. The queries are the last n of the m places: query i is at place `i + m - n`. If
    /// causal, it sees keys up to its place; with a window w, keys less than w places away. Output
    /// `[b, h, n, d]`: `softmax(scale q k^T + bias) v` over the keys seen; 0 where there are none.
    SCALED_ATTENTION = 226, "scaled-attention", "attention of queries, keys and values", yes;
    /// Inputs: x `[.., t, d]`, cosines and sines `[t, d / 2]`, or `[b, t, d / 2]` for x of `[b, ..,
    /// t, d]`. Ints: interleaved = 0. Rotates pairs of channels: (i, i + d / 2), or (2 i, 2 i + 1) if
    /// interleaved. Gradient to x only.
    ROTARY = 227, "rotary", "rotation of pairs of channels by position", yes;

    // ---- conversion
    /// Ints: dtype code. Between floating dtypes the gradient is converted back; to an integer
    /// dtype the result is a constant.
    TO_DTYPE = 240, "to-dtype", "convert the element type", yes;
    /// The same values as a constant.
    DETACH = 241, "detach", "stop the gradient", no;

    // ---- creation: no inputs
    /// Ints: stream (-1: the engine's current), dtype, shape... Floats: low = 0, high = 1. In
    /// `[low, high)`.
    UNIFORM = 260, "uniform", "uniformly distributed random numbers", no;
    /// Ints as [`UNIFORM`]. Floats: mean = 0, standard deviation = 1.
    NORMAL = 261, "normal", "normally distributed random numbers", no;
    /// Ints as [`UNIFORM`]. Floats: probability of 1.
    BERNOULLI = 262, "bernoulli", "random zeros and ones", no;
    /// Ints: stream, n. A random order of `0..n`, u32.
    PERMUTATION = 263, "permutation", "random order", no;
    /// Ints: dtype, shape...
    ZEROS = 264, "zeros", "all 0", no;
    /// Ints: dtype, shape...
    ONES = 265, "ones", "all 1", no;
    /// Ints: dtype, shape... Floats: value.
    FULL = 266, "full", "all one value", no;
    /// Ints: dtype. Floats: start, end, step = 1. `start, start + step, ..` below end.
    ARANGE = 267, "arange", "evenly spaced numbers", no;

    // ---- statistics
    /// Inputs: one or more floating tensors. Euclidean norm over all their elements together, f32
    /// or f64 scalar.
    GLOBAL_NORM = 280, "global-norm", "Euclidean norm over several tensors", no;
    /// Ints: bins. Floats: min, max. Counts (u32, `[bins]`) of equal bins; values outside and NaN
    /// are not counted; max counts in the last.
    HISTOGRAM = 281, "histogram", "counts over equal bins", no;

    // ---- in place: the first input (and the named states) are overwritten, there are no outputs.
    // Targets are parameters, buffers or other leaf tensors that own their elements; a value of the
    // tape is refused. Views of the target and values on the tape keep the old elements.
    /// Inputs: parameter, gradient, momentum buffer? . Floats: learning rate, momentum = 0,
    /// dampening = 0, weight decay = 0, nesterov = 0. Ints: step, counted from 1 (the first step
    /// sets the buffer to the gradient). PyTorch's `SGD`.
    SGD_UPDATE = 300, "sgd-update", "stochastic gradient descent, in place", no;
    /// Inputs: parameter, gradient, first moment, second moment. Ints: step, counted from 1.
    /// Floats: learning rate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight decay = 0 (added
    /// to the gradient). PyTorch's `Adam`.
    ADAM_UPDATE = 301, "adam-update", "Adam, in place", no;
    /// As [`ADAM_UPDATE`], weight decay = 0.01, decoupled. PyTorch's `AdamW`.
    ADAMW_UPDATE = 302, "adamw-update", "AdamW, in place", no;
    /// Inputs: parameter, gradient, square average, momentum buffer? , gradient average? (present
    /// when centred). Floats: learning rate, alpha = 0.99, epsilon = 1e-8, weight decay = 0,
    /// momentum = 0. Ints: centred = 0 (then the buffer must be given too). PyTorch's `RMSprop`.
    RMSPROP_UPDATE = 303, "rmsprop-update", "RMSprop, in place", no;
    /// Inputs: parameter, gradient, momentum. Floats: learning rate, beta1 = 0.9, beta2 = 0.99,
    /// weight decay = 0 (decoupled). Lion (Chen et al. 2023, algorithm 2).
    LION_UPDATE = 304, "lion-update", "Lion, in place", no;
    /// Inputs: target, source (same shape and dtype). `target = source`.
    ASSIGN = 305, "assign", "overwrite, in place", no;
    /// Inputs: target, source. Floats: weight. `target += weight (source - target)`.
    LERP_ = 306, "lerp", "move towards another tensor, in place", no;
    /// Inputs: target. Floats: factor. `target *= factor`.
    SCALE_ = 307, "scale", "multiply by a number, in place", no;
    /// Inputs: target, source. Floats: factor. `target += factor source`.
    ADD_SCALED_ = 308, "add-scaled", "add a multiple of another tensor, in place", no;
}

/// Activations fused into [`op::LINEAR`], [`op::FLAT_LINEAR`] and the convolutions.
pub mod activation {
    /// None.
    pub const NONE: i64 = 0;
    /// As [`RELU`](super::op::RELU).
    pub const RELU: i64 = 1;
    /// As [`GELU`](super::op::GELU).
    pub const GELU: i64 = 2;
    /// As [`GELU_ERF`](super::op::GELU_ERF).
    pub const GELU_ERF: i64 = 3;
    /// As [`SILU`](super::op::SILU).
    pub const SILU: i64 = 4;
    /// As [`SIGMOID`](super::op::SIGMOID).
    pub const SIGMOID: i64 = 5;
    /// As [`TANH`](super::op::TANH).
    pub const TANH: i64 = 6;
}

/// What a loss makes of its values.
pub mod reduction {
    /// Their mean, a scalar.
    pub const MEAN: i64 = 0;
    /// Their sum, a scalar.
    pub const SUM: i64 = 1;
    /// Themselves: one per sample.
    pub const NONE: i64 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_names_are_unique() {
        assert!(OPERATIONS.windows(2).all(|pair| pair[0].code < pair[1].code));
        let mut names: Vec<_> = OPERATIONS.iter().map(|info| info.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn an_unknown_code_is_not_found() {
        assert_eq!(find(op::MATMUL).map(|info| info.name), Some("matmul"));
        assert_eq!(find(19), None);
    }
}
