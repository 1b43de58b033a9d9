//! Transforms that move pixels: resize, crops, flip, rotation.

use fluxbay_plugin::{prelude::*, steps::ValueStep};

use crate::{
    affine::{self, Interpolation, Matrix},
    planes::{self, Value, configured, with_values},
    resample::{self, Filter},
};

/// Cuts a window out of an image and resizes it to the size of the output.
fn cut<V: Value>(
    from: &[V],
    [_, height, width]: [usize; 3],
    window: Window,
    to: &mut [V],
    size: [usize; 2],
    filter: Filter,
) {
    let out = to.chunks_exact_mut(size[0] * size[1]);
    for (plane, out) in from.chunks_exact(height * width).zip(out) {
        let rows = plane.chunks_exact(width).skip(window.top).take(window.height);
        let cut: Vec<V> =
            rows.flat_map(|row| &row[window.left..window.left + window.width]).copied().collect();
        if [window.height, window.width] == size {
            out.copy_from_slice(&cut);
        } else {
            let resized = resample::resize(&cut, [window.height, window.width], 1, size, filter);
            out.copy_from_slice(&resized);
        }
    }
}

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Window {
    /// The middle of an image.
    fn middle(height: usize, width: usize, of: [usize; 2]) -> Window {
        Window { top: (height - of[0]) / 2, left: (width - of[1]) / 2, height: of[0], width: of[1] }
    }
}

config! {
    /// The new size.
    pub struct ResizeConfig {
        /// Height and width. One number is the length of the shorter side; the other one keeps the
        /// ratio.
        size: Vec<usize>,
        /// How pixels are interpolated. Reductions are antialiased.
        filter: Filter = "bilinear",
    }
}

/// The transform `resize`.
pub struct Resize {
    config: ResizeConfig,
}

impl Component for Resize {
    type Config = ResizeConfig;

    fn new(config: ResizeConfig, _: &mut Setup) -> Result<Self> {
        planes::size(&config.size)?;
        Ok(Resize { config })
    }
}

impl Resize {
    fn size(&self, height: usize, width: usize) -> Result<[usize; 2]> {
        match self.config.size[..] {
            [shorter] => Ok(resample::with_shorter([height, width], shorter)),
            _ => planes::size(&self.config.size),
        }
    }
}

impl Transform for Resize {
    fn describe(&self, input: &Field) -> Result<Field> {
        let [_, height, width] = planes::dims(input)?;
        Ok(planes::with_size(input, self.size(height, width)?))
    }

    fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, _: &mut Draws) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let [_, height, width] = dims;
        let size = self.size(height, width)?;
        let window = Window { top: 0, left: 0, height, width };
        with_values!(input, output, |from, to| cut(
            from,
            dims,
            window,
            to,
            size,
            self.config.filter
        ));
        Ok(())
    }

    fn steps(&self, input: &Field) -> Result<Option<Vec<ValueStep>>> {
        let [_, height, width] = planes::dims(input)?;
        let (size, bytes) = (self.size(height, width)?, input.dtype == DType::U8);
        Ok(Some(resample::steps([height, width], size, 1, self.config.filter, bytes)))
    }
}

config! {
    /// The new size.
    pub struct CropConfig {
        /// Height and width; one number for a square.
        size: Vec<usize>,
    }
}

/// The transform `center-crop`.
pub struct CenterCrop {
    size: [usize; 2],
}

impl Component for CenterCrop {
    type Config = CropConfig;

    fn new(config: CropConfig, _: &mut Setup) -> Result<Self> {
        Ok(CenterCrop { size: planes::size(&config.size)? })
    }
}

/// That a window of `size` fits into an image.
fn check_fits(size: [usize; 2], height: usize, width: usize, help: &str) -> Result<()> {
    if size[0] > height || size[1] > width {
        bail!("the size {size:?} does not fit into images of {height} x {width} pixels; {help}");
    }
    Ok(())
}

impl Transform for CenterCrop {
    fn describe(&self, input: &Field) -> Result<Field> {
        let [_, height, width] = planes::dims(input)?;
        check_fits(self.size, height, width, "resize them before, or choose a smaller size")?;
        Ok(planes::with_size(input, self.size))
    }

    fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, _: &mut Draws) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let window = Window::middle(dims[1], dims[2], self.size);
        with_values!(input, output, |from, to| {
            cut(from, dims, window, to, self.size, Filter::Bilinear)
        });
        Ok(())
    }

    fn steps(&self, input: &Field) -> Result<Option<Vec<ValueStep>>> {
        let [_, height, width] = planes::dims(input)?;
        let window = Window::middle(height, width, self.size);
        Ok(Some(vec![
            ValueStep::Cut { axis: 1, start: window.top, size: window.height },
            ValueStep::Cut { axis: 2, start: window.left, size: window.width },
        ]))
    }
}

