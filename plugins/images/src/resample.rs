//! Resizing with antialiasing, as Pillow's `Image.resize`: the filter grows with the reduction. Bytes
//! differ from Pillow's by at most 1, where both directions change; numbers are computed in double
//! precision without rounding in between.

use std::ops::Range;

use fluxbay_plugin::{
    prelude::*,
    steps::{ValueStep, Weighted},
};

use multiversion::multiversion;

use crate::buffers;

choice! {
    /// How pixels are interpolated.
    pub enum Filter {
        /// The nearest pixel.
        Nearest,
        /// Mean of the pixels that are covered.
        Box,
        /// Linear interpolation.
        Bilinear,
        /// Cubic interpolation with a = -0.5.
        Bicubic,
        /// Lanczos with three lobes.
        Lanczos,
    }
}

impl Filter {
    /// Distance in pixels beyond which a pixel has no weight.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest | Filter::Box => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        fn sinc(x: f64) -> f64 {
            let x = x * std::f64::consts::PI;
            if x == 0.0 { 1.0 } else { x.sin() / x }
        }
        const A: f64 = -0.5;
        let distance = x.abs();
        match self {
            Filter::Nearest | Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - distance).max(0.0),
            Filter::Bicubic if distance < 1.0 => {
                ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
            }
            Filter::Bicubic if distance < 2.0 => {
                (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
            }
            Filter::Bicubic => 0.0,
            Filter::Lanczos if distance < 3.0 => sinc(x) * sinc(x / 3.0),
            Filter::Lanczos => 0.0,
        }
    }
}

/// The pixels that make up each pixel of a part of a result along one axis.
pub struct Weights {
    /// First pixel and number of pixels, by pixel of the result.
    bounds: Vec<(usize, usize)>,
    weights: Vec<f64>,
    /// Weights per pixel of the result.
    stride: usize,
}

