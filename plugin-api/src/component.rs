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

    /// Takes over a state that `save` of the component's state version `version` wrote. On an error
    /// nothing may have changed.
    fn load(&mut self, version: u32, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!(
            "this component has no state, but {} bytes of version {version} were given",
            bytes.len()
        )))
    }
}

/// A serde type as bytes for [`Component::save`]: CBOR, which keeps every bit of a float, NaN and
/// infinity included.
pub fn to_bytes(state: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(state, &mut bytes)
        .map_err(|error| Error::new(format!("the state cannot be saved: {error}")))?;
    Ok(bytes)
}

/// Bytes of [`to_bytes`] as the type again, for [`Component::load`].
pub fn from_bytes<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut rest = bytes;
    let state = ciborium::from_reader(&mut rest)
        .map_err(|error| Error::new(format!("the saved state cannot be read: {error}")))?;
    if !rest.is_empty() {
        return Err(Error::new(format!(
            "the saved state cannot be read: {} bytes follow it",
            rest.len()
        )));
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_floats_come_back_bit_for_bit() {
        // JSON would turn the first into its neighbour, and the others into null.
        let floats = vec![
            1.000_000_000_000_000_7e-9_f64,
            f64::NAN,
            f64::NEG_INFINITY,
            -0.0,
            5e-324,
            0.1 + 0.2,
        ];
        let bits = |floats: &[f64]| floats.iter().map(|float| float.to_bits()).collect::<Vec<_>>();
        let back: Vec<f64> = from_bytes(&to_bytes(&floats).unwrap()).unwrap();
        assert_eq!(bits(&floats), bits(&back));
        assert!(
            from_bytes::<Vec<f64>>(b"nonsense").unwrap_err().message().contains("cannot be read")
        );
    }

    #[test]
    fn a_state_is_the_whole_of_its_bytes() {
        let bytes = to_bytes(&Some(7_u64)).unwrap();
        assert_eq!(from_bytes::<Option<u64>>(&bytes).unwrap(), Some(7));
        let longer = [&bytes[..], b"x"].concat();
        assert!(
            from_bytes::<Option<u64>>(&longer).unwrap_err().message().contains("1 bytes follow it")
        );
        assert!(from_bytes::<Option<u64>>(&[]).is_err());
    }
}
