//! Tables of loggers.

use std::path::Path;

use super::{
    guard::guard,
    instance::{self, Plain, plain},
};
use crate::{
    Logger,
    abi::{
        entry::{Component, Instance, kind},
        logger::{LoggerTable, RecordRaw},
        text::Text,
    },
    logger::Record,
};

unsafe extern "C" fn open<L: Logger>(this: Instance, dir: Text) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned; the text is borrowed for the call.
        let (logger, dir) = unsafe { (plain::<L>(this), dir.to_text()) };
        logger.open(Path::new(&*dir))
    })
}

unsafe extern "C" fn write<L: Logger>(this: Instance, record: *const RecordRaw) -> i32 {
    guard(|| {
        // SAFETY: as above; the record and its texts are borrowed for the call.
        let (logger, raw) = unsafe { (plain::<L>(this), &*record) };
        // SAFETY: as above.
        let (tag, text) = unsafe { (raw.tag.to_text(), raw.text.to_text()) };
        logger.write(&Record::from_parts(raw, tag, text)?)
    })
}

unsafe extern "C" fn flush<L: Logger>(this: Instance) -> i32 {
    // SAFETY: as above.
    guard(|| unsafe { plain::<L>(this) }.flush())
}

unsafe extern "C" fn close<L: Logger>(this: Instance) -> i32 {
    // SAFETY: as above.
    guard(|| unsafe { plain::<L>(this) }.close())
}

struct Table<L>(std::marker::PhantomData<L>);

impl<L: Logger> Table<L> {
    const TABLE: &'static LoggerTable =
        &LoggerTable { open: open::<L>, write: write::<L>, flush: flush::<L>, close: close::<L> };
}

/// The component that offers logger `L`.
pub const fn component<L: Logger>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<Plain<L>>(kind::LOGGER, name, state_version);
    component.logger = Table::<L>::TABLE;
    component
}
