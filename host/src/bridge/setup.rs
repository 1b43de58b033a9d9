//! The setup table.

use fluxbay_plugin::abi::{
    setup::{SetupTable, Slot},
    text::Text,
};

use super::answer::{Out, answer, text};
use crate::calls::context::lend;
use crate::learner::state::Rights;

pub static TABLE: SetupTable = SetupTable {
    read,
    write,
    run_after,
    run_before,
    subscribe,
    event,
    hyper_parameter,
    child,
    optimizer_state,
    instance_id,
    base_dir,
    run_dir,
};

unsafe extern "C" fn read(path: Text, slot: *mut Slot) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (path, slot) = unsafe { (text(path)?, Out::new(slot)?) };
        slot.put(runtime.setup_grant(caller, path, Rights::Read)?);
        Ok(())
    })
}

unsafe extern "C" fn write(path: Text, slot: *mut Slot) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (path, slot) = unsafe { (text(path)?, Out::new(slot)?) };
        slot.put(runtime.setup_grant(caller, path, Rights::Write)?);
        Ok(())
    })
}

unsafe extern "C" fn run_after(name: Text) -> i32 {
    // SAFETY: lent for the call.
    answer(|runtime, caller| runtime.setup_run_after(caller, unsafe { text(name)? }))
}

unsafe extern "C" fn run_before(name: Text) -> i32 {
    // SAFETY: lent for the call.
    answer(|runtime, caller| runtime.setup_run_before(caller, unsafe { text(name)? }))
}

unsafe extern "C" fn subscribe(event: Text) -> i32 {
    // SAFETY: lent for the call.
    answer(|runtime, caller| runtime.setup_subscribe(caller, unsafe { text(event)? }))
}

unsafe extern "C" fn event(name: Text, kind: *mut u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (name, kind) = unsafe { (text(name)?, Out::new(kind)?) };
        kind.put(runtime.setup_event(caller, name)?);
        Ok(())
    })
}

unsafe extern "C" fn hyper_parameter(name: Text, initial: f64, slot: *mut Slot) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (name, slot) = unsafe { (text(name)?, Out::new(slot)?) };
        slot.put(runtime.setup_hyper_parameter(caller, name, initial)?);
        Ok(())
    })
}

unsafe extern "C" fn child(kind: u32, component: Text, config: Text, child: *mut u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (component, config, child) =
            unsafe { (text(component)?, text(config)?, Out::new(child)?) };
        child.put(runtime.setup_child(caller, kind, component, config)?);
        Ok(())
    })
}

unsafe extern "C" fn optimizer_state(name: Text) -> i32 {
    // SAFETY: lent for the call.
    answer(|runtime, caller| runtime.setup_optimizer_state(caller, unsafe { text(name)? }))
}

unsafe extern "C" fn instance_id(id: *mut Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let id = unsafe { Out::new(id)? };
        id.put(lend(runtime.setup_instance_id(caller)?));
        Ok(())
    })
}

unsafe extern "C" fn base_dir(path: *mut Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let path = unsafe { Out::new(path)? };
        path.put(lend(runtime.setup_base_dir(caller)?));
        Ok(())
    })
}

unsafe extern "C" fn run_dir(path: *mut Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let path = unsafe { Out::new(path)? };
        runtime.setup_instance_id(caller)?;
        path.put(lend(runtime.folders.run.clone()));
        Ok(())
    })
}
