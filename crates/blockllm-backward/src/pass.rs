//! The pass itself: up with nothing tracked, then down through one tracked layer at a time.
use crate::parts::Parts;
use crate::{GradientSum, Stack};
use blockllm_kernels::{dropout_state, seed_dropout, with_gradient};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Gradients, Tensor};

impl<M: Module, const D: usize> Stack<'_, M, D> {
    /// Goes backward layer by layer: `take` gets the model and the gradients of the top, of each layer from the highest to
    /// the lowest that is trained, and of the bottom. It may change the parameters whose gradients it gets, and returns
    /// the model. Parts without gradients are left out.
    ///
    /// Returns the model and the loss (`[1]`, outside autodiff). The thread's sequence of dropout seeds is where a whole
    /// forward pass would have left it.
    ///
    /// # Errors
    /// The first error of `take`.
    ///
    /// # Panics
    /// When a parameter gets gradients in two parts and [`with_shared`](Self::with_shared) does not name it.
    pub fn backward<E>(
        &self,
        model: M,
        take: impl FnMut(M, GradientsParams) -> Result<M, E>,
    ) -> Result<(M, Tensor<1>), E> {
        backward_of_sum(std::slice::from_ref(self), model, take)
    }
}

/// [`Stack::backward`] for the sum of several stacks over one model, such as the micro-batches of a step: each part is
/// summed over all of them before it is handed over, so that one part's gradients exist at a time. What is kept is every
/// layer's input of every stack. What is shared is taken from the first.
///
/// # Errors
/// The first error of `take`.
///
/// # Panics
/// As [`Stack::backward`], and when there is no stack.
pub fn backward_of_sum<M: Module, E, const D: usize>(
    stacks: &[Stack<'_, M, D>],
    mut model: M,
    mut take: impl FnMut(M, GradientsParams) -> Result<M, E>,
) -> Result<(M, Tensor<1>), E> {
    let first = stacks.first().expect("there is a stack");
    let depth = first.depth(&model);
    let mut parts = Parts::new(first.shared());
    let mut sum = GradientSum::default();

    let mut losses: Option<Tensor<1>> = None;
    let mut ways = Vec::new();
    for stack in stacks {
        let mut way = Way::up(stack, &model);
        let (loss, gradients) = way.top(&model);
        sum.add(&model, gradients);
        losses = Some(match losses {
            Some(losses) => losses + loss,
            None => loss,
        });
        ways.push(way);
    }
    let after = dropout_state();
    model = parts.give(model, sum.take(), &mut take)?;

    for index in (0..depth).rev() {
        for way in &mut ways {
            let gradients = way.layer(&model, index);
            sum.add(&model, gradients);
        }
        model = parts.give(model, sum.take(), &mut take)?;
    }
    for way in ways {
        let gradients = way.bottom(&model);
        sum.add(&model, gradients);
    }
    model = parts.give(model, sum.take(), &mut take)?;
    model = parts.finish(model, &mut take)?;

    seed_dropout(after);
    Ok((model, losses.expect("there is a stack")))
}

/// What a part is computed again from.
struct Input<const D: usize> {
    hidden: Tensor<D>,
    dropout: u64,
}

/// One stack on its way: what was kept going up, and the gradient that goes down.
struct Way<'a, 'b, M, const D: usize> {
    stack: &'a Stack<'b, M, D>,
    /// Where dropout stood below the bottom.
    dropout: u64,
    /// Whether anything in the bottom is trained.
    bottom_is_trained: bool,
    /// The lowest layer that is trained or lies above something trained; the number of layers if none does.
    lowest: usize,
    /// What goes into each layer from the lowest on, and last what goes into the top.
    inputs: Vec<Input<D>>,
    /// The gradient of what the next part gives out.
    gradient: Option<Tensor<D>>,
}

impl<'a, 'b, M: Module, const D: usize> Way<'a, 'b, M, D> {
    /// Goes up to below the top.
    fn up(stack: &'a Stack<'b, M, D>, model: &M) -> Self {
        let dropout = dropout_state();
        let (layers, depth) = (stack.layers(), stack.depth(model));
        // Asked of all of them: a parameter that is yet to be drawn is drawn now. Later an untracked copy would draw it, and
        // the original, which shares its value, would no longer require gradients.
        let trained: Vec<bool> = (0..depth).map(|index| layers.is_trained(model, index)).collect();
        let hidden = stack.bottom(model);
        let bottom_is_trained = hidden.is_tracked();
        let lowest = match trained.iter().position(|trained| *trained) {
            _ if bottom_is_trained => 0,
            lowest => lowest.unwrap_or(depth),
        };
        let mut input = Input {
            hidden: hidden.detach(),
            dropout: dropout_state(),
        };
        let mut inputs = Vec::new();
        for index in 0..depth {
            let hidden = input.hidden.clone();
            if index >= lowest {
                inputs.push(input);
            }
            input = Input {
                hidden: layers.forward_untracked(model, index, hidden),
                dropout: dropout_state(),
            };
        }
        inputs.push(input);
        Self {
            stack,
            dropout,
            bottom_is_trained,
            lowest,
            inputs,
            gradient: None,
        }
    }

    /// The loss outside autodiff, and the gradients of the top.
    fn top(&mut self, model: &M) -> (Tensor<1>, GradientsParams) {
        let Input { hidden, .. } = self.inputs.pop().expect("the top's input is kept");
        let goes_on = self.lowest < self.stack.depth(model) || self.bottom_is_trained;
        let hidden = hidden.set_require_grad(goes_on);
        let loss = self.stack.top(model, hidden.clone());
        if !loss.is_tracked() {
            // Nothing is trained, or the loss depends on nothing that is.
            (self.lowest, self.bottom_is_trained) = (usize::MAX, false);
            return (loss.inner(), GradientsParams::new());
        }
        let mut gradients = loss.backward();
        self.descend(hidden, goes_on, &mut gradients);
        (loss.inner(), GradientsParams::from_module(&mut gradients, model))
    }

    /// The gradients of a layer; none below the lowest.
    fn layer(&mut self, model: &M, index: usize) -> GradientsParams {
        if index < self.lowest {
            return GradientsParams::new();
        }
        let Input { hidden, dropout } = self.inputs.pop().expect("from the lowest on inputs are kept");
        let goes_on = index > self.lowest || self.bottom_is_trained;
        let hidden = hidden.set_require_grad(goes_on);
        seed_dropout(dropout);
        let output = self.stack.layers().forward(model, index, hidden.clone());
        let mut gradients = self.backward_from(output);
        self.descend(hidden, goes_on, &mut gradients);
        self.stack.layers().gradients(model, index, &mut gradients)
    }

    /// The gradients of the bottom.
    fn bottom(mut self, model: &M) -> GradientsParams {
        if !self.bottom_is_trained {
            return GradientsParams::new();
        }
        seed_dropout(self.dropout);
        let output = self.stack.bottom(model);
        let gradients = self.backward_from(output);
        GradientsParams::from_grads(gradients, model)
    }

    /// Backward through the part that gave `output`, from the gradient that came down to it.
    fn backward_from(&mut self, output: Tensor<D>) -> Gradients {
        let gradient = self
            .gradient
            .take()
            .expect("the part above left the gradient of its input");
        let nothing = Tensor::<1>::zeros([1], (&output.device(), DType::F32));
        with_gradient(nothing, output, gradient).backward()
    }

    /// Keeps the gradient of `hidden` for the part below.
    fn descend(&mut self, hidden: Tensor<D>, goes_on: bool, gradients: &mut Gradients) {
        if goes_on {
            let gradient = hidden.grad_remove(gradients);
            self.gradient = Some(gradient.unwrap_or_else(|| hidden.inner().zeros_like()));
        }
    }
}