impl Weights {
    /// For pixels `part` of `to`.
    fn new(from: usize, to: usize, part: &Range<usize>, filter: Filter) -> Weights {
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let mut weights = vec![0.0; part.len() * stride];
        let mut bounds = Vec::with_capacity(part.len());
        for (at, weights) in part.clone().zip(weights.chunks_exact_mut(stride)) {
            let center = (at as f64 + 0.5) * scale;
            if filter == Filter::Nearest {
                bounds.push(((center as usize).min(from - 1), 1));
                weights[0] = 1.0;
                continue;
            }
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let mut sum = 0.0;
            for (place, weight) in weights.iter_mut().take(end - first).enumerate() {
                *weight = filter.weight(((place + first) as f64 - center + 0.5) / filter_scale);
                sum += *weight;
            }
            if sum != 0.0 {
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            bounds.push((first, end - first));
        }
        Weights { bounds, weights, stride }
    }

    /// The pixels that are needed at all.
    fn needed(&self) -> Range<usize> {
        let first = self.bounds.iter().map(|(first, _)| *first).min().unwrap_or(0);
        let end = self.bounds.iter().map(|(first, count)| first + count).max().unwrap_or(0);
        first..end.max(first)
    }

    /// Counts pixels from `start` on.
    fn count_from(&mut self, start: usize) {
        self.bounds.iter_mut().for_each(|(first, _)| *first -= start);
    }
}

/// A value of a pixel.
pub trait Value: Copy + Default {
    /// Weights in the form in which they are multiplied.
    type Weight: Copy;
    /// A sum of weighted values.
    type Sum: Copy;
    /// A buffer of `length` values, whatever they are.
    fn buffer(length: usize) -> Vec<Self> {
        vec![Self::default(); length]
    }
    /// Takes a buffer back.
    fn give_back(buffer: Vec<Self>) {
        drop(buffer);
    }
    /// A sum of nothing.
    const NOTHING: Self::Sum;
    /// A weight in that form.
    fn weight(weight: f64) -> Self::Weight;
    /// The sum with one more weighted value.
    fn add(sum: Self::Sum, value: Self, weight: Self::Weight) -> Self::Sum;
    /// The value for a sum.
    fn of(sum: Self::Sum) -> Self;
    /// Runs [`Across`].
    fn run_across(loops: Across<'_, Self>);
    /// Runs [`Down`].
    fn run_down(loops: Down<'_, Self>);
}

/// The loops for values of one type, compiled for several instruction sets, of which the processor's
/// is chosen. All of them multiply and add integers in the same way, and never fuse products of numbers
/// with sums, so the bits do not depend on it.
macro_rules! loops {
    ($($name:ident($loops:ty),)+) => { $(
        fn $name(loops: $loops) {
            #[multiversion(targets("x86_64+avx2", "x86_64+sse4.1", "aarch64+neon"))]
            fn run(loops: $loops) {
                loops.run();
            }
            run(loops);
        }
    )+ };
}

/// Bits of a weight behind the point.
const PRECISION: u32 = 32 - 8 - 2;

impl Value for u8 {
    type Weight = i32;
    type Sum = i32;

    fn buffer(length: usize) -> Vec<u8> {
        buffers::take(length)
    }

    fn give_back(buffer: Vec<u8>) {
        buffers::give(buffer);
    }

    /// Half of the last bit that is kept, for rounding.
    const NOTHING: i32 = 1 << (PRECISION - 1);

    fn weight(weight: f64) -> i32 {
        let scaled = weight * f64::from(1 << PRECISION);
        (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
    }

    #[inline(always)]
    fn add(sum: i32, value: u8, weight: i32) -> i32 {
        sum + i32::from(value) * weight
    }

    #[inline(always)]
    fn of(sum: i32) -> u8 {
        (sum >> PRECISION).clamp(0, 255) as u8
    }

    loops! {
        run_across(Across<'_, u8>),
        run_down(Down<'_, u8>),
    }
}

impl Value for f32 {
    type Weight = f64;
    type Sum = f64;
    /// Added to any number, it leaves it as it is, also -0.
    const NOTHING: f64 = -0.0;

    fn weight(weight: f64) -> f64 {
        weight
    }

    #[inline(always)]
    fn add(sum: f64, value: f32, weight: f64) -> f64 {
        sum + f64::from(value) * weight
    }

    #[inline(always)]
    fn of(sum: f64) -> f32 {
        sum as f32
    }

    loops! {
        run_across(Across<'_, f32>),
        run_down(Down<'_, f32>),
    }
}

/// Rows of pixels, of `line` values each.
#[derive(Clone, Copy)]
pub struct Rows<'a, V> {
    pixels: &'a [V],
    line: usize,
}

/// Changes the width of some rows of pixels with any number of channels.
fn across<V: Value>(
    of: Rows<'_, V>,
    rows: Range<usize>,
    channels: usize,
    weights: &Weights,
) -> Vec<V> {
    let mut out = V::buffer(rows.len() * weights.bounds.len() * channels);
    let scaled: Vec<V::Weight> = weights.weights.iter().map(|it| V::weight(*it)).collect();
    V::run_across(Across {
        pixels: &of.pixels[rows.start * of.line..],
        line: of.line,
        channels,
        weights,
        scaled: &scaled,
        out: &mut out,
    });
    out
}

/// The loops of [`across`].
pub struct Across<'a, V: Value> {
    pixels: &'a [V],
    line: usize,
    channels: usize,
    weights: &'a Weights,
    scaled: &'a [V::Weight],
    out: &'a mut [V],
}

impl<V: Value> Across<'_, V> {
    #[inline(always)]
    fn run(self) {
        let Across { pixels, line, channels, weights, scaled, out } = self;
        let out = out.chunks_exact_mut((weights.bounds.len() * channels).max(1));
        for ((row, out), end) in pixels.chunks_exact(line).zip(out).zip((line..).step_by(line)) {
            match channels {
                1 => line_across::<V, 1>(row, weights, scaled, out),
                2 => line_across::<V, 2>(row, weights, scaled, out),
                3 if end < pixels.len() => {
                    three_across(&pixels[end - line..=end], weights, scaled, out);
                }
                3 => line_across::<V, 3>(row, weights, scaled, out),
                4 => line_across::<V, 4>(row, weights, scaled, out),
                _ => {
                    for (at, out) in out.iter_mut().enumerate() {
                        let (at, channel) = (at / channels, at % channels);
                        let (first, count) = weights.bounds[at];
                        let values = row[first * channels + channel..].iter().step_by(channels);
                        let scaled = &scaled[at * weights.stride..][..count];
                        let sum = values
                            .zip(scaled)
                            .fold(V::NOTHING, |sum, (value, weight)| V::add(sum, *value, *weight));
                        *out = V::of(sum);
                    }
                }
            }
        }
    }
}

/// Changes the width of a row of pixels with `C` channels, whose sums are kept in registers.
#[inline(always)]
fn line_across<V: Value, const C: usize>(
    row: &[V],
    weights: &Weights,
    scaled: &[V::Weight],
    out: &mut [V],
) {
    let places = out.as_chunks_mut::<C>().0.iter_mut().zip(&weights.bounds);
    for ((out, &(first, count)), scaled) in places.zip(scaled.chunks_exact(weights.stride)) {
        let pixels = row[first * C..(first + count) * C].as_chunks::<C>().0;
        let mut sums = [V::NOTHING; C];
        for (pixel, weight) in pixels.iter().zip(scaled) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum = V::add(*sum, *value, *weight);
            }
        }
        *out = sums.map(V::of);
    }
}

/// As [`line_across`] for three channels. Behind the row follows one more value, so that pixels are read and
/// written as four values, which fill a register; the next pixel of the result overwrites the fourth.
#[inline(always)]
fn three_across<V: Value>(row: &[V], weights: &Weights, scaled: &[V::Weight], out: &mut [V]) {
    let places = weights.bounds.iter().zip(scaled.chunks_exact(weights.stride));
    for (at, (&(first, count), scaled)) in places.enumerate() {
        let pixels = row[first * 3..=(first + count) * 3].array_windows::<4>().step_by(3);
        let mut sums = [V::NOTHING; 4];
        for (pixel, weight) in pixels.zip(scaled) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum = V::add(*sum, *value, *weight);
            }
        }
        let values = sums.map(V::of);
        let rest = &mut out[at * 3..];
        match rest.first_chunk_mut::<4>() {
            Some(four) => *four = values,
            None => rest.copy_from_slice(&values[..3]),
        }
    }
}

/// Values of a row whose sums are computed at once.
const LANES: usize = 32;

/// Changes the number of rows; `values` are those of each row that are wanted.
fn down<V: Value>(of: Rows<'_, V>, values: Range<usize>, weights: &Weights) -> Vec<V> {
    let mut out = V::buffer(weights.bounds.len() * values.len());
    let scaled: Vec<V::Weight> = weights.weights.iter().map(|it| V::weight(*it)).collect();
    V::run_down(Down { of, values, weights, scaled: &scaled, out: &mut out });
    out
}

/// The loops of [`down`].
pub struct Down<'a, V: Value> {
    of: Rows<'a, V>,
    values: Range<usize>,
    weights: &'a Weights,
    scaled: &'a [V::Weight],
    out: &'a mut [V],
}

