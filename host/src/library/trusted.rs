//! The trust stage for a plugin: [`Inspected`] becomes [`Trusted`].

use super::escape;
use super::inspect::Inspected;
use super::report::{Refusal, RefusalReason, Stage};
use super::trust::Trust;

/// A plugin that only root or the user can have put where it is, or whose directory the user
/// allowed.
#[derive(Clone, Debug)]
pub struct Trusted(pub(super) Inspected);

impl Trusted {
    /// The plugin as inspected.
    pub fn inspected(&self) -> &Inspected {
        &self.0
    }
}

impl Inspected {
    /// Checks owner and mode of the file and of everything on the path to it.
    ///
    /// # Errors
    /// `untrusted`, naming the file, directory or link and who could change it. The plugin is
    /// returned with it, so that listings can still show it.
    pub fn trust(self, trust: &Trust) -> Result<Trusted, (Box<Inspected>, Refusal)> {
        if trust.allows(self.path(), self.resolved()) {
            return Ok(Trusted(self));
        }
        let checked = trust
            .check_ownership(self.ownership)
            .map_err(|why| format!("the file: {why}"))
            .and_then(|()| trust.check_path(self.path()));
        let Err(message) = checked else { return Ok(Trusted(self)) };
        let dir = self.path().parent().map(escape::path).unwrap_or_default();
        let help = format!(
            "check where it comes from, then take the right to write from others (chmod go-w), or allow its directory with --allow-untrusted {dir}"
        );
        let refusal = Refusal::new(Stage::Trust, RefusalReason::Untrusted, message, help);
        Err((Box::new(self), refusal))
    }
}
