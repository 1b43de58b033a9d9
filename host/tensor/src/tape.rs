//! The tape: recorded operations in order, with their backward functions.
//!
//! Nodes are in the order of the forward pass, so a backward pass is a loop over indices. Gradients
//! are moved from a node to its inputs; only a second gradient for the same value causes an
//! addition, in place. The engine owns the tape; operations return their backward functions to it.

use smallvec::SmallVec;

use super::anomaly::Computed;
use super::context::Context;
use super::error::{Result, TensorError};
use super::operations::Gradient;
use super::replay::{self, Replay};
use super::segments::{Held, Segments};
use super::timeline;
use super::value::Value;

/// Where a value's gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Nowhere: a constant.
    None,
    /// To the parameter with this index.
    Parameter(u32),
    /// To the watched tensor with this number.
    Watched(u32),
    /// To this output of this node (counted since the engine was made).
    Node { id: u64, output: u32 },
}

/// Gradients of a node's outputs (missing ones are zero), and which of its inputs want one.
pub(crate) struct Gradients<'a> {
    pub outputs: SmallVec<[Option<Value>; 1]>,
    pub wants: &'a [bool],
}

impl Gradients<'_> {
    /// The gradient of the only output. It exists: backward functions are called only with one.
    pub fn only(&mut self) -> Result<Value> {
        self.outputs[0]
            .take()
            .ok_or_else(|| TensorError::request("a gradient was asked twice of one node"))
    }
    pub fn wants(&self, input: usize) -> bool {
        self.wants.get(input).copied().unwrap_or(false)
    }
}

/// Gradients of a node's inputs, in their order; missing ones at the end are `None`.
pub(crate) type InputGradients = SmallVec<[Option<Value>; 4]>;

/// Computes the gradients of the inputs from those of the outputs.
pub(crate) type Backward = Box<dyn FnOnce(&mut Context, Gradients) -> Result<InputGradients>>;

pub(crate) struct Node {
    pub operation: &'static str,
    pub inputs: SmallVec<[Source; 4]>,
    /// The block of samples that it belongs to; 0 for none.
    pub block: u32,
    /// Of the outputs, to check the gradients.
    #[cfg(debug_assertions)]
    pub shapes: SmallVec<[candle_core::Shape; 1]>,
    pub backward: Way,
}

/// How gradients pass a node.
pub(crate) enum Way {
    /// By this function, which has the values that it needs.
    Function(Backward),
    /// Not, for this reason.
    Missing(&'static str),
    /// By a function that is made by computing the node's part of the tape again.
    Dropped,
}

/// The tape. A used node is replaced by `None`.
#[derive(Default)]
pub(crate) struct Tape {
    base: u64,
    nodes: Vec<Option<Node>>,
    pub segments: Segments,
    wanted: Vec<bool>,
    gradients: Vec<SmallVec<[Option<Value>; 1]>>,
}

const USED: &str = "a gradient reached a computation that was already used by an earlier backward pass, or whose tape was \
cleared; add the losses and go back once, or detach the value";

impl Tape {
    /// Appends a node; `replay` is wanted while a part is open that may be computed again.
    pub fn push(&mut self, node: Node, replay: Option<Replay>) -> u64 {
        let id = self.next();
        if let (Some(segment), Some(replay)) = (self.segments.opened(), replay) {
            segment.replays.push(replay);
        }
        self.nodes.push(Some(node));
        id
    }

    /// Number of the next node.
    pub fn next(&self) -> u64 {
        self.base + self.nodes.len() as u64
    }

    pub fn clear(&mut self) {
        self.base += self.nodes.len() as u64;
        self.nodes.clear();
        self.segments.clear();
    }

    /// Frees what the nodes of a part keep.
    pub fn drop_segment(&mut self, place: usize) {
        let segment = self.segments.at(place);
        segment.held = Held::Dropped;
        let first = (segment.first - self.base) as usize;
        let nodes = first..first + segment.replays.len();
        self.segments.dropped += 1;
        for node in self.nodes[nodes].iter_mut().flatten() {
            if matches!(node.backward, Way::Function(_)) {
                node.backward = Way::Dropped;
            }
        }
    }