impl<V: Value> Down<'_, V> {
    #[inline(always)]
    fn run(self) {
        let Down { of, values, weights, scaled, out } = self;
        let results = out.chunks_exact_mut(values.len().max(1)).zip(&weights.bounds);
        for ((out, &(first, count)), scaled) in results.zip(scaled.chunks_exact(weights.stride)) {
            let rows = &of.pixels[first * of.line..(first + count) * of.line];
            line_down(Rows { pixels: rows, line: of.line }, &values, &scaled[..count], out);
        }
    }
}

/// The weighted sum of rows.
#[inline(always)]
fn line_down<V: Value>(
    rows: Rows<'_, V>,
    values: &Range<usize>,
    scaled: &[V::Weight],
    out: &mut [V],
) {
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    let mut at = values.start;
    for out in chunks {
        let mut sums = [V::NOTHING; LANES];
        for (row, weight) in rows.pixels.chunks_exact(rows.line).zip(scaled) {
            for (sum, value) in sums.iter_mut().zip(&row[at..at + LANES]) {
                *sum = V::add(*sum, *value, *weight);
            }
        }
        *out = sums.map(V::of);
        at += LANES;
    }
    for (out, at) in rest.iter_mut().zip(at..) {
        let rows = rows.pixels.chunks_exact(rows.line).zip(scaled);
        *out = V::of(rows.fold(V::NOTHING, |sum, (row, weight)| V::add(sum, row[at], *weight)));
    }
}

