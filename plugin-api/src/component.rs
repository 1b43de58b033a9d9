//! What every component has, whatever its kind.

use crate::{Error, Result, Setup, config::Config};

/// What every component implements, whatever its kind: creation from a configuration, and saved
/// state.
///
/// State that a resumed run needs is one line, [`state!`](crate::state!), which writes `save` and
/// `load`:
///
/// ```
/// use fluxbay_plugin::prelude::*;
///
/// struct Count {
///     steps: u64,
/// }
///
/// impl Component for Count {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Count { steps: 0 })
///     }
///
///     state!(steps);
/// }
/// ```
pub trait Component: Sized + 'static {
    /// Its configuration, declared with [`config!`](crate::config!), or
    /// [`NoConfig`](crate::NoConfig).
    type Config: Config;

    /// Creates an instance. `setup` declares what it reads and writes; no data, model or other
    /// instance exists yet. `[training thread]`
    ///
    /// # Errors
    /// The run does not start; the error is shown with the instance's id.
    fn new(config: Self::Config, setup: &mut Setup) -> Result<Self>;

    /// The state that a resumed run needs to continue bit for bit; empty if there is none.
    /// Written by [`state!`](crate::state!), or by hand with [`to_bytes`](crate::to_bytes).
    ///
    /// # Errors
    /// The checkpoint is not written and the run ends.
    fn save(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Restores a state that `save` of state version `version` of this component returned.
    ///
    /// # Errors
    /// The run is not resumed. The instance must be unchanged then.
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

/// Saves and loads fields of a component: a line in its `impl Component` that expands to
/// [`Component::save`] and [`Component::load`].
///
/// `state!(best);` saves one field, `state!(best, seen);` saves several as a list in this order,
/// and `state!(self);` saves the whole component. The types need serde's `Serialize` and
/// `Deserialize`. Bytes of any [state version](crate::plugin!) are read as the present types:
/// where the format has changed, write `load` by hand.
///
/// See [`Component`] for an example.
#[macro_export]
macro_rules! state {
    (self) => {
        fn save(&self) -> $crate::Result<::std::vec::Vec<u8>> {
            $crate::to_bytes(self)
        }

        fn load(&mut self, _version: u32, bytes: &[u8]) -> $crate::Result<()> {
            *self = $crate::from_bytes(bytes)?;
            ::core::result::Result::Ok(())
        }
    };
    ($field:ident) => {
        fn save(&self) -> $crate::Result<::std::vec::Vec<u8>> {
            $crate::to_bytes(&self.$field)
        }

        fn load(&mut self, _version: u32, bytes: &[u8]) -> $crate::Result<()> {
            self.$field = $crate::from_bytes(bytes)?;
            ::core::result::Result::Ok(())
        }
    };
    ($($field:ident),+ $(,)?) => {
        fn save(&self) -> $crate::Result<::std::vec::Vec<u8>> {
            $crate::to_bytes(&($(&self.$field),+))
        }

        fn load(&mut self, _version: u32, bytes: &[u8]) -> $crate::Result<()> {
            ($(self.$field),+) = $crate::from_bytes(bytes)?;
            ::core::result::Result::Ok(())
        }
    };
}

/// Encodes a serde type for [`Component::save`]: CBOR, which keeps every bit of a float, NaN and
/// infinity included.
///
/// # Errors
/// If the type's `Serialize` fails.
pub fn to_bytes(state: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(state, &mut bytes)
        .map_err(|error| Error::new(format!("the state cannot be saved: {error}")))?;
    Ok(bytes)
}

/// Decodes the bytes of [`to_bytes`], for [`Component::load`].
///
/// # Errors
/// If the bytes are not one whole value of that type.
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

    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Whole {
        best: f64,
        seen: u64,
    }

    impl Component for Whole {
        type Config = crate::NoConfig;
        fn new(_: crate::NoConfig, _: &mut Setup) -> Result<Self> {
            Ok(Whole::default())
        }
        state!(self);
    }

    #[derive(Debug, Default, PartialEq)]
    struct Fields {
        best: f64,
        seen: u64,
        scratch: Vec<u8>,
    }

    impl Component for Fields {
        type Config = crate::NoConfig;
        fn new(_: crate::NoConfig, _: &mut Setup) -> Result<Self> {
            Ok(Fields::default())
        }
        state!(best, seen);
    }

    #[test]
    fn a_line_saves_and_loads_the_state() {
        let whole = Whole { best: 0.5, seen: 3 };
        assert_eq!(whole.save().unwrap(), to_bytes(&whole).unwrap());
        let mut loaded = Whole::default();
        loaded.load(1, &whole.save().unwrap()).unwrap();
        assert_eq!(loaded, whole);

        let fields = Fields { best: 0.5, seen: 3, scratch: vec![1] };
        assert_eq!(fields.save().unwrap(), to_bytes(&(0.5, 3_u64)).unwrap());
        let mut loaded = Fields::default();
        loaded.load(1, &fields.save().unwrap()).unwrap();
        assert_eq!(loaded, Fields { best: 0.5, seen: 3, scratch: Vec::new() });

        assert!(loaded.load(1, b"\xff").is_err());
        assert_eq!((loaded.best, loaded.seen), (0.5, 3));
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
