//! The last stage: loads the stored copy of a plugin into this process.
//!
//! The copy is opened with `dlopen`, abi_stable compares the layout of its tables with the host's,
//! and every pointer of the entry is checked against the mapped libraries and the manifest. Only
//! then is a function of the plugin called (`init`). A library is never closed, because threads,
//! thread-locals and leaked statics of it may still be in use. All `unsafe` of the library is here.

mod entry;
mod entry_point;
mod extensions;
#[cfg(test)]
pub(crate) mod fixtures;
mod image;
mod later_kinds;
mod layout;
mod linker;
#[cfg(test)]
mod matrix;
mod rows;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use fluxbay_plugin::abi::entry::{Component, Entry};
use fluxbay_plugin::abi::host::HostTable;
use fluxbay_plugin::abi::{status, text::Text};

use super::escape;
use super::file::Sha256;
use super::manifest::{Kind, Manifest};
use super::report::{Refusal, RefusalReason, Stage};
use super::store::Stored;
use crate::breadcrumb::{self, Activity, Line};
use crate::surroundings;

pub use extensions::ComponentRows;
use extensions::Extensions;
use image::Image;

/// A plugin that could not be loaded, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: refused at the stage `{}`: {refusal}", escape::path(.path), .refusal.stage.name())]
pub struct LoadError {
    /// Where the plugin was found.
    pub path: PathBuf,
    /// Why it is refused.
    pub refusal: Refusal,
}

/// A plugin that is loaded into this process until the process ends.
#[derive(Clone, Debug)]
pub struct Loaded {
    path: PathBuf,
    copy: PathBuf,
    sha256: Sha256,
    manifest: Manifest,
    entry: &'static Entry,
    components: Vec<(Kind, &'static Component)>,
    extensions: Extensions,
}

impl Loaded {
    /// Path where it was found.
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

    /// Its description; the one at run time is equal to it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Calls its `init` function again.
    ///
    /// # Errors
    /// `init-failed`.
    pub fn init_again(&self, host: &'static HostTable) -> Result<(), Refusal> {
        init(self.entry, host)
    }

    /// Whether it returns a table for an extension.
    pub fn offers(&self, id: &str) -> bool {
        // SAFETY: `entry::check` found the function in executable memory of a loaded library; the
        // text is lent for the call.
        unsafe { !(self.entry.extension)(Text::new(id)).is_null() }
    }

    /// Sets every log level, some invalid ones, and at the end the host's level.
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

    /// The table of a component.
    pub fn component(&self, kind: Kind, name: &str) -> Option<&'static Component> {
        let place =
            self.manifest.components.iter().position(|c| c.kind == kind && c.name == name)?;
        self.components
            .get(place)
            .filter(|(found, _)| *found == kind)
            .map(|(_, component)| *component)
    }

    /// What a component offers beyond contract 1.0.
    pub fn rows(&self, kind: Kind, name: &str) -> ComponentRows {
        self.extensions.of(kind, name)
    }
}

/// Numbers of plugins in breadcrumbs: above those of all instances.
static FIRST_PLUGIN: AtomicU32 = AtomicU32::new(0xF000_0000);

fn refuse<T>(
    reason: RefusalReason,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::new(Stage::Load, reason, message, help))
}

impl Stored {
    /// Opens the copy, checks everything that its entry points to, and connects it to `host`.
    ///
    /// # Errors
    /// `link-failed`, `no-entry`, `layout-mismatch`, `contract-too-new`, `manifest-mismatch`,
    /// `contract-violation` or `init-failed`. Before `init`, no code of the plugin but its
    /// constructors has run.
    pub fn load(self, host: &'static HostTable) -> Result<Loaded, Refusal> {
        let name = self.plugin.manifest.plugin.name.clone();
        let number = FIRST_PLUGIN.fetch_add(1, Ordering::Relaxed);
        breadcrumb::write(&Line::Instance {
            number,
            id: name.clone(),
            component: "plugin".to_owned(),
            plugin: name.clone(),
        });
        let guard = breadcrumb::call(number, Activity::LoadingPlugin);
        let whose = || format!("plugin `{}`, while it was loaded", escape::text(&name));
        let loaded = surroundings::guarded(whose, || self.open(host));
        guard.end();
        loaded
    }

    fn open(mut self, host: &'static HostTable) -> Result<Loaded, Refusal> {
        let library = linker::open(&self.path)?;
        let image = Image::now();
        let entry = entry_point::find(library, &image, &mut self.note)?;
        let checked = entry::check(entry, &image, &self.plugin)?;
        init(checked.entry, host)?;
        let components = &self.plugin.manifest.components;
        let extensions = Extensions::read(checked.entry, &image, components)?;
        let mut of_entry = checked.components.into_iter();
        // In the order of the manifest.
        let all = components.iter().filter_map(|described| {
            if described.kind.is_of_the_entry() {
                return of_entry.next();
            }
            let row = extensions.of(described.kind, &described.name).kind?;
            Some((described.kind, later_kinds::component(row)))
        });
        let all = all.collect();
        self.note.save();
        Ok(Loaded {
            path: self.plugin.candidate.path,
            copy: self.path,
            sha256: self.plugin.sha256,
            manifest: self.plugin.manifest,
            entry: checked.entry,
            components: all,
            extensions,
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
        escape::paragraph(&text)
    };
    refuse(
        RefusalReason::InitFailed,
        format!("its start-up failed: {why}"),
        "read what it says, or tell its author",
    )
}
