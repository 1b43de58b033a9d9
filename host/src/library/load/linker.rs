//! Opens a shared library; a failure is reported in one line.

use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::refuse;
use crate::library::elf::linking::Linking;
use crate::library::escape;
use crate::library::report::{Refusal, RefusalReason};

/// Opens the library with `RTLD_NOW` and `RTLD_LOCAL`; it is never closed.
///
/// # Errors
/// `link-failed`.
pub(super) fn open(path: &Path) -> Result<&'static Library, Refusal> {
    // SAFETY: this runs the constructors of the library. The user, or root, put it where it was
    // found, its bytes have been checked and hashed, and it has passed the probe if probing is
    // enabled.
    match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) } {
        Ok(library) => Ok(Box::leak(Box::new(library))),
        Err(error) => {
            let text = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            Err(explain(&text, path))
        }
    }
}

fn explain(error: &str, path: &Path) -> Refusal {
    let copy = path.to_string_lossy();
    // The path of the copy means nothing to the user.
    let text = escape::text(&error.replace(&format!("{copy}: "), ""));
    let word_after = |mark: &str| {
        error
            .split_once(mark)
            .map(|(_, rest)| rest.split([',', ' ', '\n']).next().unwrap_or_default())
    };
    let (message, help) = if let Some(symbol) = word_after("undefined symbol: ") {
        (
            format!("it needs the symbol `{}`, which nothing provides", escape::text(symbol)),
            "link it against the library that has this symbol",
        )
    } else if let Some((library, _)) = error.split_once(": cannot open shared object file") {
        let library = library.rsplit(' ').next().unwrap_or(library);
        let mut message =
            format!("it needs the library {}, which is not found", escape::text(library));
        if uses_origin(path) {
            message.push_str(
                "; its run path contains $ORIGIN, which is the folder of the copy that is loaded, not of the plugin",
            );
        }
        (message, "install that library, or build the plugin without it")
    } else if error.contains("failed to map segment") {
        (
            format!("its copy cannot be mapped: {text}"),
            "set XDG_CACHE_HOME to a file system from which programs may run",
        )
    } else if error.contains("cannot allocate memory in static TLS block") {
        (
            format!("its thread-local variables do not fit: {text}"),
            "build it with -ftls-model=global-dynamic",
        )
    } else {
        (format!("the dynamic linker refuses it: {text}"), "build it again on this system")
    };
    match refuse::<()>(RefusalReason::LinkFailed, message, help) {
        Err(refusal) => refusal,
        Ok(()) => unreachable!("refuse always refuses"),
    }
}

/// Whether the library searches folders relative to its own. The loaded copy lies in the store, so
/// they are not found.
fn uses_origin(path: &Path) -> bool {
    Linking::read(path)
        .is_some_and(|linking| linking.run_path.is_some_and(|it| it.contains("$ORIGIN")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_linker_become_one_line_with_the_name_that_matters() {
        let message = |text: &str| explain(text, Path::new("/store/abc.so")).message;
        assert_eq!(
            message("/store/abc.so: undefined symbol: frobnicate"),
            "it needs the symbol `frobnicate`, which nothing provides"
        );
        assert_eq!(
            message("libmissing.so.3: cannot open shared object file: No such file or directory"),
            "it needs the library libmissing.so.3, which is not found"
        );
        assert_eq!(
            message("/store/abc.so: invalid ELF header"),
            "the dynamic linker refuses it: invalid ELF header"
        );
    }
}