choice! {
    /// What surrounds an image.
    pub enum Padding {
        /// Zeros.
        Zeros,
        /// The outermost pixels, repeated.
        Edge,
        /// The image, mirrored at its outermost pixels.
        Reflect,
    }
}

config! {
    /// The window.
    pub struct RandomCropConfig {
        /// Height and width; one number for a square.
        size: Vec<usize>,
        /// Pixels that are added on each side before.
        padding: usize = 0 => 0..=1024,
        /// What is added.
        padding_mode: Padding = "zeros",
    }
}

/// The transform `random-crop`.
pub struct RandomCrop {
    size: [usize; 2],
    padding: usize,
    mode: Padding,
}

impl Component for RandomCrop {
    type Config = RandomCropConfig;

    fn new(config: RandomCropConfig, _: &mut Setup) -> Result<Self> {
        let RandomCropConfig { size, padding, padding_mode } = config;
        Ok(RandomCrop { size: planes::size(&size)?, padding, mode: padding_mode })
    }
}

/// The place within `size` that a place outside of it shows; none for zeros.
fn shown(at: isize, size: usize, mode: Padding) -> Option<usize> {
    let last = size as isize - 1;
    if (0..=last).contains(&at) {
        return Some(at as usize);
    }
    match mode {
        Padding::Zeros => None,
        Padding::Edge => Some(at.clamp(0, last) as usize),
        Padding::Reflect if last == 0 => Some(0),
        Padding::Reflect => {
            let at = at.rem_euclid(2 * last);
            Some(at.min(2 * last - at) as usize)
        }
    }
}

impl RandomCrop {
    fn window<V: Value>(
        &self,
        from: &[V],
        [_, height, width]: [usize; 3],
        to: &mut [V],
        [top, left]: [isize; 2],
    ) {
        let out = to.chunks_exact_mut(self.size[0] * self.size[1]);
        for (plane, out) in from.chunks_exact(height * width).zip(out) {
            for (y, out) in out.chunks_exact_mut(self.size[1]).enumerate() {
                let row = shown(top + y as isize, height, self.mode);
                for (x, out) in out.iter_mut().enumerate() {
                    let column = shown(left + x as isize, width, self.mode);
                    *out = match (row, column) {
                        (Some(row), Some(column)) => plane[row * width + column],
                        _ => V::default(),
                    };
                }
            }
        }
    }
}

impl Transform for RandomCrop {
    fn describe(&self, input: &Field) -> Result<Field> {
        let [_, height, width] = planes::dims(input)?;
        let padded = [height, width].map(|side| side + 2 * self.padding);
        check_fits(self.size, padded[0], padded[1], "choose a smaller size, or `padding`")?;
        Ok(planes::with_size(input, self.size))
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let mut start = |side: usize, size: usize| {
            draws.below(side + 2 * self.padding - size + 1) as isize - self.padding as isize
        };
        let start = [start(dims[1], self.size[0]), start(dims[2], self.size[1])];
        with_values!(input, output, |from, to| self.window(from, dims, to, start));
        Ok(())
    }
}

config! {
    /// The window, and the size that it is brought to.
    pub struct RandomResizedCropConfig {
        /// Height and width of the result; one number for a square.
        size: Vec<usize>,
        /// Smallest part of the image's area that a window has.
        smallest: f64 = 0.08 => 0.0..=1.0,
        /// Largest part of the image's area that a window has.
        largest: f64 = 1.0 => 0.0..=1.0,
        /// Smallest ratio of width to height of a window.
        lowest_ratio: f64 = 0.75 => 0.01..=1.0,
        /// Largest ratio of width to height of a window.
        highest_ratio: f64 = 1.3333333333333333 => 1.0..=100.0,
        /// How pixels are interpolated. Reductions are antialiased.
        filter: Filter = "bilinear",
    }
}

/// The transform `random-resized-crop`.
pub struct RandomResizedCrop {
    config: RandomResizedCropConfig,
    size: [usize; 2],
}

impl Component for RandomResizedCrop {
    type Config = RandomResizedCropConfig;

    fn new(config: RandomResizedCropConfig, _: &mut Setup) -> Result<Self> {
        if config.smallest > config.largest {
            bail!("`smallest` is {}, more than `largest` = {}", config.smallest, config.largest);
        }
        let size = planes::size(&config.size)?;
        Ok(RandomResizedCrop { config, size })
    }
}

