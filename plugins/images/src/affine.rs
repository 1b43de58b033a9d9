//! Affine maps of images, as Pillow's `Image.transform`: pixels from outside are 0.

use fluxbay_plugin::prelude::*;

use crate::planes::Value;

choice! {
    /// How a value between pixels is found.
    pub enum Interpolation {
        /// The nearest pixel.
        Nearest,
        /// Linear interpolation between four pixels.
        Bilinear,
    }
}

/// The pixel at (x, y) comes from (a x + b y + c, d x + e y + f).
#[derive(Clone, Copy, Debug)]
pub struct Matrix(pub [f64; 6]);

impl Matrix {
    /// A rotation about the middle, counterclockwise by an angle in degrees.
    pub fn rotation(degrees: f64, height: usize, width: usize) -> Matrix {
        let angle = -degrees.to_radians();
        // Exact for quarter turns, as Pillow rounds.
        let round = |value: f64| (value * 1e15).round() / 1e15;
        let (cos, sin) = (round(angle.cos()), round(angle.sin()));
        let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
        Matrix([cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y])
    }

    /// A shear: lines move by this part of their distance from the first row or column.
    pub fn shear(along_x: f64, along_y: f64) -> Matrix {
        Matrix([1.0, along_x, 0.0, along_y, 1.0, 0.0])
    }

    /// A move by pixels: to the right and down.
    pub fn translation(x: f64, y: f64) -> Matrix {
        Matrix([1.0, 0.0, -x, 0.0, 1.0, -y])
    }
}

/// Maps every plane of an image; the result has the same size.
pub fn apply<V: Value>(
    from: &[V],
    [_, height, width]: [usize; 3],
    to: &mut [V],
    matrix: &Matrix,
    interpolation: Interpolation,
) {
    let [a, b, c, d, e, f] = matrix.0;
    let planes = from.chunks_exact(height * width).zip(to.chunks_exact_mut(height * width));
    for (plane, out) in planes {
        for (at, out) in out.iter_mut().enumerate() {
            let (x, y) = ((at % width) as f64 + 0.5, (at / width) as f64 + 0.5);
            let (x, y) = (a * x + b * y + c, d * x + e * y + f);
            let inside = (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y);
            *out = match interpolation {
                _ if !inside => V::default(),
                Interpolation::Nearest => plane[y as usize * width + x as usize],
                Interpolation::Bilinear => V::from_unit(between(plane, [height, width], [y, x])),
            };
        }
    }
}

/// The value at a place between pixels, whose middles lie at 0.5; edges are repeated.
fn between<V: Value>(plane: &[V], [height, width]: [usize; 2], [y, x]: [f64; 2]) -> f32 {
    let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
    let (dx, dy) = ((x - 0.5 - left) as f32, (y - 0.5 - top) as f32);
    let pixel = |row: f64, column: f64| {
        let row = row.clamp(0.0, (height - 1) as f64) as usize;
        let column = column.clamp(0.0, (width - 1) as f64) as usize;
        plane[row * width + column].unit()
    };
    let line = |row: f64| {
        let (one, other) = (pixel(row, left), pixel(row, left + 1.0));
        one + (other - one) * dx
    };
    let (above, below) = (line(top), line(top + 1.0));
    above + (below - above) * dy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    fn compare(case: &serde_json::Value, matrix: &Matrix) {
        let interpolation = match case["filter"].as_str().unwrap() {
            "nearest" => Interpolation::Nearest,
            _ => Interpolation::Bilinear,
        };
        let size = reference::size(&case["size"]);
        let planes = reference::planes(size, 3);
        let mut found = vec![0; planes.len()];
        apply(&planes, [3, size[0], size[1]], &mut found, matrix, interpolation);
        let expected = reference::to_planes(&reference::bytes(&case["pixels"]), 3);
        // Pillow cuts interpolated bytes off instead of rounding them.
        let most = u8::from(interpolation == Interpolation::Bilinear);
        let far = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(most), "{far:?} {case}");
    }

    #[test]
    fn maps_and_rotations_equal_those_of_pillow() {
        for case in reference::cases("affine") {
            let numbers: Vec<f64> =
                case["matrix"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
            compare(&case, &Matrix(numbers.try_into().unwrap()));
        }
        for case in reference::cases("rotate") {
            let [height, width] = reference::size(&case["size"]);
            compare(&case, &Matrix::rotation(case["angle"].as_f64().unwrap(), height, width));
        }
    }

    #[test]
    fn translations_and_shears_move_pixels_the_way_they_say() {
        let from: Vec<u8> = (1..=9).collect();
        let mapped = |matrix| {
            let mut to = vec![0; 9];
            apply(&from, [1, 3, 3], &mut to, &matrix, Interpolation::Nearest);
            to
        };
        assert_eq!(mapped(Matrix::translation(1.0, 0.0)), [0, 1, 2, 0, 4, 5, 0, 7, 8]);
        assert_eq!(mapped(Matrix::translation(0.0, -1.0)), [4, 5, 6, 7, 8, 9, 0, 0, 0]);
        assert_eq!(mapped(Matrix::shear(1.0, 0.0)), [2, 3, 0, 6, 0, 0, 0, 0, 0]);
    }
}
