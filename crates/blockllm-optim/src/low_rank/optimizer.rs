//! Training by way of subspaces over any burn module, used as the block optimizer is.
use super::config::LowRankConfig;
use super::parameter_state::ParameterState;
use super::projector::Projector;
use super::updater::Updater;
use crate::grad_norm::{self, SumsOfSquares};
use crate::layouts::Layouts;
use crate::parameters::distinct_parameters;
use crate::parts::{Given, Parts};
use crate::{OptimError, Parameter, Step, set_trainable};
use blockllm_policy::{Reason, path_matches};
use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// Trains every parameter of a module, the moments of the chosen matrices in a subspace.
///
/// Per optimizer step, as with a [`BlockOptimizer`](crate::BlockOptimizer): [`prepare`](Self::prepare), forward and
/// backward, [`step`](Self::step), [`observe`](Self::observe). Parameters that are on an autodiff device and do not
/// require gradients when the optimizer is made stay frozen.
///
/// ```no_run
/// use blockllm_optim::{GaLoreConfig, GradientsParams, LowRankOptimizer};
/// # use burn::{module::Module, tensor::Tensor};
/// # fn train<M: Module>(mut model: M, loss_of: impl Fn(&M) -> Tensor<1>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut optimizer = LowRankOptimizer::new(&model, GaLoreConfig::new(128))?;
/// for _ in 0..100 {
///     model = optimizer.prepare(model, &loss_of)?;
///     let loss = loss_of(&model);
///     let gradients = GradientsParams::from_grads(loss.backward(), &model);
///     model = optimizer.step(model, gradients, 1e-2)?.model;
///     optimizer.observe(loss.into_scalar::<f32>())?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LowRankOptimizer {
    pub(super) config: LowRankConfig,
    pub(super) parameters: Vec<Parameter>,
    index: BTreeMap<ParamId, usize>,
    pub(super) states: BTreeMap<usize, ParameterState>,
    sums: SumsOfSquares,
    /// The gradients of the step that is being made.
    pub(super) parts: Parts,
    /// Steps done.
    pub(super) steps: u64,
}

impl LowRankOptimizer {
    /// An optimizer for `module`; `config` is a [`GaLoreConfig`](crate::GaLoreConfig) or an
    /// [`ApolloConfig`](crate::ApolloConfig).
    ///
    /// # Errors
    /// When a setting is out of its range, a target pattern matches no matrix, or the rank is above the smaller side
    /// of a projected one.
    pub fn new<M: Module>(module: &M, config: impl Into<LowRankConfig>) -> Result<Self, OptimError> {
        let config = config.into();
        config.validate()?;
        let parameters = distinct_parameters(module)?;
        let layouts = Layouts::of(module);
        let matrices = parameters
            .iter()
            .filter(|parameter| parameter.info.shape.len() == 2);
        let paths: Vec<_> = matrices.map(|matrix| matrix.info.path.as_str()).collect();
        config.check_targets(&paths)?;
        let mut states = BTreeMap::new();
        for (position, parameter) in parameters.iter().enumerate() {
            if layouts.frozen.contains(&parameter.id) {
                continue;
            }
            let path = &parameter.info.path;
            let targeted = config.targets.iter().any(|pattern| path_matches(pattern, path));
            let state = match *parameter.info.shape {
                [rows, columns] if targeted => {
                    let linear = layouts.linear.contains(&parameter.id);
                    projected_state(path, [rows, columns], linear, &config)?
                }
                _ => ParameterState::plain(parameter.info.numel),
            };
            states.insert(position, state);
        }
        check_trains(&parameters, &states, &config)?;
        Ok(Self {
            index: grad_norm::positions(&parameters),
            config,
            sums: SumsOfSquares::new(parameters.len()),
            parts: Parts::default(),
            parameters,
            states,
            steps: 0,
        })
    }

