//! LoRA (arXiv 2106.09685) on burn's own adapters, made as PEFT makes them; a block optimizer trains their factors.
use crate::layouts::Layouts;
use crate::{OptimError, Parameter, parameters};
use blockllm_policy::path_matches;
use burn::module::{LoraAdapter, Module, Param, ParamId, Reparameterizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which linear layers get adapters, and how they start.
///
/// The weight of a layer becomes `W + alpha / r A B`, with `W` frozen, `A` uniform in `+-1 / sqrt(in)` (PEFT's
/// Kaiming initialization with `a = sqrt(5)`) and `B` zero, so that nothing changes at first. There is no dropout.
///
/// LoRA needs no optimizer of its own: a [`BlockOptimizer`](crate::BlockOptimizer) takes what is frozen when it is
/// made for untrainable, so the policy `All` at sparsity 0 trains exactly the factors, by dense `AdamW`.
///
/// ```no_run
/// use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, LoraConfig};
/// use blockllm_policy::All;
/// # fn train<M: burn::module::Module>(model: M) -> Result<(), Box<dyn std::error::Error>> {
/// let model = LoraConfig::new(8).apply(model)?;
/// let optimizer = BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.0), All)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// `r`: inner dimension of the factors, at most the smaller side of every adapted matrix.
    pub rank: usize,
    /// The product of the factors is multiplied with `alpha / rank`.
    pub alpha: f64,
    /// Path patterns, on part boundaries, of the linear layers that get adapters.
    pub targets: Vec<String>,
    /// Seed of the `A` factors, which are drawn on the host: the same on every backend.
    pub seed: u64,
}

impl LoraConfig {
    /// Adapters of `rank` on every linear layer of `self_attn` and `mlp`, with `alpha = 2 rank`.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            alpha: 2.0 * rank as f64,
            targets: vec!["self_attn".into(), "mlp".into()],
            seed: 0,
        }
    }

    /// With another `alpha`.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// With other path patterns of what is adapted.
    #[must_use]
    pub fn with_targets<S: Into<String>>(mut self, targets: impl IntoIterator<Item = S>) -> Self {
        self.targets = targets.into_iter().map(Into::into).collect();
        self
    }

    /// With other random numbers.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// `module` with adapters on the targets; all that it held before is frozen.
    ///
    /// # Errors
    /// When a setting is out of its range, a pattern matches no linear layer, the rank is above the smaller side of
    /// an adapted one, or the module has adapters already.
    pub fn apply<M: Module>(&self, module: M) -> Result<M, OptimError> {
        self.validate()?;
        let parameters = parameters(&module);
        if let Some(adapter) = parameters
            .iter()
            .find(|parameter| path_matches("lora", &parameter.info.path))
        {
            return Err(OptimError::Setting {
                field: "module",
                value: format!("adapted already, at {}", adapter.info.path),
                mend: "merge the adapters first (`Module::materialize`)",
            });
        }
        let adapters = Adapters {
            config: self,
            streams: self.streams(&module, &parameters)?,
        };
        Ok(module.apply_reparameterization(adapters))
    }

    /// The matrices that get adapters, each with a random stream of its own.
    fn streams<M: Module>(
        &self,
        module: &M,
        parameters: &[Parameter],
    ) -> Result<BTreeMap<ParamId, u64>, OptimError> {
        let linear = Layouts::of(module).linear;
        let matrices: Vec<_> = (0..)
            .zip(parameters)
            .filter(|(_, parameter)| linear.contains(&parameter.id))
            .collect();
        let paths: Vec<_> = matrices
            .iter()
            .map(|(_, matrix)| matrix.info.path.as_str())
            .collect();
        self.check_targets(&paths)?;
        let mut streams = BTreeMap::new();
        for (position, matrix) in matrices {
            let path = &matrix.info.path;
            if self.targets.iter().any(|pattern| path_matches(pattern, path)) {
                self.check_rank(path, &matrix.info.shape)?;
                streams.insert(matrix.id, position);
            }
        }
        Ok(streams)
    }

    /// Checks that each of the targets is in a path of `matrices`, which are those of all linear layers.
    ///
    /// # Errors
    /// Names the first target that is in none.
    pub fn check_targets(&self, matrices: &[&str]) -> Result<(), OptimError> {
        OptimError::check_targets(&self.targets, matrices)
    }

    /// Checks that the matrix at `path`, of this shape, can have factors of the rank.
    ///
    /// # Errors
    /// When the rank is above its smaller side.
    pub fn check_rank(&self, path: &str, shape: &[usize]) -> Result<(), OptimError> {
        OptimError::check_rank(path, self.rank, shape)
    }

    /// Checks the settings that need no module to be wrong.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn validate(&self) -> Result<(), OptimError> {
        let refuse = |field, value: String, mend| Err(OptimError::Setting { field, value, mend });
        if self.rank == 0 {
            return refuse("rank", "0".into(), "use at least 1");
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return refuse("alpha", self.alpha.to_string(), "use a positive number");
        }
        if self.targets.is_empty() {
            return refuse("targets", "empty".into(), "name what to adapt, such as self_attn");
        }
        Ok(())
    }
}

/// Freezes every parameter, and adapts those that have a stream.
struct Adapters<'a> {
    config: &'a LoraConfig,
    streams: BTreeMap<ParamId, u64>,
}

impl Reparameterizer for Adapters<'_> {
    type Reparam = LoraAdapter;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
        let stream = self.streams.get(&param.id).copied();
        let weight = param.base();
        let (shape, dtype, device) = (weight.dims(), weight.dtype(), weight.device());
        drop(weight);
        let param = param.set_require_grad(false);
        let (Some(stream), [inputs, outputs]) = (stream, shape.as_slice()) else {
            return (param, None);
        };
        let rank = self.config.rank;
        let first = uniform(
            self.config.seed,
            stream,
            inputs * rank,
            1.0 / (*inputs as f64).sqrt(),
        );
        let adapter = LoraAdapter {
            a: factor(first, [*inputs, rank], dtype, &device),
            b: factor(vec![0.0; rank * outputs], [rank, *outputs], dtype, &device),
            scale: self.config.alpha / rank as f64,
        };
        (param, Some(adapter))
    }
}

/// A factor in the number format of its base, as burn's own `Lora` makes it.
fn factor(values: Vec<f32>, shape: [usize; 2], dtype: DType, device: &Device) -> Param<Tensor<2>> {
    let data = TensorData::new(values, shape);
    Param::from_tensor(
        device.memory_persistent_allocations(data, |data| Tensor::from_data(data, (device, dtype))),
    )
}

/// Numbers in `+-bound`.
fn uniform(seed: u64, stream: u64, count: usize, bound: f64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (0..count)
        .map(|_| (bound * (2.0 * unit() - 1.0)) as f32)
        .collect()
}
