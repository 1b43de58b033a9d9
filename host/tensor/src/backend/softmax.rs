//! Softmax along rows, and the cross-entropy of logits.

use candle_core::{DType, Shape};

use super::{Function, Pair, Product, reduction::shifted_exponentials};
use crate::error::{Result, TensorError};
use crate::value::Value;

/// What rows of logits are compared with.
#[derive(Clone, Debug)]
pub enum Targets {
    /// One label (u32) a row; rows with `u32::MAX` are ignored.
    Labels(Value),
    /// A row of probabilities for each row of logits.
    Probabilities(Value),
}

/// A cross-entropy of rows of logits.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    /// Length of a row.
    pub classes: usize,
    /// Share of the target that is spread over all classes.
    pub smoothing: f64,
    /// Factor of all gradients.
    pub factor: f64,
}

/// Softmax and cross-entropy.
pub trait Softmax: Product {
    /// Softmax of rows of `length`, or its logarithm.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn softmax(&self, rows: &Value, length: usize, log: bool) -> Result<Value> {
        if rows.count() == 0 {
            return Ok(rows.clone());
        }
        let x = rows.reshape((rows.count() / length, length))?;
        let (exponentials, shift) = shifted_exponentials(self, &x)?;
        let sums = self.sum(&exponentials, &[1], None, shift.shape())?;
        let out = if log {
            let total = self.map(Function::Log, &sums)?;
            let total = self.zip(Pair::Add, &total, &shift, shift.shape())?;
            self.zip(Pair::Sub, &x, &total, x.shape())?
        } else {
            self.zip(Pair::Div, &exponentials, &sums, x.shape())?
        };
        out.reshape(rows.shape().clone())
    }

    /// The gradient of the rows from that of `y`, their [`softmax`](Self::softmax).
    ///
    /// # Errors
    /// If the element type is not floating.
    fn softmax_gradient(
        &self,
        y: &Value,
        gradient: &Value,
        length: usize,
        log: bool,
    ) -> Result<Value> {
        if y.count() == 0 {
            return Ok(gradient.clone());
        }
        let matrix = Shape::from((y.count() / length, length));
        let column = Shape::from((y.count() / length, 1));
        let (y_rows, g) = (y.reshape(matrix.clone())?, gradient.reshape(matrix.clone())?);
        let out = if log {
            let sums = self.sum(&g, &[1], None, &column)?;
            let shares = self.map(Function::Exp, &y_rows)?;
            let part = self.zip(Pair::Mul, &shares, &sums, &matrix)?;
            self.zip(Pair::Sub, &g, &part, &matrix)?
        } else {
            let products = self.zip(Pair::Mul, &y_rows, &g, &matrix)?;
            let sums = self.sum(&products, &[1], None, &column)?;
            let distance = self.zip(Pair::Sub, &g, &sums, &matrix)?;
            self.zip(Pair::Mul, &y_rows, &distance, &matrix)?
        };
        out.reshape(y.shape().clone())
    }

    /// Labels in a u32 or i64 tensor of any layout as [`Targets::Labels`], and how many are not
    /// ignored.
    ///
    /// # Errors
    /// If a label is neither `ignored` nor below `classes`, naming it.
    fn labels(&self, x: &Value, classes: usize, ignored: Option<i64>) -> Result<(Value, usize)>;

    /// The share of each class in each row's target, `[rows, classes]`, with smoothing: `(1 -
    /// smoothing) p + smoothing / classes`; and for labels which rows are not ignored, `[rows, 1]` as
    /// u8. Ignored rows have the shares of class 0.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn soft_targets(
        &self,
        targets: &Targets,
        classes: usize,
        smoothing: f64,
        dtype: DType,
    ) -> Result<(Value, Option<Value>)> {
        let (shares, counted) = match targets {
            Targets::Probabilities(p) => (p.reshape((p.count() / classes, classes))?, None),
            Targets::Labels(labels) => {
                let rows = labels.count();
                let labels = labels.reshape(rows)?;
                let ignored = self.fill(DType::U32, &Shape::from(()), f64::from(u32::MAX))?;
                let counted = self.zip(Pair::Ne, &labels, &ignored, labels.shape())?;
                let first = self.fill(DType::U32, &Shape::from(()), 0.0)?;
                let labels = self.select(&counted, &labels, &first, labels.shape())?;
                (self.one_hot(&labels, classes, dtype)?, Some(counted.reshape((rows, 1))?))
            }
        };
        let smooth = Function::Affine(1.0 - smoothing, smoothing / classes as f64);
        Ok((self.map(smooth, &shares)?, counted))
    }

    /// The loss of each row, `[rows]`, and the gradient of the logits for a gradient of 1 of each
    /// loss, times the factor.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn cross_entropy(
        &self,
        settings: &CrossEntropy,
        logits: &Value,
        targets: &Targets,
    ) -> Result<(Value, Value)> {
        let CrossEntropy { classes, smoothing, factor } = *settings;
        let dtype = logits.dtype();
        let rows = logits.count() / classes;
        let (matrix, column) = (Shape::from((rows, classes)), Shape::from((rows, 1)));
        let x = logits.reshape(matrix.clone())?;
        let zero = self.fill(dtype, &Shape::from(()), 0.0)?;
        let (targets, counted) = self.soft_targets(targets, classes, smoothing, dtype)?;
        let logs = self.softmax(&x, classes, true)?;
        let products = self.zip(Pair::Mul, &targets, &logs, &matrix)?;
        // A class without a share counts 0, though the logarithm may be infinite.
        let is_used = self.zip(Pair::Ne, &targets, &zero, &matrix)?;
        let products = self.select(&is_used, &products, &zero, &matrix)?;
        let losses = self.map(Function::Neg, &self.sum(&products, &[1], None, &column)?)?;
        let mass = self.sum(&targets, &[1], None, &column)?;
        let shares = self.map(Function::Exp, &logs)?;
        let expected = self.zip(Pair::Mul, &shares, &mass, &matrix)?;
        let full = self.zip(Pair::Sub, &expected, &targets, &matrix)?;
        let full = self.map(Function::Scale(factor), &full)?;
        let (losses, full) = match counted {
            None => (losses, full),
            Some(counted) => (
                self.select(&counted, &losses, &zero, &column)?,
                self.select(&counted, &full, &zero, &matrix)?,
            ),
        };
        Ok((losses.reshape(rows)?, full.reshape(logits.shape().clone())?))
    }
}

/// The error for a label that is not a class.
#[cold]
#[inline(never)]
pub(crate) fn label_error(label: i64, classes: usize) -> Box<TensorError> {
    TensorError::request(format!(
        "label {label} is out of range: the logits have {classes} classes"
    ))
}
