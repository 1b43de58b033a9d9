//! Creating instances: the plugin asks for what it needs, the host checks it against the manifest.

use std::rc::Rc;

use fluxbay_plugin::abi::{entry::kind, event, metric::direction};

use super::control::{Flow, Stop};
use super::events::number_of;
use super::instance::{Identity, Instance, OnError, Prepared, Requested};
use super::refusal::{Answer, Refusal};
use super::runtime::Runtime;
use super::setup::{GroupSettings, NewInstance, SetupFrame};
use super::state::{Rights, Value, check_path};
use crate::breadcrumb::{self, Activity, Line};
use crate::calls::PluginInstance;

impl Runtime {
    /// Creates an instance. Setup functions serve it meanwhile.
    ///
    /// # Errors
    /// What the plugin or the host refused.
    pub fn create(&self, new: NewInstance, prepared: Prepared) -> Flow<Rc<Instance>> {
        self.create_owned(new, prepared, None)
    }

    fn create_owned(
        &self,
        new: NewInstance,
        prepared: Prepared,
        owner: Option<u32>,
    ) -> Flow<Rc<Instance>> {
        let number = self.members.reserve();
        self.state.borrow_mut().name_owner(number, &new.id, &prepared.name);
        self.setup.push(SetupFrame {
            number,
            id: new.id.clone(),
            component: prepared.name.clone(),
            hyper_prefix: new.hyper_prefix,
            group: new.group,
            declared: prepared.declared.clone(),
            requested: Requested::default(),
            has_subscribed: false,
            children: Vec::new(),
        });
        breadcrumb::write(&Line::Instance {
            number,
            id: new.id.clone(),
            component: prepared.name.clone(),
            plugin: prepared.plugin.clone(),
        });
        let label = format!("`{}` ({} of {})", new.id, prepared.name, prepared.plugin);
        let created = PluginInstance::create(
            self,
            number,
            label,
            prepared.component,
            prepared.rows,
            &prepared.config,
        );
        let frame = self.setup.pop();
        let plugin_side = created
            .map_err(|error| self.create_error(&new.id, &prepared, error.reason().to_owned()))?;
        let direction = match plugin_side.kind() {
            kind::METRIC => {
                plugin_side.call(self, Activity::Creating, |call| call.metric_direction()).map_err(
                    |error| self.create_error(&new.id, &prepared, error.reason().to_owned()),
                )?
            }
            _ => direction::UNKNOWN,
        };
        let Some(mut frame) = frame else {
            return Err(self.create_error(&new.id, &prepared, "its setup was lost".into()));
        };
        if !frame.has_subscribed {
            let mut names = self.members.events.borrow_mut();
            frame.requested.events =
                frame.declared.events.iter().map(|name| number_of(&mut names, name)).collect();
        }
        frame.requested.run_after.extend(frame.declared.run_after.iter().cloned());
        frame.requested.run_before.extend(frame.declared.run_before.iter().cloned());
        let identity = Identity { number, id: new.id, on_error: new.on_error, owner, direction };
        let instance = Rc::new(Instance::new(
            identity,
            prepared,
            frame.requested,
            frame.children,
            plugin_side,
        ));
        self.members.add(&instance);
        Ok(instance)
    }

    fn create_error(&self, id: &str, prepared: &Prepared, text: String) -> Stop {
        let mut stop = Stop::host(text);
        stop.0.by = id.to_owned();
        stop.0.component = prepared.name.clone();
        stop.0.plugin = prepared.plugin.clone();
        stop.0.activity = self.describe(Activity::Creating);
        stop
    }

    /// Grants access, within what the manifest declares.
    pub(crate) fn setup_grant(&self, caller: u32, path: &str, rights: Rights) -> Answer<u32> {
        check_path(path)?;
        self.setup.with(caller, |frame| frame.allow(path, rights))?;
        Ok(self.state.borrow_mut().grant(caller, path, rights)?)
    }

    pub(crate) fn setup_run_after(&self, caller: u32, name: &str) -> Answer {
        self.setup.with(caller, |frame| {
            frame.requested.run_after.push(name.to_owned());
            Ok(())
        })
    }

    pub(crate) fn setup_run_before(&self, caller: u32, name: &str) -> Answer {
        self.setup.with(caller, |frame| {
            frame.requested.run_before.push(name.to_owned());
            Ok(())
        })
    }

    /// Subscribes to an event that the manifest declares or a child handles.
    pub(crate) fn setup_subscribe(&self, caller: u32, name: &str) -> Answer {
        let number = self.setup_event(caller, name)?;
        self.setup.with(caller, |frame| {
            if !frame.declared.events.iter().any(|declared| declared == name)
                && !frame.child_handles(number)
            {
                return Err(frame.undeclared("handle the event", name, "events"));
            }
            frame.has_subscribed = true;
            if !frame.requested.events.contains(&number) {
                frame.requested.events.push(number);
            }
            Ok(())
        })
    }

