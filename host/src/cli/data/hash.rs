//! `fluxbay data hash`: one number for all training batches of a run.

use std::collections::HashMap;
use std::fmt::Write as _;

use candle_core::{DType, Tensor};
use sha2::{Digest as _, Sha256};

use super::failed;
use crate::cli::outcome::{Exit, Failure};
use crate::display::thousands;
use crate::loader::Loader;

/// Hashes the batches of some epochs, and counts how often each sample comes.
///
/// # Errors
/// The samples cannot be read.
pub(super) fn hash(loader: &Loader, epochs: u64, each: bool) -> Result<String, Failure> {
    let unreadable =
        |error: candle_core::Error| Failure::new(Exit::Failed, format!("a batch: {error}"));
    let (mut all, mut out) = (Sha256::new(), String::new());
    let (mut batches, mut once) = (0, true);
    let mut samples = 0;
    for epoch in 1..=epochs {
        let mut seen: HashMap<u64, u64> = HashMap::new();
        let mut batches_of = loader.epoch("training", epoch).map_err(failed)?;
        for index in batches_of.order() {
            *seen.entry(*index).or_default() += 1;
        }
        samples += batches_of.order().len() as u64;
        let part = loader.part("training").map_err(failed)?;
        once &= seen.len() == part.samples() && seen.values().all(|count| *count == 1);
        while let Some(batch) = batches_of.next() {
            let batch = batch.map_err(failed)?;
            let mut one = Sha256::new();
            for field in &batch.fields {
                for size in field.dims() {
                    one.update((*size as u64).to_le_bytes());
                }
                one.update(bytes(field).map_err(unreadable)?);
            }
            let one = one.finalize();
            if each {
                let _ = writeln!(out, "{epoch} {:>6} {}", batch.index + 1, hex(&one[..8]));
            }
            all.update(one);
            batches += 1;
            batches_of.reuse(batch);
        }
    }
    let how_often = if once { "each once in an epoch" } else { "not each once in an epoch" };
    let _ = write!(
        out,
        "{} batches of {epochs} epochs, {} samples, {how_often}\n{}\n",
        thousands(batches),
        thousands(samples),
        hex(&all.finalize())
    );
    Ok(out)
}

/// The elements of a tensor, each in a form that keeps all of its bits.
fn bytes(field: &Tensor) -> candle_core::Result<Vec<u8>> {
    let flat = field.flatten_all()?;
    Ok(match flat.dtype() {
        DType::U8 => flat.to_vec1::<u8>()?,
        DType::U32 => flat.to_vec1::<u32>()?.into_iter().flat_map(u32::to_le_bytes).collect(),
        DType::I64 => flat.to_vec1::<i64>()?.into_iter().flat_map(i64::to_le_bytes).collect(),
        DType::F64 => flat.to_vec1::<f64>()?.into_iter().flat_map(f64::to_le_bytes).collect(),
        _ => {
            let values = flat.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            values.into_iter().flat_map(f32::to_le_bytes).collect()
        }
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