/// Resizes `height` x `width` pixels of `channels` interleaved values to `to`, height and width. All
/// sizes are at least 1.
pub fn resize<V: Value>(
    pixels: &[V],
    from: [usize; 2],
    channels: usize,
    to: [usize; 2],
    filter: Filter,
) -> Vec<V> {
    resize_part(pixels, from, channels, to, [0..to[0], 0..to[1]], filter)
}

/// The rows and columns `part` of [`resize`], and nothing else is computed.
pub fn resize_part<V: Value>(
    pixels: &[V],
    [height, width]: [usize; 2],
    channels: usize,
    [to_height, to_width]: [usize; 2],
    [rows, columns]: [Range<usize>; 2],
    filter: Filter,
) -> Vec<V> {
    // As Pillow 13 mostly does: what shrinks more comes first. It decides how bytes are rounded in
    // between.
    let rows_first = to_height < height && to_width * height > width * to_height;
    let of = Rows { pixels, line: width * channels };
    let values = columns.start * channels..columns.end * channels;
    let mut by_width = Weights::new(width, to_width, &columns, filter);
    let mut by_height = Weights::new(height, to_height, &rows, filter);
    match (to_width == width, to_height == height) {
        (true, true) => {
            let lines = pixels.chunks_exact(of.line).skip(rows.start).take(rows.len());
            lines.flat_map(|line| &line[values.clone()]).copied().collect()
        }
        (true, false) => down(of, values.clone(), &by_height),
        (false, true) => across(of, rows.clone(), channels, &by_width),
        (false, false) if rows_first => {
            let needed = by_width.needed();
            by_width.count_from(needed.start);
            let shorter = down(of, needed.start * channels..needed.end * channels, &by_height);
            let of = Rows { pixels: &shorter, line: needed.len() * channels };
            let out = across(of, 0..rows.len(), channels, &by_width);
            V::give_back(shorter);
            out
        }
        (false, false) => {
            let needed = by_height.needed();
            by_height.count_from(needed.start);
            let narrower = across(of, needed, channels, &by_width);
            let of = Rows { pixels: &narrower, line: columns.len() * channels };
            let out = down(of, 0..columns.len() * channels, &by_height);
            V::give_back(narrower);
            out
        }
    }
}

/// What [`resize`] does as steps, for rows along axis `rows` and pixels of a row along the next one.
pub fn steps(
    [height, width]: [usize; 2],
    [to_height, to_width]: [usize; 2],
    rows: usize,
    filter: Filter,
    bytes: bool,
) -> Vec<ValueStep> {
    let step = |axis: usize, from: usize, to: usize| {
        let all = Weights::new(from, to, &(0..to), filter);
        let weighted = all.bounds.iter().zip(all.weights.chunks_exact(all.stride));
        let weights = weighted.map(|((first, count), weights)| {
            let weights = weights[..*count].iter();
            let weights = weights.map(|weight| match bytes {
                true => f64::from(<u8 as Value>::weight(*weight)),
                false => *weight,
            });
            Weighted { first: *first, weights: weights.collect() }
        });
        ValueStep::Mix { axis, weights: weights.collect(), bits: if bytes { PRECISION } else { 0 } }
    };
    let (down, across) = ((rows, height, to_height), (rows + 1, width, to_width));
    let rows_first = to_height < height && to_width * height > width * to_height;
    let order = if rows_first { [down, across] } else { [across, down] };
    let changed = order.into_iter().filter(|(_, from, to)| from != to);
    changed.map(|(axis, from, to)| step(axis, from, to)).collect()
}

/// The size that keeps the ratio of `size` and has `shorter` as its shorter side.
pub fn with_shorter([height, width]: [usize; 2], shorter: usize) -> [usize; 2] {
    let longer = |long: usize, short: usize| (long * shorter / short).max(1);
    if width <= height {
        [longer(height, width), shorter]
    } else {
        [shorter, longer(width, height)]
    }
}

