//! Samplers that settings of the loader stand for.

use super::description::RunDescription;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::draft::Draft;
use super::instance::RawInstance;
use super::resolve::place;
use crate::library::{Catalog, Kind};

/// `sampling = "balanced"` is short for the sampler of that name.
pub(super) fn balanced(
    run: &mut RunDescription,
    kinds: &mut Vec<String>,
    draft: &Draft,
    catalog: &Catalog,
    diagnostics: &mut Diagnostics,
) {
    match &run.sampler {
        None => {
            let sampler = RawInstance::default_of(Kind::Sampler, "balanced");
            place(run, kinds, &sampler, draft, catalog, diagnostics);
        }
        Some(spec) if spec.component == "balanced" => {}
        Some(spec) => {
            let text = "`sampling = \"balanced\"` of [loader] is another sampler than `[sampler]`";
            let found = Diagnostic::error("two-samplers", text).help("leave out one of them");
            diagnostics.push(match spec.place {
                Some(place) => found.at(&draft.sources, place, ""),
                None => found,
            });
        }
    }
}
