//! Writes and reads named tensors in the safetensors format.
//!
//! Equal tensors always give equal bytes: they are sorted by element size, largest first, so that
//! every tensor is aligned, then by name.

use std::io;

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::Metadata, tensor::TensorInfo};

use crate::tensor::with_bytes;

/// Bytes of a header are a multiple of this, so that the data after it is aligned.
const ALIGNMENT: usize = 8;

/// Errors of writing and reading tensors.
#[derive(Debug, thiserror::Error)]
pub enum TensorsError {
    /// The bytes are not a safetensors file.
    #[error("is not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor cannot be copied from or to its device.
    #[error("tensor `{name}`: {error}")]
    Tensor {
        /// Its name.
        name: String,
        /// Error of candle.
        error: candle_core::Error,
    },
    /// Two tensors with one name.
    #[error("two tensors have the name `{0}`")]
    TwoTensors(String),
    /// An element type that files or tensors cannot have.
    #[error("tensor `{name}` has element type {dtype}, which is not supported")]
    ElementType {
        /// Its name.
        name: String,
        /// The type.
        dtype: String,
    },
    /// The header could not be written.
    #[error("the header cannot be written: {0}")]
    Header(#[from] serde_json::Error),
}

/// A safetensors file whose tensors are not copied yet.
#[derive(Clone, Debug)]
pub struct Encoded {
    header: Vec<u8>,
    /// Contiguous, on the CPU, in the order of the file.
    tensors: Vec<Tensor>,
    len: u64,
}

impl Encoded {
    /// Length of the file in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a file always has a header")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Calls `take` with the bytes of the file in pieces.
    ///
    /// # Errors
    /// Errors of `take`, or a tensor that cannot be read.
    pub fn each(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        take(&self.header)?;
        self.tensors
            .iter()
            .try_for_each(|tensor| with_bytes(tensor, &mut *take).map_err(io::Error::other)?)
    }

    /// The file in one piece.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len as usize);
        // Cannot fail: the target is memory, and `prepare` has read the tensors.
        let _ = self.each(&mut |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        });
        all
    }
}

/// The bytes of a safetensors file.
///
/// # Errors
/// For two tensors with one name, and element types that files cannot hold.
pub fn encode(tensors: &[(String, Tensor)]) -> Result<Vec<u8>, TensorsError> {
    Ok(prepare(tensors)?.bytes())
}

/// A safetensors file, ready to be written.
///
/// # Errors
/// As [`encode`].
pub fn prepare(tensors: &[(String, Tensor)]) -> Result<Encoded, TensorsError> {
    let mut sorted: Vec<&(String, Tensor)> = tensors.iter().collect();
    sorted.sort_by(|(a_name, a), (b_name, b)| {
        b.dtype().size_in_bytes().cmp(&a.dtype().size_in_bytes()).then_with(|| a_name.cmp(b_name))
    });
    let mut infos = Vec::with_capacity(sorted.len());
    let mut offset = 0;
    for (name, tensor) in &sorted {
        let Some(dtype) = file_type(tensor.dtype()) else {
            return Err(TensorsError::ElementType {
                name: name.clone(),
                dtype: tensor.dtype().as_str().to_owned(),
            });
        };
        let end = offset + tensor.elem_count() * tensor.dtype().size_in_bytes();
        infos.push((
            name.clone(),
            TensorInfo { dtype, shape: tensor.dims().to_vec(), data_offsets: (offset, end) },
        ));
        offset = end;
    }
    let mut names: Vec<&String> = tensors.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some(two) = names.windows(2).find(|two| two[0] == two[1]) {
        return Err(TensorsError::TwoTensors(two[0].clone()));
    }
    // Other libraries expect this key in files of plain tensors.
    let about = std::iter::once(("format".to_owned(), "pt".to_owned())).collect();
    let mut header = serde_json::to_vec(&Metadata::new(Some(about), infos)?)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let mut bytes = Vec::with_capacity(8 + header.len());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    let len = (bytes.len() + offset) as u64;
    let here = |(name, tensor): &&(String, Tensor)| {
        let here = tensor.to_device(&Device::Cpu).and_then(|tensor| tensor.contiguous());
        here.map_err(|error| TensorsError::Tensor { name: name.clone(), error })
    };
    Ok(Encoded { header: bytes, tensors: sorted.iter().map(here).collect::<Result<_, _>>()?, len })
}

/// The tensors of a safetensors file, sorted by name, on the CPU.
///
/// # Errors
/// For other bytes, and element types that tensors cannot have.
pub fn decode(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, TensorsError> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.tensors() {
        let Some(dtype) = tensor_type(view.dtype()) else {
            return Err(TensorsError::ElementType { name, dtype: format!("{:?}", view.dtype()) });
        };
        match Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu) {
            Ok(tensor) => tensors.push((name, tensor)),
            Err(error) => return Err(TensorsError::Tensor { name, error }),
        }
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(tensors)
}

fn file_type(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I64 => Dtype::I64,
        DType::BF16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        _ => return None,
    })
}

fn tensor_type(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::U8 => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I64 => DType::I64,
        Dtype::BF16 => DType::BF16,
        Dtype::F16 => DType::F16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back_bit_for_bit_whatever_their_layout() {
        let base = Tensor::arange(0_f32, 24.0, &Device::Cpu).unwrap().reshape((4, 6)).unwrap();
        let odd =
            Tensor::from_vec(vec![f32::NAN, f32::NEG_INFINITY, -0.0], 3, &Device::Cpu).unwrap();
        let labels = Tensor::from_vec(vec![1_u8, 2, 3], 3, &Device::Cpu).unwrap();
        let double = base.to_dtype(DType::F64).unwrap();
        let half = base.to_dtype(DType::BF16).unwrap();
        let tensors = vec![
            ("model.turned".to_owned(), base.t().unwrap()),
            ("model.part".to_owned(), base.narrow(1, 2, 3).unwrap()),
            ("model.odd".to_owned(), odd),
            ("labels".to_owned(), labels),
            ("double".to_owned(), double),
            ("half".to_owned(), half),
            ("empty".to_owned(), Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap()),
        ];
        let bytes = encode(&tensors).unwrap();
        let back = decode(&bytes).unwrap();
        assert_eq!(back.len(), tensors.len());
        for (name, tensor) in &back {
            let original = &tensors.iter().find(|(other, _)| other == name).unwrap().1;
            assert_eq!(
                (tensor.dims(), tensor.dtype()),
                (original.dims(), original.dtype()),
                "{name}"
            );
            let elements = |tensor: &Tensor| {
                with_bytes(&tensor.contiguous().unwrap(), <[u8]>::to_vec).unwrap()
            };
            assert_eq!(elements(tensor), elements(original), "{name}");
        }
        let mut turned: Vec<_> = tensors.clone();
        turned.reverse();
        assert_eq!(encode(&turned).unwrap(), bytes, "the order given does not matter");
        assert_eq!(decode(&encode(&back).unwrap()).unwrap().len(), back.len());
    }

    #[test]
    fn duplicate_names_and_other_bytes_are_refused() {
        let tensor = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
        let twice = [("a".to_owned(), tensor.clone()), ("a".to_owned(), tensor)];
        assert!(matches!(encode(&twice), Err(TensorsError::TwoTensors(name)) if name == "a"));
        assert!(matches!(decode(b"PK\x03\x04 no tensors here"), Err(TensorsError::Format(_))));
    }
}
