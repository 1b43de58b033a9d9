//! Compares the layout of the plugin's tables with the host's, by abi_stable; a difference is
//! reported in one line.

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
use crate::library::escape;
use crate::library::report::{Refusal, RefusalReason};
use crate::library::store::Note;

/// Compares all types that the root module refers to, unless this executable did so before for the
/// same bytes.
///
/// A newer plugin must have all fields that this host knows, and this host all fields that an older
/// plugin knows. abi_stable allows its first argument to have fewer fields, so the sides are swapped
/// for an older plugin.
///
/// # Errors
/// `contract-too-old`, `contract-too-new`, `layout-mismatch` or `contract-violation`.
pub(super) fn check(header: &'static LibHeader, note: &mut Note) -> Result<(), Refusal> {
    let Ok(version) = VersionNumber::new(header.version_strings()) else {
        return refuse(
            RefusalReason::ContractViolation,
            "its root module has no valid version",
            "build it again with the current export macro",
        );
    };
    let ours = CONTRACT;
    if version.major != ours.major {
        let message = format!(
            "its root module has contract {}.{}, this host supports {}.{}",
            version.major, version.minor, ours.major, ours.minor
        );
        let (reason, help) = if version.major < ours.major {
            (
                RefusalReason::ContractTooOld,
                "build the plugin again with the current fluxbay-plugin",
            )
        } else {
            (
                RefusalReason::ContractTooNew,
                "install a newer fluxbay, or an older release of the plugin",
            )
        };
        return refuse(reason, message, help);
    }
    let Some(theirs) = header.layout() else {
        return refuse(
            RefusalReason::LayoutMismatch,
            "it does not describe the layout of its tables",
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
    // Not the shared globals, which would keep the types of a refused plugin.
    let Err(errors) =
        check_layout_compatibility_with_globals(first, second, &CheckingGlobals::new())
    else {
        return Ok(());
    };
    let message =
        format!("the layout of its tables differs: {}", first_difference(&errors, plugin_is_newer));
    refuse(
        RefusalReason::LayoutMismatch,
        message,
        "build the plugin and fluxbay against the same fluxbay-plugin",
    )
}

/// The innermost difference: a path of fields, then what each side has there.
fn first_difference(errors: &AbiInstabilityErrors, plugin_is_second: bool) -> String {
    let with_cause = errors.errors.iter().filter(|error| !error.errs.is_empty());
    // The deepest one is the cause; the others only say that a nested type differs.
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
            // The field of a pointer or wrapper has no name but `0`: use that of its type.
            TLFieldOrFunction::Field(field) if is_positional(field.name()) => {
                escape::text(field.layout().name())
            }
            TLFieldOrFunction::Field(field) => escape::text(field.name()),
            TLFieldOrFunction::Function(function) => escape::text(function.name.as_str()),
        };
        // A function pointer appears twice, as a field and as a function.
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
            escape::text(&theirs),
            escape::text(&ours)
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
        other => return escape::text(&format!("{other:?}").chars().take(200).collect::<String>()),
    };
    sides(what, first, second)
}
