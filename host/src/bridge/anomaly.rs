//! The table of the host extension `fluxbay.anomaly/1`.

use fluxbay_plugin::abi::{
    anomaly::{AnomalyRaw, AnomalyTable, detect},
    text::Text,
};

use super::answer::answer;
use crate::calls::context::lend;
use crate::learner::refusal::Refusal;
use crate::tensor::Detected;

pub static TABLE: AnomalyTable =
    AnomalyTable { size: size_of::<AnomalyTable>() as u64, watch, first };

unsafe extern "C" fn watch(elements: u32) -> i32 {
    answer(|runtime, _| {
        if elements & !(detect::NAN | detect::INFINITE) != 0 {
            return Err(Refusal::Text(format!(
                "{elements:#b} has unknown bits of elements to detect"
            )));
        }
        let detected = Detected {
            nan: elements & detect::NAN != 0,
            infinite: elements & detect::INFINITE != 0,
        };
        runtime.engine.borrow_mut().detect_anomalies((elements != 0).then_some(detected));
        Ok(())
    })
}

unsafe extern "C" fn first(found: *mut AnomalyRaw) -> i32 {
    answer(|runtime, _| {
        // SAFETY: the contract lends the struct for the call; null is refused.
        let found = unsafe { found.as_mut() }.filter(|found| {
            // A shorter struct of a later version of this table does not exist.
            found.size >= size_of::<AnomalyRaw>() as u64
        });
        let Some(found) = found else {
            return Err(Refusal::Text("the place for the anomaly is null or too small".into()));
        };
        found.found = 0;
        let engine = runtime.engine.borrow();
        let Some(first) = engine.first_anomaly() else { return Ok(()) };
        let parameter = first.parameter.and_then(|index| {
            let info = engine.parameters().find(|info| info.index == index)?;
            let model = engine.model_name(info.model).unwrap_or_default();
            Some(format!("{model}.{}", info.path))
        });
        *found = AnomalyRaw {
            size: found.size,
            found: 1,
            backward: first.backward.into(),
            nan: first.nan.into(),
            from_input: first.from_input.into(),
            direct: first.direct.into(),
            reserved: 0,
            number: first.number,
            // Names of operations are static.
            operation: Text::new(first.operation),
            parameter: lend(parameter.unwrap_or_default()),
        };
        Ok(())
    })
}
