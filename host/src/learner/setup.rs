//! The setup of an instance that is being created: what it asked for so far.

use std::cell::RefCell;
use std::rc::Rc;

use super::instance::{Declared, Instance, OnError, Requested};
use super::refusal::{Answer, Refusal};
use super::state::{Rights, covers};

/// What a new instance is called and where its hyper-parameters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInstance {
    /// Its id, unique in the run.
    pub id: String,
    /// State path above its hyper-parameters: `optimizer`, `optimizer.MODEL` or `hyper.ID`.
    pub hyper_prefix: String,
    /// For a parameter group: what it shares with other instances of the optimizer.
    pub group: Option<GroupSettings>,
    /// What happens when it fails.
    pub on_error: OnError,
}

/// What a parameter group shares with the optimizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Hyper-parameters that are the group's own.
    pub own: Vec<String>,
    /// State paths above the hyper-parameters that it uses otherwise, the nearest first.
    pub from: Vec<String>,
}

impl NewInstance {
    /// An instance whose hyper-parameters are under `hyper.ID`.
    pub fn named(id: &str) -> NewInstance {
        NewInstance {
            id: id.to_owned(),
            hyper_prefix: format!("hyper.{id}"),
            group: None,
            on_error: OnError::Stop,
        }
    }
}

/// An instance that is being created.
#[derive(Debug)]
pub(super) struct SetupFrame {
    pub(super) number: u32,
    pub(super) id: String,
    pub(super) component: String,
    pub(super) hyper_prefix: String,
    pub(super) group: Option<GroupSettings>,
    pub(super) declared: Declared,
    pub(super) requested: Requested,
    /// Whether it subscribed to events itself; otherwise it gets all that it declares.
    pub(super) has_subscribed: bool,
    pub(super) children: Vec<Rc<Instance>>,
}

/// The instances that are being created, the innermost last.
#[derive(Debug, Default)]
pub(super) struct Setup(RefCell<Vec<SetupFrame>>);

impl Setup {
    /// Begins the setup of an instance.
    pub(super) fn push(&self, frame: SetupFrame) {
        self.0.borrow_mut().push(frame);
    }

    /// Ends the innermost setup.
    pub(super) fn pop(&self) -> Option<SetupFrame> {
        self.0.borrow_mut().pop()
    }

    /// Calls `f` with the setup of `caller`, which must be the innermost.
    pub(super) fn with<T>(
        &self,
        caller: u32,
        f: impl FnOnce(&mut SetupFrame) -> Answer<T>,
    ) -> Answer<T> {
        match self.0.borrow_mut().last_mut() {
            Some(frame) if frame.number == caller => f(frame),
            _ => Err(Refusal::Text(
                "the setup functions can be called only while the instance is created".into(),
            )),
        }
    }
}

impl SetupFrame {
    /// Whether one of its children handles an event.
    pub(super) fn child_handles(&self, number: u32) -> bool {
        self.children.iter().any(|child| child.handles(number))
    }

    /// Records the request for access to `path`, within what the manifest declares.
    pub(super) fn allow(&mut self, path: &str, rights: Rights) -> Answer {
        let within = |paths: &[String]| paths.iter().any(|declared| covers(declared, path));
        match rights {
            Rights::Write if !within(&self.declared.writes) => {
                Err(self.undeclared("write", path, "writes"))
            }
            Rights::Read if !within(&self.declared.reads) && !within(&self.declared.writes) => {
                Err(self.undeclared("read", path, "reads"))
            }
            Rights::Write => {
                self.requested.writes.push(path.to_owned());
                Ok(())
            }
            Rights::Read => {
                self.requested.reads.push(path.to_owned());
                Ok(())
            }
        }
    }

    /// The refusal of something that the manifest does not declare.
    pub(super) fn undeclared(&self, what: &str, name: &str, list: &str) -> Refusal {
        Refusal::Text(format!(
            "`{}` may not {what} `{name}`: add \"{name}\" to the `{list}` of {} in its plugin's manifest",
            self.id, self.component
        ))
    }
}