    /// Lets gradients exist for all that is trained; `loss_of` is never called.
    ///
    /// # Errors
    /// None: the signature is the block optimizer's.
    pub fn prepare<M: Module>(
        &mut self,
        module: M,
        _loss_of: impl FnMut(&M) -> Tensor<1>,
    ) -> Result<M, OptimError> {
        Ok(self.unfreeze(module))
    }

    /// Lets gradients exist for all that is trained: what [`prepare`](Self::prepare) does.
    pub fn unfreeze<M: Module>(&self, module: M) -> M {
        let ids = self.states.keys().map(|param| self.parameters[*param].id);
        set_trainable(module, &ids.collect())
    }

    /// Takes a part of the step's gradients, such as a layer's, from a backward pass that goes layer by layer;
    /// [`step`](Self::step) then takes the last part, or none, and ends the step.
    ///
    /// Without a global clip a part is used and dropped at once, but for the steps that refresh by
    /// [`SvdMethod::Exact`](crate::SvdMethod::Exact), which first look whether all are finite. Otherwise it waits for the end of the step.
    ///
    /// # Errors
    /// When a parameter's gradient is given twice; the module is lost then.
    pub fn take<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<M, OptimError> {
        let found = grad_norm::of_gradients(&module, &gradients, &self.index, &mut self.sums);
        self.parts.note(&found, &self.parameters)?;
        let (trained, none) = (self.states.keys().copied().collect(), BTreeSet::new());
        let (wait, now) = if self.uses_parts_at_once() {
            (&none, &trained)
        } else {
            (&trained, &none)
        };
        let gradients = self.parts.sort(&module, gradients, &self.index, wait, now);
        Ok(self.update(module, gradients, learning_rate, None))
    }

    /// Whether a part's gradients are used and dropped as they come.
    pub fn uses_parts_at_once(&self) -> bool {
        self.config.max_grad_norm.is_none() && !self.looks_for_finite()
    }

    /// Bytes of the gradients that wait for the end of the step.
    pub fn waiting_gradient_bytes(&self) -> u64 {
        self.parts.waiting_bytes()
    }

