//! Calling an instance: when it may be called, and what a failed call becomes.

use super::control::{Flow, Stop, StopKind, StopReason};
use super::instance::Instance;
use super::runtime::Runtime;
use crate::breadcrumb::Activity;
use crate::calls::{Call, CallError, CallResult};

impl Instance {
    /// Calls the plugin's side: not while it is being called already, and never after a panic.
    #[inline]
    pub fn call<T>(
        &self,
        runtime: &Runtime,
        activity: Activity,
        f: impl FnOnce(Call<'_>) -> CallResult<T>,
    ) -> Flow<T> {
        if self.is_busy() {
            return Err(self.stop(
                runtime,
                StopKind::Error,
                activity,
                "it is being called already: an instance cannot be called again by what it does itself, such as dispatching the event \
                 that it is handling"
                    .into(),
            ));
        }
        self.enter();
        let result = self.call_nested(runtime, activity, f);
        self.leave();
        result
    }

    /// As [`Instance::call`], also while it is being called: a phase's step within its own epoch.
    #[inline]
    pub fn call_nested<T>(
        &self,
        runtime: &Runtime,
        activity: Activity,
        f: impl FnOnce(Call<'_>) -> CallResult<T>,
    ) -> Flow<T> {
        if self.is_poisoned() {
            return Err(self.stop(
                runtime,
                StopKind::Error,
                activity,
                "it panicked before and cannot be called again".into(),
            ));
        }
        match self.plugin_side().call(runtime, activity, f) {
            Ok(value) => {
                runtime.pending.clear();
                Ok(value)
            }
            Err(error) => Err(self.failed(runtime, activity, error)),
        }
    }

    /// The stop for a call that returned an error.
    #[cold]
    #[inline(never)]
    pub(super) fn failed(&self, runtime: &Runtime, activity: Activity, error: CallError) -> Stop {
        let kind = StopKind::from_status(error.status);
        if kind == StopKind::Panic {
            self.poison();
        }
        if let Some(pending) = runtime.pending.take(kind) {
            return pending;
        }
        self.stop(runtime, kind, activity, error.reason().to_owned())
    }

    /// A stop that this instance caused.
    #[cold]
    #[inline(never)]
    pub(super) fn stop(
        &self,
        runtime: &Runtime,
        kind: StopKind,
        activity: Activity,
        text: String,
    ) -> Stop {
        Stop(Box::new(StopReason {
            kind,
            by: self.id.clone(),
            component: self.component.clone(),
            plugin: self.plugin.clone(),
            activity: runtime.describe(activity),
            text,
        }))
    }
}
