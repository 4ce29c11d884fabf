//! A model as a stack: what is below, layers of one kind, what is above.
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};
use std::collections::BTreeSet;

/// Gives the first hidden states.
type Bottom<'a, M, const D: usize> = dyn Fn(&M) -> Tensor<D> + 'a;

/// Makes the last hidden states a loss.
type Top<'a, M, const D: usize> = dyn Fn(&M, Tensor<D>) -> Tensor<1> + 'a;

/// A loss as a stack of layers computes it; hidden states have rank `D`.
///
/// The functions are called once going up and once going down, and must do the same both times. Dropout does when its seeds
/// come from [`blockllm_kernels::next_dropout_seed`], as in all models of this project; burn's own `Dropout` does not.
pub struct Stack<'a, M, const D: usize> {
    bottom: Box<Bottom<'a, M, D>>,
    layers: Box<dyn Layers<M, D> + 'a>,
    top: Box<Top<'a, M, D>>,
    shared: BTreeSet<ParamId>,
}

impl<'a, M: Module, const D: usize> Stack<'a, M, D> {
    /// The loss `top(layers(bottom))`: `bottom` gives the first hidden states, every one of `layers`, lowest first, goes
    /// through `layer`, and `top` makes the last hidden states a loss (`[1]`).
    ///
    /// No parameter may be used in two of these, or by two layers, unless [`with_shared`](Self::with_shared) names it.
    pub fn new<L: Module + 'a>(
        bottom: impl Fn(&M) -> Tensor<D> + 'a,
        layers: fn(&M) -> &[L],
        layer: impl Fn(&L, Tensor<D>) -> Tensor<D> + 'a,
        top: impl Fn(&M, Tensor<D>) -> Tensor<1> + 'a,
    ) -> Self
    where
        M: 'a,
    {
        Self {
            bottom: Box::new(bottom),
            layers: Box::new(OfOneKind {
                layers,
                forward: layer,
            }),
            top: Box::new(top),
            shared: BTreeSet::new(),
        }
    }

    /// With parameters that are used in more than one place, such as an embedding that is the head as well: their
    /// gradients are handed over last, when all places have been passed.
    #[must_use]
    pub fn with_shared(mut self, parameters: impl IntoIterator<Item = ParamId>) -> Self {
        self.shared.extend(parameters);
        self
    }

    /// With the loss multiplied by `factor`, such as a micro-batch's share of all labels.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self
    where
        M: 'a,
    {
        let top = self.top;
        self.top = Box::new(move |model, hidden| top(model, hidden).mul_scalar(factor));
        self
    }

    /// The loss of the usual forward pass, tracked whole by autodiff: `[1]`.
    pub fn loss(&self, model: &M) -> Tensor<1> {
        let mut hidden = (self.bottom)(model);
        for index in 0..self.depth(model) {
            hidden = self.layers.forward(model, index, hidden);
        }
        (self.top)(model, hidden)
    }

    pub(crate) fn depth(&self, model: &M) -> usize {
        self.layers.depth(model)
    }

    pub(crate) fn bottom(&self, model: &M) -> Tensor<D> {
        (self.bottom)(model)
    }

    pub(crate) fn layers(&self) -> &dyn Layers<M, D> {
        &*self.layers
    }

    pub(crate) fn top(&self, model: &M, hidden: Tensor<D>) -> Tensor<1> {
        (self.top)(model, hidden)
    }

    pub(crate) fn shared(&self) -> &BTreeSet<ParamId> {
        &self.shared
    }
}

impl<M, const D: usize> std::fmt::Debug for Stack<'_, M, D> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Stack")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// The layers of a model, whatever their kind.
pub(crate) trait Layers<M, const D: usize> {
    /// How many there are.
    fn depth(&self, model: &M) -> usize;

    /// Whether a parameter of this layer requires gradients.
    fn is_trained(&self, model: &M, index: usize) -> bool;

    /// One layer.
    fn forward(&self, model: &M, index: usize, hidden: Tensor<D>) -> Tensor<D>;

    /// The same with nothing tracked, dropout and all else as in training.
    fn forward_untracked(&self, model: &M, index: usize, hidden: Tensor<D>) -> Tensor<D>;

    /// The layer's own of all gradients.
    fn gradients(&self, model: &M, index: usize, gradients: &mut Gradients) -> GradientsParams;
}

struct OfOneKind<M, L, F> {
    layers: fn(&M) -> &[L],
    forward: F,
}

impl<M, L: Module, F: Fn(&L, Tensor<D>) -> Tensor<D>, const D: usize> Layers<M, D> for OfOneKind<M, L, F> {
    fn depth(&self, model: &M) -> usize {
        (self.layers)(model).len()
    }

    fn is_trained(&self, model: &M, index: usize) -> bool {
        let mut visitor = AnyTrained(false);
        (self.layers)(model)[index].visit(&mut visitor);
        visitor.0
    }

    fn forward(&self, model: &M, index: usize, hidden: Tensor<D>) -> Tensor<D> {
        (self.forward)(&(self.layers)(model)[index], hidden)
    }

    fn forward_untracked(&self, model: &M, index: usize, hidden: Tensor<D>) -> Tensor<D> {
        let layer = (self.layers)(model)[index].clone().no_grad();
        (self.forward)(&layer, hidden)
    }

    fn gradients(&self, model: &M, index: usize, gradients: &mut Gradients) -> GradientsParams {
        GradientsParams::from_module(gradients, &(self.layers)(model)[index])
    }
}

struct AnyTrained(bool);

impl ModuleVisitor for AnyTrained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 |= param.base().is_require_grad();
    }
}
