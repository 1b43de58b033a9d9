//! The macros that declare configurations.

/// Declares a component's configuration: a struct whose fields have a documentation comment, a type,
/// and optionally a default and a range.
///
/// Users write the keys in kebab-case. A key without a default is required. Defaults are JSON:
/// `0.98`, `"relu"`, `[64, 32]`, `null` for an `Option`. The host checks a run file against types
/// and ranges before the component is created, and `fluxbay inspect` shows the comments.
///
/// ```
/// fluxbay_plugin::config! {
///     /// How the average is taken.
///     pub struct Config {
///         /// Weight of the old value.
///         alpha: f64 = 0.98 => 0.0..=1.0,
///         /// Every how many steps.
///         every: u64 = 1 => 1..,
///         /// Where it is written to.
///         path: String,
///     }
/// }
/// ```
#[macro_export]
macro_rules! config {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty $(= $default:expr)? $(=> $range:expr)? ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, $crate::__private::serde::Deserialize)]
        #[serde(crate = "fluxbay_plugin::__private::serde", rename_all = "kebab-case", deny_unknown_fields)]
        $visibility struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        impl $crate::config::Described for $name {
            const SCHEMA: $crate::config::Schema = $crate::config::Schema::Documented(
                ::core::concat!($($doc),*),
                &$crate::config::Schema::Object(&[ $( $crate::__field!{
                    $(#[doc = $field_doc])* $field : $type $(= $default)? $(=> $range)?
                } ),* ]),
            );
        }

        impl $crate::config::Config for $name {}
    };
}

/// Declares a configuration value that is one of several words, written in kebab-case.
///
/// ```
/// fluxbay_plugin::choice! {
///     /// Function behind each layer.
///     pub enum Activation {
///         /// max(0, x).
///         Relu,
///         /// x * sigmoid(x).
///         Silu,
///     }
/// }
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis enum $name:ident { $( $(#[doc = $variant_doc:literal])* $variant:ident ),* $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, $crate::__private::serde::Deserialize)]
        #[serde(crate = "fluxbay_plugin::__private::serde", rename_all = "kebab-case")]
        $visibility enum $name {
            $( $(#[doc = $variant_doc])* $variant, )*
        }

        impl $crate::config::Described for $name {
            const SCHEMA: $crate::config::Schema = $crate::config::Schema::Documented(
                ::core::concat!($($doc),*),
                &$crate::config::Schema::Choice(&[ $( (::core::stringify!($variant), ::core::concat!($($variant_doc),*)) ),* ]),
            );
        }
    };
}

/// Declares a configuration table whose key `type` says which of several shapes it has.
///
/// ```
/// fluxbay_plugin::variants! {
///     /// One layer.
///     pub enum Layer {
///         /// Fully connected.
///         Linear {
///             /// Outputs.
///             out: u64 => 1..,
///         },
///         /// Everything but the batch becomes one dimension.
///         Flatten {},
///     }
/// }
/// ```
#[macro_export]
macro_rules! variants {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis enum $name:ident { $(
            $(#[doc = $variant_doc:literal])*
            $variant:ident {
                $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty $(= $default:expr)? $(=> $range:expr)? ),* $(,)?
            }
        ),* $(,)? }
    ) => {
        $(#[doc = $doc])*
        // The names are the users' words.
        #[allow(clippy::enum_variant_names)]
        #[derive(Clone, Debug, $crate::__private::serde::Deserialize)]
        #[serde(
            crate = "fluxbay_plugin::__private::serde",
            tag = "type",
            rename_all = "kebab-case",
            rename_all_fields = "kebab-case",
            deny_unknown_fields
        )]
        $visibility enum $name {
            $( $(#[doc = $variant_doc])* $variant { $( $(#[doc = $field_doc])* $field: $type, )* }, )*
        }

        impl $crate::config::Described for $name {
            const SCHEMA: $crate::config::Schema = $crate::config::Schema::Documented(
                ::core::concat!($($doc),*),
                &$crate::config::Schema::Variants(&[ $( $crate::config::Variant {
                    name: ::core::stringify!($variant),
                    description: ::core::concat!($($variant_doc),*),
                    fields: &[ $( $crate::__field!{
                        $(#[doc = $field_doc])* $field : $type $(= $default)? $(=> $range)?
                    } ),* ],
                } ),* ]),
            );
        }
    };
}

/// One key of [`config!`] or [`variants!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __field {
    ( $(#[doc = $doc:literal])* $field:ident : $type:ty ) => {
        $crate::__field!(@ ($($doc),*) $field, $type, None, None)
    };
    ( $(#[doc = $doc:literal])* $field:ident : $type:ty = $default:expr ) => {
        $crate::__field!(@ ($($doc),*) $field, $type, Some(::core::stringify!($default)), None)
    };
    ( $(#[doc = $doc:literal])* $field:ident : $type:ty => $range:expr ) => {
        $crate::__field!(@ ($($doc),*) $field, $type, None, Some(::core::stringify!($range)))
    };
    ( $(#[doc = $doc:literal])* $field:ident : $type:ty = $default:expr => $range:expr ) => {
        $crate::__field!(@ ($($doc),*) $field, $type, Some(::core::stringify!($default)), Some(::core::stringify!($range)))
    };
    ( @ ($($doc:literal),*) $field:ident, $type:ty, $default:expr, $range:expr ) => {
        $crate::config::Field {
            name: ::core::stringify!($field),
            description: ::core::concat!($($doc),*),
            schema: &<$type as $crate::config::Described>::SCHEMA,
            default: $default,
            range: $range,
        }
    };
}
