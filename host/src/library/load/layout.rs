//! abi_stable's comparison of the plugin's tables with the host's, told in one line.

use abi_stable::StableAbi as _;
use abi_stable::abi_stability::abi_checking::{
    AbiInstability, AbiInstabilityError, AbiInstabilityErrors, CheckingGlobals, ExpectedFound,
    check_layout_compatibility_with_globals,
};
use abi_stable::library::LibHeader;
use abi_stable::sabi_types::VersionNumber;
use abi_stable::type_layout::{TLFieldOrFunction, TypeLayout};
use fluxbay_plugin::abi::entry::{CONTRACT, RootRef};

use super::refuse;
use crate::library::report::{Reason, Refusal};
use crate::library::shown;
use crate::library::store::Note;

/// Compares everything that can be reached from the root.
///
/// A newer plugin must have all that this host knows; this host must have all that an older plugin
/// knows. abi_stable takes its first argument as the side that may be the shorter one, so the sides
/// are swapped for an older plugin.
pub(super) fn check(header: &'static LibHeader, note: &mut Note) -> Result<(), Refusal> {
    let Ok(version) = VersionNumber::new(header.version_strings()) else {
        return refuse(
            Reason::ContractViolation,
            "the version of its root module is no version",
            "build it again with the current export macro",
        );
    };
    let ours = CONTRACT;
    if version.major != ours.major {
        let message = format!(
            "its root module has contract {}.{}, this host serves {}.{}",
            version.major, version.minor, ours.major, ours.minor
        );
        let (reason, help) = if version.major < ours.major {
            (Reason::ContractTooOld, "build the plugin again with the current fluxbay-plugin")
        } else {
            (Reason::ContractTooNew, "install a newer fluxbay, or an older release of the plugin")
        };
        return refuse(reason, message, help);
    }
    let Some(theirs) = header.layout() else {
        return refuse(
            Reason::LayoutMismatch,
            "it brings no description of its tables' layout",
            "build it with the export macro of fluxbay-plugin",
        );
    };
    if note.has_layout() {
        return Ok(());
    }
    log::debug!("comparing the tables of a plugin with this host's");
    compare(RootRef::LAYOUT, theirs, version.minor >= ours.minor)?;
    note.set_layout();
    Ok(())
}

pub(super) fn compare(
    ours: &'static TypeLayout,
    theirs: &'static TypeLayout,
    plugin_is_newer: bool,
) -> Result<(), Refusal> {
    let (first, second) = if plugin_is_newer { (ours, theirs) } else { (theirs, ours) };
    // Own globals: the shared ones would remember a refused plugin's types.
    let Err(errors) =
        check_layout_compatibility_with_globals(first, second, &CheckingGlobals::new())
    else {
        return Ok(());
    };
    let message = format!(
        "its tables are laid out differently: {}",
        first_difference(&errors, plugin_is_newer)
    );
    refuse(
        Reason::LayoutMismatch,
        message,
        "build the plugin and fluxbay against the same fluxbay-plugin",
    )
}

/// The innermost difference: a path of fields, then what each side has there.
fn first_difference(errors: &AbiInstabilityErrors, plugin_is_second: bool) -> String {
    let with_cause = errors.errors.iter().filter(|error| !error.errs.is_empty());
    // The deepest one names the cause; those above it only say that something below differs.
    let deepest =
        with_cause.min_by_key(|error| (std::cmp::Reverse(error.stack_trace.len()), error.index));
    let Some(error) = deepest else {
        return "no field is named".to_owned();
    };
    let path = path(error);
    match error.errs.first() {
        Some(cause) => format!("{path}: {}", describe(cause, plugin_is_second)),
        None => path,
    }
}

fn path(error: &AbiInstabilityError) -> String {
    let mut out = String::from("Root");
    for step in &error.stack_trace {
        let name = match &step.expected {
            // What a pointer or a wrapper leads to has no name of its own: its type says more than
            // `0`.
            TLFieldOrFunction::Field(field) if is_positional(field.name()) => {
                shown::text(field.layout().name())
            }
            TLFieldOrFunction::Field(field) => shown::text(field.name()),
            TLFieldOrFunction::Function(function) => shown::text(function.name.as_str()),
        };
        // A function pointer appears once as a field and once as a function.
        if !out.ends_with(&format!(".{name}")) {
            out.push('.');
            out.push_str(&name);
        }
    }
    out
}

fn is_positional(name: &str) -> bool {
    name.trim_start_matches("field_").bytes().all(|byte| byte.is_ascii_digit())
}

fn describe(cause: &AbiInstability, plugin_is_second: bool) -> String {
    let sides = |what: &str, first: String, second: String| {
        let (ours, theirs) = if plugin_is_second { (first, second) } else { (second, first) };
        format!(
            "{what} is {} in the plugin, {} in the host",
            shown::text(&theirs),
            shown::text(&ours)
        )
    };
    fn both<T: std::fmt::Display>(pair: &ExpectedFound<T>) -> (String, String) {
        (pair.expected.to_string(), pair.found.to_string())
    }
    fn both_debug<T: std::fmt::Debug>(pair: &ExpectedFound<T>) -> (String, String) {
        (format!("{:?}", pair.expected), format!("{:?}", pair.found))
    }
    let (what, (first, second)) = match cause {
        AbiInstability::Name(pair) => ("type", both(pair)),
        AbiInstability::Package(pair) => ("package", both(pair)),
        AbiInstability::PackageVersion(pair) => ("package version", both(pair)),
        AbiInstability::Size(pair) => ("size in bytes", both(pair)),
        AbiInstability::Alignment(pair) => ("alignment in bytes", both(pair)),
        AbiInstability::GenericParamCount(pair) => ("generic type", both(pair)),
        AbiInstability::FieldCountMismatch(pair) => ("number of fields", both(pair)),
        AbiInstability::MismatchedPrefixSize(pair) => {
            ("number of fields of the first release", both(pair))
        }
        AbiInstability::TooManyVariants(pair) => ("number of variants", both(pair)),
        AbiInstability::UnexpectedVariant(pair) => ("variant", both(pair)),
        AbiInstability::MismatchedPrimitive(pair) => ("type", both_debug(pair)),
        AbiInstability::TLDataDiscriminant(pair) => ("kind of type", both_debug(pair)),
        AbiInstability::ReprAttr(pair) => ("representation", both_debug(pair)),
        AbiInstability::EnumDiscriminant(pair) => ("discriminant", both_debug(pair)),
        AbiInstability::FnQualifierMismatch(pair) => ("function type", both(pair)),
        AbiInstability::FnLifetimeMismatch(pair) => ("function type", both(pair)),
        AbiInstability::UnexpectedField(pair) => {
            ("field", (pair.expected.name().to_owned(), pair.found.name().to_owned()))
        }
        AbiInstability::FieldLifetimeMismatch(pair) => {
            ("lifetime of field", (pair.expected.name().to_owned(), pair.found.name().to_owned()))
        }
        other => return shown::text(&format!("{other:?}").chars().take(200).collect::<String>()),
    };
    sides(what, first, second)
}
