//! What every component has, whatever its kind.

use crate::{Error, Result, Setup, config::Config};

/// A component: how an instance is made from its configuration, and how its state is saved.
pub trait Component: Sized + 'static {
    /// Its configuration, made with [`config!`](crate::config!) or [`NoConfig`](crate::NoConfig).
    type Config: Config;

    /// Makes an instance and says, through `setup`, what it reads and writes. No data is there yet.
    fn new(config: Self::Config, setup: &mut Setup) -> Result<Self>;

    /// The state that a resumed run needs to go on bit for bit; empty where there is none.
    ///
    /// [`to_bytes`](crate::to_bytes) turns any serde type into bytes.
    fn save(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes over a state that `save` of the component's state version `version` wrote. On an error nothing may have changed.
    fn load(&mut self, version: u32, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!("this component has no state, but {} bytes of version {version} were given", bytes.len())))
    }
}

/// A serde type as bytes for [`Component::save`].
pub fn to_bytes(state: &impl serde::Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(state)?)
}

/// Bytes of [`to_bytes`] as the type again, for [`Component::load`].
pub fn from_bytes<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(format!("the saved state cannot be read: {error}")))
}