/// Windows that are tried before the middle is taken.
const ATTEMPTS: usize = 10;

impl RandomResizedCrop {
    /// A window of random area and ratio, at a random place.
    fn window(&self, height: usize, width: usize, draws: &mut Draws) -> Window {
        let RandomResizedCropConfig { smallest, largest, lowest_ratio, highest_ratio, .. } =
            self.config;
        let area = (height * width) as f64;
        for _ in 0..ATTEMPTS {
            let wanted = area * draws.between(smallest, largest);
            let ratio = draws.between(lowest_ratio.ln(), highest_ratio.ln()).exp();
            let w = (wanted * ratio).sqrt().round() as usize;
            let h = (wanted / ratio).sqrt().round() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let (top, left) = (draws.below(height - h + 1), draws.below(width - w + 1));
                return Window { top, left, height: h, width: w };
            }
        }
        // The largest window in the middle with an allowed ratio.
        let ratio = width as f64 / height as f64;
        let (h, w) = if ratio < lowest_ratio {
            ((width as f64 / lowest_ratio).round() as usize, width)
        } else if ratio > highest_ratio {
            (height, (height as f64 * highest_ratio).round() as usize)
        } else {
            (height, width)
        };
        Window::middle(height, width, [h.clamp(1, height), w.clamp(1, width)])
    }
}

impl Transform for RandomResizedCrop {
    fn describe(&self, input: &Field) -> Result<Field> {
        planes::dims(input)?;
        Ok(planes::with_size(input, self.size))
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let window = self.window(dims[1], dims[2], draws);
        with_values!(input, output, |from, to| {
            cut(from, dims, window, to, self.size, self.config.filter)
        });
        Ok(())
    }
}

config! {
    /// How likely it is.
    pub struct FlipConfig {
        /// Probability with which left and right are exchanged.
        horizontal: f64 = 0.5 => 0.0..=1.0,
        /// Probability with which top and bottom are exchanged.
        vertical: f64 = 0.0 => 0.0..=1.0,
    }
}

configured! {
    /// The transform `flip`.
    Flip: FlipConfig
}

impl Transform for Flip {
    fn describe(&self, input: &Field) -> Result<Field> {
        planes::same(input)
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let [_, height, width] = planes::dims_of(input)?;
        let across = draws.chance(self.config.horizontal);
        let down = draws.chance(self.config.vertical);
        with_values!(input, output, |from, to| {
            to.copy_from_slice(from);
            if down {
                for plane in to.chunks_exact_mut(height * width) {
                    for y in 0..height / 2 {
                        let (above, below) = plane.split_at_mut((height - 1 - y) * width);
                        above[y * width..][..width].swap_with_slice(&mut below[..width]);
                    }
                }
            }
            if across {
                to.chunks_exact_mut(width).for_each(<[_]>::reverse);
            }
        });
        Ok(())
    }
}

config! {
    /// The angles.
    pub struct RotationConfig {
        /// Largest angle in degrees, in both directions.
        degrees: f64 = 15.0 => 0.0..=180.0,
        /// How pixels are interpolated.
        interpolation: Interpolation = "bilinear",
    }
}

configured! {
    /// The transform `rotation`.
    Rotation: RotationConfig
}

