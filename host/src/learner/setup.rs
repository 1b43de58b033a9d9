//! Creating instances: the plugin says what it needs, the host checks it against the manifest.

use std::rc::Rc;

use fluxbay_plugin::abi::event;

use super::control::{Flow, Stop};
use super::instances::{Answers, Declared, Doing, Identity, Instance, OnError, Prepared};
use super::runtime::{Answer, Refusal, Runtime};
use super::state::{Rights, Value, check_path, covers};
use crate::bridge::call::PluginInstance;
use crate::supervisor::{self, Line, crumb};

/// An instance that is being created.
#[derive(Debug)]
pub struct SetupFrame {
    number: u32,
    id: String,
    component: String,
    hyper_prefix: String,
    declared: Declared,
    answers: Answers,
    subscribed: bool,
    children: Vec<Rc<Instance>>,
}

/// What a new instance is called and where its hyper-parameters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInstance {
    /// Its id, unique in the run.
    pub id: String,
    /// State path above its hyper-parameters: `optimizer`, `optimizer.MODEL` or `hyper.ID`.
    pub hyper_prefix: String,
    /// What happens when it fails.
    pub on_error: OnError,
}

impl NewInstance {
    /// An instance whose hyper-parameters are under `hyper.ID`.
    pub fn named(id: &str) -> NewInstance {
        NewInstance {
            id: id.to_owned(),
            hyper_prefix: format!("hyper.{id}"),
            on_error: OnError::Stop,
        }
    }
}

impl Runtime {
    /// Creates an instance. Its setup calls are answered while it is created.
    ///
    /// # Errors
    /// What the plugin refused, or what the host refused it.
    pub fn create(&self, new: NewInstance, prepared: Prepared) -> Flow<Rc<Instance>> {
        self.create_owned(new, prepared, None)
    }

    fn create_owned(
        &self,
        new: NewInstance,
        prepared: Prepared,
        owner: Option<u32>,
    ) -> Flow<Rc<Instance>> {
        let number = {
            let mut instances = self.instances.borrow_mut();
            instances.push(None);
            instances.len() as u32 - 1
        };
        self.state.borrow_mut().name_owner(number, &new.id, &prepared.name);
        self.setup.borrow_mut().push(SetupFrame {
            number,
            id: new.id.clone(),
            component: prepared.name.clone(),
            hyper_prefix: new.hyper_prefix,
            declared: prepared.declared.clone(),
            answers: Answers::default(),
            subscribed: false,
            children: Vec::new(),
        });
        supervisor::write(&Line::Instance {
            number,
            id: new.id.clone(),
            component: prepared.name.clone(),
            plugin: prepared.plugin.clone(),
        });
        let trail = crumb::call(number, Doing::Creating);
        let created = PluginInstance::create(self, number, prepared.component, &prepared.config);
        trail.end();
        let frame = self.setup.borrow_mut().pop();
        let plugin_side =
            created.map_err(|failure| self.create_error(&new.id, &prepared, failure.text))?;
        let Some(mut frame) = frame else {
            return Err(self.create_error(&new.id, &prepared, "its setup was lost".into()));
        };
        if !frame.subscribed {
            let mut names = self.events.borrow_mut();
            frame.answers.events =
                frame.declared.events.iter().map(|name| names.number(name)).collect();
        }
        frame.answers.run_after.extend(frame.declared.run_after.iter().cloned());
        frame.answers.run_before.extend(frame.declared.run_before.iter().cloned());
        let identity = Identity { number, id: new.id, on_error: new.on_error, owner };
        let instance =
            Rc::new(Instance::new(identity, prepared, frame.answers, frame.children, plugin_side));
        self.instances.borrow_mut()[number as usize] = Some(Rc::clone(&instance));
        Ok(instance)
    }

    fn create_error(&self, id: &str, prepared: &Prepared, text: String) -> Stop {
        let mut stop =
            Stop::host(if text.is_empty() { "it gave no reason".to_owned() } else { text });
        stop.0.by = id.to_owned();
        stop.0.component = prepared.name.clone();
        stop.0.plugin = prepared.plugin.clone();
        stop.0.doing = self.describe(Doing::Creating);
        stop
    }

    fn with_frame<T>(
        &self,
        caller: u32,
        f: impl FnOnce(&mut SetupFrame) -> Answer<T>,
    ) -> Answer<T> {
        match self.setup.borrow_mut().last_mut() {
            Some(frame) if frame.number == caller => f(frame),
            _ => Err(Refusal::Text(
                "the setup functions can be called only while the instance is created".into(),
            )),
        }
    }

    /// Grants access, within what the manifest declares.
    pub(crate) fn setup_grant(&self, caller: u32, path: &str, rights: Rights) -> Answer<u32> {
        check_path(path)?;
        self.with_frame(caller, |frame| frame.allow(path, rights))?;
        Ok(self.state.borrow_mut().grant(caller, path, rights)?)
    }

    pub(crate) fn setup_run_after(&self, caller: u32, name: &str) -> Answer {
        self.with_frame(caller, |frame| {
            frame.answers.run_after.push(name.to_owned());
            Ok(())
        })
    }

    pub(crate) fn setup_run_before(&self, caller: u32, name: &str) -> Answer {
        self.with_frame(caller, |frame| {
            frame.answers.run_before.push(name.to_owned());
            Ok(())
        })
    }