    /// Computes the part of node `index` again, which gives its nodes their functions.
    fn compute_again(&mut self, context: &mut Context, index: usize) -> Result<()> {
        let Self { base, nodes, segments, .. } = self;
        let segment = segments.of(*base + index as u64).filter(|it| it.held == Held::Dropped);
        let Some(segment) = segment else {
            return Err(TensorError::request("a block could not be computed again"));
        };
        segment.held = Held::Again;
        let first = (segment.first - *base) as usize;
        let begin = timeline::begin();
        let outcome =
            replay::apply_all(context, std::mem::take(&mut segment.replays), |number, gradient| {
                if let (Some(node), Gradient::Function(function)) =
                    (&mut nodes[first + number], gradient)
                {
                    node.backward = Way::Function(function);
                }
            });
        timeline::end(begin, "operation", timeline::Name::Text("recomputation"));
        outcome
    }

    pub fn len(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    /// Computes gradients from `loss` backwards. `is_target` selects the values whose gradient is
    /// wanted; `found` is called with each: once with the whole gradient of a value of the tape, and
    /// with parts to be added up for parameters and watched tensors, and the block that the part comes
    /// from.
    pub fn backward(
        &mut self,
        context: &mut Context,
        loss: (Source, Value),
        is_target: impl Fn(Source) -> bool,
        mut found: impl FnMut(&mut Context, (Source, u32), Value) -> Result<()>,
    ) -> Result<()> {
        let (source, seed) = loss;
        let Source::Node { id, output } = source else {
            return if is_target(source) { found(context, (source, 0), seed) } else { Ok(()) };
        };
        let Some(last) = id
            .checked_sub(self.base)
            .map(|last| last as usize)
            .filter(|&last| last < self.nodes.len())
        else {
            return Err(
                TensorError::Gradient { operation: "backward", message: USED.into() }.into()
            );
        };
        self.segments.close();
        self.mark_wanted(last, &is_target);
        let mut gradients = std::mem::take(&mut self.gradients);
        gradients.clear();
        gradients.resize_with(last + 1, SmallVec::new);
        put(context, &mut gradients[last], output as usize, seed)?;
        let outcome = self.walk(context, last, &mut gradients, &is_target, &mut found);
        gradients.clear();
        self.gradients = gradients;
        if self.nodes.iter().all(Option::is_none) {
            self.clear();
        }
        outcome
    }

    fn mark_wanted(&mut self, last: usize, is_target: &impl Fn(Source) -> bool) {
        self.wanted.clear();
        for index in 0..=last {
            let wanted = match &self.nodes[index] {
                // A used node: whether it led to a target is unknown, so reaching it is an error.
                None => true,
                Some(node) => node.inputs.iter().any(|&input| self.is_wanted(input, is_target)),
            };
            self.wanted.push(wanted);
        }
    }

    fn is_wanted(&self, source: Source, is_target: &impl Fn(Source) -> bool) -> bool {
        match source {
            Source::None => false,
            Source::Node { id, .. } => {
                is_target(source)
                    || id.checked_sub(self.base).is_none_or(|index| self.wanted[index as usize])
            }
            leaf => is_target(leaf),
        }
    }

    fn walk(
        &mut self,
        context: &mut Context,
        last: usize,
        gradients: &mut [SmallVec<[Option<Value>; 1]>],
        is_target: &impl Fn(Source) -> bool,
        found: &mut impl FnMut(&mut Context, (Source, u32), Value) -> Result<()>,
    ) -> Result<()> {
        for index in (0..=last).rev() {
            if gradients[index].is_empty() {
                continue;
            }
            let outputs = std::mem::take(&mut gradients[index]);
            let id = self.base + index as u64;
            for (output, gradient) in outputs.iter().enumerate() {
                let source = Source::Node { id, output: output as u32 };
                if let Some(gradient) = gradient.as_ref().filter(|_| is_target(source)) {
                    found(context, (source, 0), gradient.clone())?;
                }
            }
            if !self.wanted[index] {
                continue;
            }
            if matches!(&self.nodes[index], Some(Node { backward: Way::Dropped, .. })) {
                self.compute_again(context, index)?;
            }
            let Some(node) = self.nodes[index].take() else {
                return Err(
                    TensorError::Gradient { operation: "backward", message: USED.into() }.into()
                );
            };
            let wants: SmallVec<[bool; 8]> =
                node.inputs.iter().map(|&input| self.is_wanted(input, is_target)).collect();
            let backward = match node.backward {
                Way::Function(backward) => backward,
                Way::Missing(why) => {
                    let message = why.into();
                    return Err(TensorError::Gradient { operation: node.operation, message }.into());
                }
                Way::Dropped => {
                    return Err(TensorError::request("a block could not be computed again"));
                }
            };
            #[cfg(debug_assertions)]
            assert!(
                outputs
                    .iter()
                    .zip(&node.shapes)
                    .all(|(g, s)| g.as_ref().is_none_or(|g| g.shape() == s))
            );
            let begin = timeline::begin();
            let results = backward(context, Gradients { outputs, wants: &wants })?;
            timeline::end(begin, "gradient", timeline::Name::Text(node.operation));
            if context.detection.is_some() {
                self.read_gradients(context, index, &node.inputs, node.operation, &results)?;
            }
            let mut results = results.into_iter();
            for (input, (&source, &wanted)) in node.inputs.iter().zip(&wants).enumerate() {
                let gradient = results.next().flatten();
                if !wanted {
                    continue;
                }
                let Some(gradient) = gradient else {
                    let message =
                        format!("it has no gradient for its input {input}; detach that input");
                    return Err(TensorError::Gradient { operation: node.operation, message }.into());
                };
                match source {
                    Source::Node { id, output } => {
                        let Some(index) = id.checked_sub(self.base) else {
                            return Err(TensorError::Gradient {
                                operation: node.operation,
                                message: USED.into(),
                            }
                            .into());
                        };
                        put(context, &mut gradients[index as usize], output as usize, gradient)?;
                    }
                    Source::None => {}
                    leaf => found(context, (leaf, node.block), gradient)?,
                }
            }
        }
        Ok(())
    }
}

impl Tape {
    /// Reads the gradients that node `index` returned for the detection of NaN and infinities.
    #[cold]
    fn read_gradients(
        &self,
        context: &mut Context,
        index: usize,
        inputs: &[Source],
        operation: &'static str,
        gradients: &InputGradients,
    ) -> Result<()> {
        let Some(mut detection) = context.detection.take() else { return Ok(()) };
        let parameter_of = |inputs: &[Source]| {
            inputs.iter().find_map(|source| match source {
                Source::Parameter(index) => Some(*index as usize),
                _ => None,
            })
        };
        let before = self.nodes[..index].iter().rev().flatten();
        let results: Vec<&Value> = gradients.iter().flatten().collect();
        let outcome = detection.read(
            &*context.backend,
            &Computed {
                operation,
                backward: true,
                inputs: &[],
                results: &results,
                parameter: parameter_of(inputs),
                earlier: before
                    .map(|node| parameter_of(&node.inputs))
                    .find(Option::is_some)
                    .flatten(),
            },
        );
        context.detection = Some(detection);
        outcome
    }
}

/// Moves a gradient to its place, or adds it to the one that is there.
fn put(
    context: &mut Context,
    slots: &mut SmallVec<[Option<Value>; 1]>,
    output: usize,
    gradient: Value,
) -> Result<()> {
    while slots.len() <= output {
        slots.push(None);
    }
    slots[output] = Some(match slots[output].take() {
        None => gradient,
        Some(earlier) => context.accumulate(earlier, gradient)?,
    });
    Ok(())
}