/// As [`resize_part`] for pixels of red, green, blue and alpha, as Pillow does it: colours count as much as they are opaque,
/// so that those of transparent pixels do not show.
pub fn resize_with_alpha(
    pixels: &[u8],
    from: [usize; 2],
    to: [usize; 2],
    part: [Range<usize>; 2],
    filter: Filter,
) -> Vec<u8> {
    if filter == Filter::Nearest {
        return resize_part(pixels, from, 4, to, part, filter);
    }
    let mut multiplied = pixels.to_vec();
    for pixel in multiplied.chunks_exact_mut(4) {
        let alpha = u32::from(pixel[3]);
        for colour in &mut pixel[..3] {
            let product = u32::from(*colour) * alpha + 128;
            *colour = ((product + (product >> 8)) >> 8) as u8;
        }
    }
    let mut resized = resize_part(&multiplied, from, 4, to, part, filter);
    for pixel in resized.chunks_exact_mut(4) {
        let alpha = u32::from(pixel[3]);
        if alpha == 0 || alpha == 255 {
            continue;
        }
        for colour in &mut pixel[..3] {
            *colour = (255 * u32::from(*colour) / alpha).min(255) as u8;
        }
    }
    resized
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn bytes_are_those_of_pillow_within_one_of_255() {
        for case in reference::cases("resize") {
            let filter = match case["filter"].as_str().unwrap() {
                "nearest" => Filter::Nearest,
                "box" => Filter::Box,
                "bilinear" => Filter::Bilinear,
                "bicubic" => Filter::Bicubic,
                "lanczos" => Filter::Lanczos,
                other => panic!("{other}"),
            };
            let (size, channels) =
                (reference::size(&case["from"]), reference::number(&case["channels"]));
            let pixels = reference::pixels(size, channels);
            let to = reference::size(&case["to"]);
            let expected = reference::bytes(&case["pixels"]);
            let found = resize(&pixels, size, channels, to, filter);
            let far = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            // Which direction Pillow takes first differs by version.
            let most = u8::from(to[0] != size[0] && to[1] != size[1] && filter != Filter::Nearest);
            assert!(found.len() == expected.len() && far <= Some(most), "{far:?} {case}");
            // Filters that overshoot are cut off in between for bytes.
            if matches!(filter, Filter::Bicubic | Filter::Lanczos) {
                continue;
            }
            let unit: Vec<f32> = pixels.iter().map(|byte| f32::from(*byte)).collect();
            let floating = resize(&unit, size, channels, to, filter);
            for (found, expected) in floating.iter().zip(&expected) {
                let difference = found.clamp(0.0, 255.0) - f32::from(*expected);
                assert!(difference.abs() <= 1.3, "{found} {expected} {filter:?}");
            }
        }
    }

    #[test]
    fn a_part_is_that_of_the_whole() {
        // Both orders of the directions, only one of them, and neither.
        for (from, to) in [
            ([37, 50], [22, 29]),
            ([50, 37], [29, 23]),
            ([20, 20], [33, 41]),
            ([20, 30], [20, 11]),
            ([20, 30], [7, 30]),
            ([20, 60], [20, 60]),
        ] {
            for channels in [1, 3, 4, 5] {
                for filter in [Filter::Bilinear, Filter::Lanczos, Filter::Nearest] {
                    let pixels = reference::pixels(from, channels);
                    let whole = resize(&pixels, from, channels, to, filter);
                    let (rows, columns) = (2..to[0] - 3, 1..to[1] - 1);
                    let ranges = [rows.clone(), columns.clone()];
                    let part = resize_part(&pixels, from, channels, to, ranges, filter);
                    let expected: Vec<u8> = rows
                        .flat_map(|row| {
                            let at = |column| (row * to[1] + column) * channels;
                            whole[at(columns.start)..at(columns.end)].to_vec()
                        })
                        .collect();
                    assert_eq!(part, expected, "{from:?} to {to:?}, {channels}, {filter:?}");
                }
            }
        }
    }

    #[test]
    fn the_shorter_side_gets_its_size() {
        assert_eq!(with_shorter([375, 500], 256), [256, 341]);
        assert_eq!(with_shorter([500, 375], 256), [341, 256]);
        assert_eq!(with_shorter([10, 10], 4), [4, 4]);
    }
}