    /// Updates every trained parameter. `gradients` are averaged over the micro-batches if there are several; or what
    /// [`take`](Self::take) was not given yet of them.
    ///
    /// Reads nothing back, but for the steps that refresh by [`SvdMethod::Exact`](crate::SvdMethod::Exact).
    ///
    /// # Errors
    /// When no trained parameter has a gradient, or an exact refresh meets gradients that are not finite; the module
    /// is lost then, as it is the caller's only copy.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<Step<M>, OptimError> {
        let module = self.take(module, gradients, learning_rate)?;
        let trained = self.states.keys().copied().collect();
        let Given {
            trained,
            all: _,
            without_gradient,
            waiting,
        } = self.parts.finish(trained, &self.parameters)?;
        let (grad_norm, clip) = self.sums.norm(&trained, self.config.max_grad_norm);
        if self.looks_for_finite() {
            self.check_finite(&grad_norm)?;
        }
        let model = self.update(module, waiting, learning_rate, clip);
        self.steps += 1;
        Ok(Step {
            model,
            grad_norm,
            without_gradient,
        })
    }

    /// Whether this step refreshes by a host SVD, which cannot end on numbers that are not finite.
    fn looks_for_finite(&self) -> bool {
        self.config.rule.needs_finite() && self.steps.is_multiple_of(self.config.update_proj_gap)
    }

    /// Moves whatever has a gradient, as part of the step after those done.
    fn update<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
        clip: Option<Tensor<1>>,
    ) -> M {
        if gradients.is_empty() {
            return module;
        }
        module.map(&mut Updater {
            config: &self.config,
            learning_rate,
            step: self.steps + 1,
            clip,
            gradients,
            parameters: &self.parameters,
            index: &self.index,
            states: &mut self.states,
        })
    }

    /// Tells the loss of the step. Nothing is ever selected, so there is never a reason to.
    ///
    /// # Errors
    /// When the loss is NaN or infinite.
    pub fn observe(&mut self, loss: impl Into<f64>) -> Result<Option<Reason>, OptimError> {
        let loss = loss.into();
        if loss.is_finite() {
            return Ok(None);
        }
        Err(OptimError::BadLoss {
            step: self.steps,
            loss,
        })
    }

    /// The module's parameters, in visiting order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Paths of all that is trained, one block per tensor, in visiting order.
    pub fn selected_blocks(&self) -> Vec<&str> {
        self.paths_of(|_| true)
    }

    /// Paths of the matrices whose gradients are projected, in visiting order.
    pub fn projected_parameters(&self) -> Vec<&str> {
        self.paths_of(ParameterState::is_projected)
    }

    /// Paths of the parameters that training may have changed: all that it trains.
    pub fn changed_parameters(&self) -> Vec<&str> {
        self.trainable_parameters()
    }

    /// Paths of the parameters that training may ever change.
    pub fn trainable_parameters(&self) -> Vec<&str> {
        self.selected_blocks()
    }

    /// Weights that every step changes: all but the frozen ones. (Moments are fewer: see
    /// [`state_bytes`](Self::state_bytes).)
    pub fn trained_entries(&self) -> u64 {
        self.states.values().map(ParameterState::numel).sum()
    }

    /// Entries whose gradients exist in a step: those that are trained.
    pub fn gradient_entries(&self) -> u64 {
        self.trained_entries()
    }

    /// Bytes of bases, moments and norms of updates held, counted from the tensors; 0 before the first step.
    pub fn state_bytes(&self) -> u64 {
        self.states.values().map(ParameterState::bytes).sum()
    }

    /// What [`state_bytes`](Self::state_bytes) should be: `4 (side r + 2 r other)` for a projected matrix, 4 more
    /// where the growth of its updates is limited, 8 bytes per entry for the rest.
    pub fn estimated_state_bytes(&self) -> u64 {
        self.states.values().map(ParameterState::estimated_bytes).sum()
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn paths_of(&self, wanted: impl Fn(&ParameterState) -> bool) -> Vec<&str> {
        let chosen = self.states.iter().filter(|(_, state)| wanted(state));
        chosen
            .map(|(param, _)| self.parameters[*param].info.path.as_str())
            .collect()
    }

    /// Fails when the norm of all gradients is not finite.
    fn check_finite(&self, grad_norm: &Tensor<1>) -> Result<(), OptimError> {
        let data = grad_norm
            .clone()
            .try_into_data()
            .map_err(|error| OptimError::Device {
                what: "the gradient norm",
                message: error.to_string(),
            })?;
        match data.iter::<f64>().next() {
            Some(norm) if !norm.is_finite() => Err(OptimError::BadGradNorm {
                step: self.steps + 1,
                norm,
            }),
            _ => Ok(()),
        }
    }
}

/// Refuses a module of which nothing, or no target, is free to be trained.
fn check_trains(
    parameters: &[Parameter],
    states: &BTreeMap<usize, ParameterState>,
    config: &LowRankConfig,
) -> Result<(), OptimError> {
    if states.is_empty() {
        return Err(OptimError::Setting {
            field: "module",
            value: format!("{} parameters, all of them frozen", parameters.len()),
            mend: "unfreeze what is to be trained (`Module::unfreeze`) before the optimizer is made",
        });
    }
    let projects = states.values().any(ParameterState::is_projected);
    if !config.targets.is_empty() && !projects {
        return Err(OptimError::Setting {
            field: "targets",
            value: config.targets.join(", "),
            mend: "all of these matrices are frozen: unfreeze them, or name others",
        });
    }
    Ok(())
}

fn projected_state(
    path: &str,
    dims: [usize; 2],
    linear: bool,
    config: &LowRankConfig,
) -> Result<ParameterState, OptimError> {
    config.check_rank(path, dims)?;
    // A burn `Linear` is PyTorch's transposed.
    let dim = if linear {
        1 - config.projection.side(dims[1], dims[0])
    } else {
        config.projection.side(dims[0], dims[1])
    };
    let projector = Projector::new(dim, config.rank);
    Ok(ParameterState::projected(dims, projector, config.rule.limiter()))
}