impl Transform for Rotation {
    fn describe(&self, input: &Field) -> Result<Field> {
        planes::same(input)
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let angle = draws.between(-self.config.degrees, self.config.degrees);
        let matrix = Matrix::rotation(angle, dims[1], dims[2]);
        with_values!(input, output, |from, to| {
            affine::apply(from, dims, to, &matrix, self.config.interpolation)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::{Config as _, transformed};

    use super::*;

    fn field(shape: &[usize]) -> Field {
        Field::new("xs", DType::U8, shape)
    }

    fn run<T: Transform>(transform: &T, shape: &[usize], values: &[u8], seed: u64) -> Vec<u8> {
        transformed(transform, &field(shape), values, &mut Draws::new(seed)).unwrap().1
    }

    #[test]
    fn flips_exchange_sides() {
        let values: Vec<u8> = (0..12).collect();
        let flip = |horizontal, vertical| Flip { config: FlipConfig { horizontal, vertical } };
        let across = run(&flip(1.0, 0.0), &[2, 2, 3], &values, 1);
        assert_eq!(across, [2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9]);
        let down = run(&flip(0.0, 1.0), &[2, 2, 3], &values, 1);
        assert_eq!(down, [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
        assert_eq!(run(&flip(0.0, 0.0), &[4, 3], &values, 1), values);
        let half = flip(0.5, 0.0);
        let flipped =
            (0..1000).filter(|seed| run(&half, &[1, 2], &[0, 1], *seed) == [1, 0]).count();
        assert!((440..560).contains(&flipped), "{flipped}");
    }

    #[test]
    fn the_middle_is_cut_out_and_too_large_a_size_is_refused() {
        let values: Vec<u8> = (0..20).collect();
        let crop = CenterCrop { size: [2, 3] };
        assert_eq!(run(&crop, &[4, 5], &values, 1), [6, 7, 8, 11, 12, 13]);
        let error = crop.describe(&field(&[1, 5, 5])).map(|field| field.shape);
        assert_eq!(error.unwrap(), [1, 2, 3]);
        let error = crop.describe(&field(&[1, 9])).unwrap_err();
        assert!(error.message().contains("does not fit into images of 1 x 9"), "{error}");
        let error = crop.describe(&field(&[9])).unwrap_err();
        assert!(error.message().contains("an image is needed"), "{error}");
    }

    #[test]
    fn random_crops_are_windows_of_the_padded_image_and_reach_every_place() {
        let values: Vec<u8> = (1..=9).collect();
        let config = |mode| RandomCrop { size: [3, 3], padding: 1, mode };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let crop = run(&config(Padding::Zeros), &[3, 3], &values, seed);
            seen.insert(crop);
        }
        assert_eq!(seen.len(), 9, "three places in each direction");
        assert!(seen.contains(&[0, 0, 0, 0, 1, 2, 0, 4, 5][..]) && seen.contains(&values));
        let lines = |mode| (-3..6).map(|at| shown(at, 3, mode)).collect::<Vec<_>>();
        let numbers = |line: [usize; 9]| line.map(Some).to_vec();
        assert_eq!(lines(Padding::Reflect), numbers([1, 2, 1, 0, 1, 2, 1, 0, 1]));
        assert_eq!(lines(Padding::Edge), numbers([0, 0, 0, 0, 1, 2, 2, 2, 2]));
    }

    #[test]
    fn resized_windows_keep_to_their_area_and_ratio() {
        let config = RandomResizedCropConfig::from_json("{\"size\":[8]}").unwrap();
        let crop = RandomResizedCrop { config, size: [8, 8] };
        let mut areas = Vec::new();
        for seed in 0..500 {
            let window = crop.window(60, 80, &mut Draws::new(seed));
            assert!(window.top + window.height <= 60 && window.left + window.width <= 80);
            let ratio = window.width as f64 / window.height as f64;
            assert!((0.7..1.43).contains(&ratio), "{window:?}");
            areas.push((window.height * window.width) as f64 / 4800.0);
        }
        let mean = areas.iter().sum::<f64>() / 500.0;
        assert!(areas.iter().all(|area| *area > 0.07) && (0.4..0.6).contains(&mean), "{mean}");
        // No window of an allowed ratio with so large an area exists: the middle is taken.
        let window = crop.window(2, 100, &mut Draws::new(1));
        assert!(window.height == 2 || window.width <= 3, "{window:?}");
        let found = run(&crop, &[3, 60, 80], &[7; 3 * 60 * 80], 1);
        assert_eq!(found, [7; 3 * 64]);
    }

    #[test]
    fn resize_takes_a_size_or_the_shorter_side() {
        let resize = |size: &str| Resize { config: ResizeConfig::from_json(size).unwrap() };
        let shape = |size: &str| resize(size).describe(&field(&[3, 40, 80])).unwrap().shape;
        assert_eq!(shape("{\"size\":[20]}"), [3, 20, 40]);
        assert_eq!(shape("{\"size\":[20,30]}"), [3, 20, 30]);
        assert_eq!(run(&resize("{\"size\":[2,2]}"), &[1, 4, 4], &[9; 16], 1), [9; 4]);
    }

    #[test]
    fn a_rotation_by_nothing_changes_nothing() {
        let values: Vec<u8> = (0..24).collect();
        let still = Rotation { config: RotationConfig::from_json("{\"degrees\":0}").unwrap() };
        assert_eq!(run(&still, &[2, 3, 4], &values, 1), values);
        let turned = Rotation { config: RotationConfig::from_json("{\"degrees\":90}").unwrap() };
        assert_ne!(run(&turned, &[4, 6], &values, 1), run(&turned, &[4, 6], &values, 2));
    }
}
