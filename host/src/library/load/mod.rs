//! The last stage: a stored plugin becomes code in this process.
//!
//! `dlopen` of the copy, then abi_stable's layout check in the direction that the versions ask for,
//! then the entry is read word by word and compared with the manifest; only then is a function of
//! the plugin called (`init`). A library that was opened is never closed: its threads,
//! thread-locals and leaked statics may outlive any use of it. This folder holds the `unsafe` of
//! the library.

mod door;
mod entry;
#[cfg(test)]
pub(crate) mod fixtures;
mod image;
mod layout;
mod linker;
#[cfg(test)]
mod matrix;
mod plugin_loader;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use fluxbay_plugin::abi::entry::{Component, Entry};
use fluxbay_plugin::abi::host::HostTable;
use fluxbay_plugin::abi::{status, text::Text};

use super::inspect::Sha256;
use super::manifest::{Kind, Manifest};
use super::report::{Reason, Refusal, Stage};
use super::shown;
use super::store::Stored;

use image::Image;
pub use plugin_loader::{PluginLoader, load, load_from};

/// A plugin that could not be loaded, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: refused at the stage `{}`: {refusal}", shown::path(.path), .refusal.stage.name())]
pub struct LoadError {
    /// Where the plugin was found.
    pub path: PathBuf,
    /// What is wrong.
    pub refusal: Refusal,
}

/// A plugin in this process; it stays until the process ends.
#[derive(Clone, Debug)]
pub struct Loaded {
    path: PathBuf,
    copy: PathBuf,
    sha256: Sha256,
    manifest: Manifest,
    entry: &'static Entry,
    components: Vec<(Kind, &'static Component)>,
}

impl Loaded {
    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The copy that was loaded.
    pub fn copy(&self) -> &Path {
        &self.copy
    }

    /// Hash of its bytes.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Its description, the same in the file and at run time.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Hands it the host's functions once more.
    ///
    /// # Errors
    /// `init-failed`.
    pub fn init_again(&self, host: &'static HostTable) -> Result<(), Refusal> {
        init(self.entry, host)
    }

    /// Whether it answers with a table when it is asked for an extension.
    pub fn offers(&self, id: &str) -> bool {
        // SAFETY: `entry::check` found the function in executable memory of a loaded library; the
        // text is lent for the call.
        unsafe { !(self.entry.extension)(Text::new(id)).is_null() }
    }

    /// Sets every log level, and some that there are not; at the end the host's own.
    pub fn try_log_levels(&self) {
        for level in [0, 1, 2, 3, 4, 5, 6, u32::MAX, log::max_level() as u32] {
            // SAFETY: as in `offers`.
            unsafe { (self.entry.set_log_level)(level) };
        }
    }

    /// Its entry.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// The functions of a component.
    pub fn component(&self, kind: Kind, name: &str) -> Option<&'static Component> {
        let place =
            self.manifest.components.iter().position(|c| c.kind == kind && c.name == name)?;
        self.components
            .get(place)
            .filter(|(found, _)| *found == kind)
            .map(|(_, component)| *component)
    }
}

fn refuse<T>(
    reason: Reason,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::fixed(Stage::Load, reason, message, help))
}

impl Stored {
    /// Opens the copy, checks everything that can be reached from its entry, and connects it to
    /// `host`.
    ///
    /// # Errors
    /// `link-failed`, `no-entry`, `layout-mismatch`, `contract-too-new`, `manifest-mismatch`,
    /// `contract-violation` or `init-failed`. Nothing of the plugin but its constructors has run
    /// before the first six.
    pub fn load(mut self, host: &'static HostTable) -> Result<Loaded, Refusal> {
        let library = linker::open(&self.path)?;
        let image = Image::now();
        let entry = door::find(library, &image, &mut self.note)?;
        let checked = entry::check(entry, &image, &self.plugin)?;
        init(checked.entry, host)?;
        self.note.keep();
        Ok(Loaded {
            path: self.plugin.candidate.path,
            copy: self.path,
            sha256: self.plugin.sha256,
            manifest: self.plugin.manifest,
            entry: checked.entry,
            components: checked.components,
        })
    }
}

fn init(entry: &'static Entry, host: &'static HostTable) -> Result<(), Refusal> {
    // SAFETY: `entry::check` found the function in executable memory of a loaded library, and the
    // layout of its argument was compared with ours; the table is static.
    let answer = unsafe { (entry.init)(host) };
    if answer == status::OK {
        let level = log::max_level() as u32;
        // SAFETY: as above.
        unsafe { (entry.set_log_level)(level) };
        return Ok(());
    }
    let mut text = Text::EMPTY;
    // SAFETY: the host's own function; `text` is valid for the write.
    unsafe { (host.last_error)(&mut text) };
    // SAFETY: the host's own text, valid until its next call on this thread; copied here.
    let text = unsafe { text.to_text() };
    let why = if text.is_empty() {
        format!("status {answer} without a text")
    } else {
        shown::paragraph(&text)
    };
    refuse(
        Reason::InitFailed,
        format!("its start-up failed: {why}"),
        "read what it says, or tell its author",
    )
}
