//! A place within a model: what a layer takes, or what it computes.

use candle_core::Tensor;
use fluxbay_plugin::abi::handle::Handle;

use crate::learner::ModelTrace;
use crate::run_file::nearest::suggestion;

/// A place within a model. A layer is named by the path of its parameters, such as `blocks.3`, with or
/// without the name of the model before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// The first tensor that the layer's first operation reads besides its parameters.
    Before(String),
    /// The first result of the layer's last operation that reads a parameter.
    After(String),
}

impl Point {
    fn layer(&self) -> &str {
        match self {
            Point::Before(layer) | Point::After(layer) => layer,
        }
    }

    /// The tensor at this place in one run of the model.
    ///
    /// # Errors
    /// The model has no such layer, or applies none of its parameters.
    pub(super) fn find(&self, model: &str, trace: &ModelTrace) -> Result<Tensor, String> {
        let of = |layer: &str| -> Vec<Handle> {
            let within = |path: &str| {
                let rest = path.strip_prefix(layer);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let own = trace.parameters.iter().filter(|(_, path)| within(path));
            own.map(|(handle, _)| *handle).collect()
        };
        let mut own = of(self.layer());
        if own.is_empty()
            && let Some(("", layer)) =
                self.layer().strip_prefix(model).and_then(|rest| rest.split_once('.'))
        {
            own = of(layer);
        }
        if own.is_empty() {
            return Err(self.unknown(trace));
        }
        let is_parameter =
            |handle: &Handle| trace.parameters.iter().any(|(parameter, _)| parameter == handle);
        let mut operations = trace
            .operations
            .iter()
            .filter(|operation| operation.inputs.iter().any(|input| own.contains(input)));
        let found = match self {
            Point::After(_) => operations
                .next_back()
                .and_then(|operation| operation.results.first())
                .map(|result| result.value.clone()),
            Point::Before(_) => operations
                .next()
                .and_then(|operation| operation.inputs.iter().find(|input| !is_parameter(input)))
                .and_then(|input| value_of(trace, *input)),
        };
        found.ok_or_else(|| {
            format!("the model applies no parameter of the layer `{}`", self.layer())
        })
    }

    fn unknown(&self, trace: &ModelTrace) -> String {
        let mut layers: Vec<&str> = trace
            .parameters
            .iter()
            .filter_map(|(_, path)| path.rsplit_once('.').map(|(layer, _)| layer))
            .collect();
        layers.dedup();
        let help = suggestion(self.layer(), layers.iter().copied());
        format!("the model has no layer `{}`: {}", self.layer(), help.unwrap_or_default())
    }
}

/// The value of a tensor that an operation of the trace computed or was given.
fn value_of(trace: &ModelTrace, handle: Handle) -> Option<Tensor> {
    trace.operations.iter().find_map(|operation| {
        let result = operation.results.iter().find(|result| result.handle == handle);
        result.map(|result| result.value.clone()).or_else(|| {
            let given = operation.given.iter().find(|(given, _)| *given == handle);
            given.map(|(_, value)| value.clone())
        })
    })
}
