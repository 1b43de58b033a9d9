//! Shapes and dimensions as arguments.

/// A shape as an argument: a number, a tuple, an array or a slice of sizes. `()` is that of a scalar.
pub trait Shape {
    /// The sizes.
    fn sizes(&self) -> Vec<i64>;
}

impl Shape for () {
    fn sizes(&self) -> Vec<i64> {
        Vec::new()
    }
}

impl Shape for usize {
    fn sizes(&self) -> Vec<i64> {
        vec![*self as i64]
    }
}

impl<const N: usize> Shape for [usize; N] {
    fn sizes(&self) -> Vec<i64> {
        self.as_slice().sizes()
    }
}

impl Shape for [usize] {
    fn sizes(&self) -> Vec<i64> {
        self.iter().map(|size| *size as i64).collect()
    }
}

impl Shape for Vec<usize> {
    fn sizes(&self) -> Vec<i64> {
        self.as_slice().sizes()
    }
}

impl<T: Shape + ?Sized> Shape for &T {
    fn sizes(&self) -> Vec<i64> {
        (**self).sizes()
    }
}

macro_rules! tuples {
    ($($name:ident),+) => {
        impl Shape for ($(tuples!(@ $name),)+) {
            #[allow(non_snake_case)]
            fn sizes(&self) -> Vec<i64> {
                let ($($name,)+) = *self;
                vec![$($name as i64),+]
            }
        }
    };
    (@ $name:ident) => { usize };
}

tuples!(a);
tuples!(a, b);
tuples!(a, b, c);
tuples!(a, b, c, d);
tuples!(a, b, c, d, e);

/// Dimensions as an argument: one, or several in an array. Negative dimensions count from the end:
/// `-1` is the last. An empty array means all dimensions.
pub trait Dims {
    /// The dimensions.
    fn dims(&self) -> Vec<i64>;
}

impl Dims for i64 {
    fn dims(&self) -> Vec<i64> {
        vec![*self]
    }
}

impl<const N: usize> Dims for [i64; N] {
    fn dims(&self) -> Vec<i64> {
        self.to_vec()
    }
}

impl Dims for &[i64] {
    fn dims(&self) -> Vec<i64> {
        self.to_vec()
    }
}
