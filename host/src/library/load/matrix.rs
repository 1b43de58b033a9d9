//! Which contracts are compatible: contracts that differ in one thing from a base contract, as host
//! and as plugin.
//!
//! Each module below is a contract, compiled like the real one. The snapshot shows which plugins
//! load, and the error for those that do not.

#![allow(dead_code, reason = "only the layouts are looked at")]

use abi_stable::StableAbi;

use super::layout::compare;

/// A contract like the real one: an extensible root that refers to a plain table.
macro_rules! contract {
    ($name:ident { $($table:tt)* } { $($root:tt)* }) => {
        mod $name {
            use super::*;
            #[repr(C)]
            #[derive(StableAbi, Clone, Copy)]
            pub struct Event { $($table)* }
            #[repr(C)]
            #[derive(StableAbi)]
            #[sabi(kind(Prefix(prefix_ref = RootRef, prefix_fields = RootPrefix)))]
            #[sabi(missing_field(option))]
            pub struct Root { $($root)* }
        }
    };
}

contract! { base
    { pub kind: u32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u32) -> i32 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { root_grew
    { pub kind: u32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u32) -> i32 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64, pub more: unsafe extern "C" fn(this: u64) -> i32 }
}
contract! { argument
    { pub kind: u32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u64) -> i32 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { answer
    { pub kind: u32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u32) -> u32 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { field_more
    { pub kind: u32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u32) -> i32, pub epoch: u64 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { field_less
    { pub kind: u32, pub step: u64 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { swapped
    { pub step: u64, pub kind: u32, pub on: unsafe extern "C" fn(this: u64, event: u32) -> i32 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { renamed
    { pub sort: u32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u32) -> i32 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { retyped
    { pub kind: i32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u32) -> i32 }
    { pub event: Event, #[sabi(last_prefix_field)] pub size: u64 }
}
contract! { inserted
    { pub kind: u32, pub step: u64, pub on: unsafe extern "C" fn(this: u64, event: u32) -> i32 }
    { pub event: Event, pub flags: u64, #[sabi(last_prefix_field)] pub size: u64 }
}

/// The result of loading a plugin with the layout `theirs` into a host of `base`; `newer` is whether
/// the plugin's version is at least the host's.
fn verdict(theirs: &'static abi_stable::type_layout::TypeLayout, newer: bool) -> String {
    match compare(base::RootRef::LAYOUT, theirs, newer) {
        Ok(()) => "loads".to_owned(),
        Err(refusal) => {
            assert!(!refusal.message.contains('\n'), "{}", refusal.message);
            refusal.message.replace("the layout of its tables differs: ", "refused: ")
        }
    }
}

#[test]
fn additions_at_the_end_of_the_root_load_in_both_directions_and_every_other_change_is_refused_with_its_field()
 {
    let contracts = [
        ("the same", base::RootRef::LAYOUT),
        ("a function more at the root's end", root_grew::RootRef::LAYOUT),
        ("another argument", argument::RootRef::LAYOUT),
        ("another answer", answer::RootRef::LAYOUT),
        ("a field more in a plain table", field_more::RootRef::LAYOUT),
        ("a field less in a plain table", field_less::RootRef::LAYOUT),
        ("two fields swapped", swapped::RootRef::LAYOUT),
        ("a field renamed", renamed::RootRef::LAYOUT),
        ("a field of another type", retyped::RootRef::LAYOUT),
        ("a field inserted in the root", inserted::RootRef::LAYOUT),
    ];
    let lines = contracts.map(|(name, layout)| format!("{name}: {}", verdict(layout, true)));
    insta::assert_snapshot!(lines.join("\n"), @r"
    the same: loads
    a function more at the root's end: loads
    another argument: refused: Root.Root.event.on.param_1: type is u64 in the plugin, u32 in the host
    another answer: refused: Root.Root.event.on.__returns: type is u32 in the plugin, i32 in the host
    a field more in a plain table: refused: Root.Root.event: size in bytes is 32 in the plugin, 24 in the host
    a field less in a plain table: refused: Root.Root.event: size in bytes is 16 in the plugin, 24 in the host
    two fields swapped: refused: Root.Root.event: field is step in the plugin, kind in the host
    a field renamed: refused: Root.Root.event: field is sort in the plugin, kind in the host
    a field of another type: refused: Root.Root.event.kind: type is i32 in the plugin, u32 in the host
    a field inserted in the root: refused: Root.Root: number of fields of the first release is 3 in the plugin, 2 in the host
    ");
    // An older plugin, of the contract `base`, in a newer host.
    let older = compare(root_grew::RootRef::LAYOUT, base::RootRef::LAYOUT, false);
    assert!(older.is_ok(), "{older:?}");
    // A version that the tables contradict.
    assert!(compare(root_grew::RootRef::LAYOUT, base::RootRef::LAYOUT, true).is_err());
}