    /// The number of a standard event, or of a custom one that the instance handles or emits or one
    /// of its children handles.
    pub(crate) fn setup_event(&self, caller: u32, name: &str) -> Answer<u32> {
        let number = self.members.events.borrow().number(name);
        self.setup.with(caller, |frame| {
            let declared = [&frame.declared.events, &frame.declared.emits];
            let known = declared.iter().any(|names| names.iter().any(|known| known == name))
                || number.is_some_and(|number| frame.child_handles(number));
            if known || event::NAMES.contains(&name) {
                Ok(())
            } else {
                Err(frame.undeclared("use the custom event", name, "events` or `emits"))
            }
        })?;
        Ok(number_of(&mut self.members.events.borrow_mut(), name))
    }

    /// Declares a hyper-parameter and writes its first value to the state tree.
    pub(crate) fn setup_hyper_parameter(
        &self,
        caller: u32,
        name: &str,
        initial: f64,
    ) -> Answer<u32> {
        let (path, range) = self.setup.with(caller, |frame| {
            if !frame.declared.hyper_parameters.iter().any(|declared| declared == name) {
                return Err(frame.undeclared(
                    "declare the hyper-parameter",
                    name,
                    "hyper-parameters",
                ));
            }
            let group = frame.group.as_ref();
            let shared = group.and_then(|group| self.shared_hyper_parameter(group, name, initial));
            let path = shared.unwrap_or_else(|| format!("{}.{name}", frame.hyper_prefix));
            frame.requested.hyper_parameters.push(path.clone());
            Ok((path, frame.declared.ranges.get(name).cloned().unwrap_or_default()))
        })?;
        check_path(&path)?;
        let mut state = self.state.borrow_mut();
        let slot = state.grant(caller, &path, Rights::Read)?;
        let node = state.node(&path)?;
        state.set(node, Value::Number(initial));
        state.set_range(node, range);
        Ok(slot)
    }

    /// The path of the hyper-parameter that a parameter group shares with another instance: the
    /// nearest one of its name, if it begins at the same value and the group has none of its own.
    fn shared_hyper_parameter(
        &self,
        group: &GroupSettings,
        name: &str,
        initial: f64,
    ) -> Option<String> {
        if group.own.iter().any(|own| own == name) {
            return None;
        }
        let state = self.state.borrow();
        let number = |path: &str| match state.value_at(path) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        };
        let mut paths = group.from.iter().map(|above| format!("{above}.{name}"));
        let nearest = paths.find(|path| number(path).is_some())?;
        (number(&nearest)?.to_bits() == initial.to_bits()).then_some(nearest)
    }

    /// Creates an instance that belongs to the one being created, and returns its number.
    pub(crate) fn setup_child(
        &self,
        caller: u32,
        kind: u32,
        name: &str,
        config: &str,
    ) -> Answer<u32> {
        let id = self.setup.with(caller, |frame| Ok(format!("{}/{}", frame.id, bare(name))))?;
        let id = self.unused_id(id);
        let prepared = self.ports.components.prepare(kind, name, config).map_err(Refusal::Text)?;
        let hyper_prefix = format!("hyper.{}", id.replace(['/', '.'], "-"));
        let child = self
            .create_owned(
                NewInstance { id, hyper_prefix, group: None, on_error: OnError::Stop },
                prepared,
                Some(caller),
            )
            .map_err(Refusal::Stop)?;
        let number = child.number;
        self.setup.with(caller, |frame| {
            frame.children.push(child);
            Ok(number)
        })
    }

    fn unused_id(&self, id: String) -> String {
        let taken = |id: &str| self.members.named(id).is_some();
        if !taken(&id) {
            return id;
        }
        let mut numbered = (2_u32..).map(|number| format!("{id}-{number}"));
        numbered.find(|candidate| !taken(candidate)).unwrap_or(id)
    }

    pub(crate) fn setup_optimizer_state(&self, caller: u32, name: &str) -> Answer {
        self.setup.with(caller, |frame| {
            if frame.requested.optimizer_state.iter().any(|known| known == name) {
                return Err(Refusal::Text(format!("the optimizer state `{name}` is named twice")));
            }
            frame.requested.optimizer_state.push(name.to_owned());
            Ok(())
        })
    }

    pub(crate) fn setup_instance_id(&self, caller: u32) -> Answer<String> {
        self.setup.with(caller, |frame| Ok(frame.id.clone()))
    }

    /// The folder where relative paths start. Instances that ask for it may write files there.
    pub(crate) fn setup_base_dir(&self, caller: u32) -> Answer<String> {
        self.setup.with(caller, |frame| {
            frame.requested.base_dir = true;
            Ok(self.folders.base.clone())
        })
    }
}

/// The component's name without plugin and kind.
fn bare(name: &str) -> &str {
    name.rsplit(['/', ':']).next().unwrap_or(name)
}