    /// Subscribes to one event of those that the manifest declares, or that a child handles.
    pub(crate) fn setup_subscribe(&self, caller: u32, name: &str) -> Answer {
        let number = self.setup_event(caller, name)?;
        self.with_frame(caller, |frame| {
            if !frame.declared.events.iter().any(|declared| declared == name)
                && !frame.child_handles(number)
            {
                return Err(frame.undeclared("handle the event", name, "events"));
            }
            frame.subscribed = true;
            if !frame.answers.events.contains(&number) {
                frame.answers.events.push(number);
            }
            Ok(())
        })
    }

    /// The number of an event that the instance, or one that belongs to it, handles or emits, or of
    /// a standard one.
    pub(crate) fn setup_event(&self, caller: u32, name: &str) -> Answer<u32> {
        let number = self.events.borrow().known(name);
        self.with_frame(caller, |frame| {
            let declared = [&frame.declared.events, &frame.declared.emits];
            let known = declared.iter().any(|names| names.iter().any(|known| known == name))
                || number.is_some_and(|number| frame.child_handles(number));
            if known || event::NAMES.contains(&name) {
                Ok(())
            } else {
                Err(frame.undeclared("use the custom event", name, "events` or `emits"))
            }
        })?;
        Ok(self.events.borrow_mut().number(name))
    }

    /// Declares a hyper-parameter and puts its first value into the state tree.
    pub(crate) fn setup_hyper_parameter(
        &self,
        caller: u32,
        name: &str,
        initial: f64,
    ) -> Answer<u32> {
        let path = self.with_frame(caller, |frame| {
            if !frame.declared.hyper_parameters.iter().any(|declared| declared == name) {
                return Err(frame.undeclared(
                    "declare the hyper-parameter",
                    name,
                    "hyper-parameters",
                ));
            }
            let path = format!("{}.{name}", frame.hyper_prefix);
            frame.answers.hyper_parameters.push(path.clone());
            Ok(path)
        })?;
        check_path(&path)?;
        let mut state = self.state.borrow_mut();
        let slot = state.grant(caller, &path, Rights::Read)?;
        let node = state.node(&path)?;
        state.set(node, Value::Number(initial));
        Ok(slot)
    }

    /// Creates an instance that belongs to the one being created; answers its number.
    pub(crate) fn setup_child(
        &self,
        caller: u32,
        kind: u32,
        name: &str,
        config: &str,
    ) -> Answer<u32> {
        let id = self.with_frame(caller, |frame| Ok(format!("{}/{}", frame.id, bare(name))))?;
        let id = self.unused_id(id);
        let prepared = self.ports.components.prepare(kind, name, config).map_err(Refusal::Text)?;
        let hyper_prefix = format!("hyper.{}", id.replace(['/', '.'], "-"));
        let child = self
            .create_owned(
                NewInstance { id, hyper_prefix, on_error: OnError::Stop },
                prepared,
                Some(caller),
            )
            .map_err(Refusal::Stop)?;
        let number = child.number;
        self.with_frame(caller, |frame| {
            frame.children.push(child);
            Ok(number)
        })
    }

    fn unused_id(&self, id: String) -> String {
        let taken =
            |id: &str| self.instances.borrow().iter().flatten().any(|instance| instance.id == id);
        if !taken(&id) {
            return id;
        }
        let mut numbered = (2_u32..).map(|number| format!("{id}-{number}"));
        numbered.find(|candidate| !taken(candidate)).unwrap_or(id)
    }

    pub(crate) fn setup_optimizer_state(&self, caller: u32, name: &str) -> Answer {
        self.with_frame(caller, |frame| {
            if frame.answers.optimizer_state.iter().any(|known| known == name) {
                return Err(Refusal::Text(format!("the optimizer state `{name}` is named twice")));
            }
            frame.answers.optimizer_state.push(name.to_owned());
            Ok(())
        })
    }

    pub(crate) fn setup_instance_id(&self, caller: u32) -> Answer<String> {
        self.with_frame(caller, |frame| Ok(frame.id.clone()))
    }
}

/// The component's name without plugin and kind.
fn bare(name: &str) -> &str {
    name.rsplit(['/', ':']).next().unwrap_or(name)
}

impl SetupFrame {
    fn child_handles(&self, number: u32) -> bool {
        self.children.iter().any(|child| child.handles(number))
    }

    fn allow(&mut self, path: &str, rights: Rights) -> Answer {
        let within = |paths: &[String]| paths.iter().any(|declared| covers(declared, path));
        match rights {
            Rights::Write if !within(&self.declared.writes) => {
                Err(self.undeclared("write", path, "writes"))
            }
            Rights::Read if !within(&self.declared.reads) && !within(&self.declared.writes) => {
                Err(self.undeclared("read", path, "reads"))
            }
            Rights::Write => {
                self.answers.writes.push(path.to_owned());
                Ok(())
            }
            Rights::Read => {
                self.answers.reads.push(path.to_owned());
                Ok(())
            }
        }
    }

    fn undeclared(&self, what: &str, name: &str, list: &str) -> Refusal {
        Refusal::Text(format!(
            "`{}` may not {what} `{name}`: add \"{name}\" to the `{list}` of {} in its plugin's manifest",
            self.id, self.component
        ))
    }
}
