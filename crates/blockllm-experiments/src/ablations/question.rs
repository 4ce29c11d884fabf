//! A question of the ablations: what is asked, and the methods whose comparison answers it, in each stage of training.
use crate::cli::Stage;
use blockllm_policy::PolicyConfig;

/// One table and its plots.
#[derive(Debug)]
pub(super) struct Question {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is asked.
    pub asks: &'static str,
    /// The methods.
    pub rows: Rows,
}

/// The methods of a question, the one that all others differ from first.
///
/// In fine-tuning no row names a learning rate: each has the one that `glue` gives its method, which is another for a pretrained
/// checkpoint than for random weights.
#[derive(Debug)]
pub(super) enum Rows {
    /// The same in both stages; `{}` is the [budget](sparsity) of the stage.
    Both(&'static [&'static str]),
    /// Each stage has its own.
    Each {
        pretraining: &'static [&'static str],
        fine_tuning: &'static [&'static str],
    },
    /// Asked in pretraining only, and why.
    PretrainingOnly {
        methods: &'static [&'static str],
        because: &'static str,
    },
    /// Every policy that the library has a name for, at the budget.
    Policies,
    /// The patience of the run, and shorter and longer ones.
    Patiences,
}

impl Question {
    /// Refuses a stage in which it is not asked.
    ///
    /// # Errors
    /// Says why it is not.
    pub fn check_asked(&self, stage: Stage) -> Result<(), &'static str> {
        if let (Rows::PretrainingOnly { because, .. }, Stage::FineTuning) = (&self.rows, stage) {
            return Err(because);
        }
        Ok(())
    }

    /// Its methods in `stage`, none where it is not asked; `patience` is that of runs whose method names none.
    pub fn methods(&self, stage: Stage, patience: usize) -> Vec<String> {
        let methods = match (&self.rows, stage) {
            (Rows::Policies, _) => return policies(sparsity(stage)),
            (Rows::Patiences, _) => return patiences(sparsity(stage), patience),
            (Rows::PretrainingOnly { .. }, Stage::FineTuning) => return Vec::new(),
            (Rows::Both(methods), _) | (Rows::PretrainingOnly { methods, .. }, Stage::Pretraining) => methods,
            (Rows::Each { pretraining, .. }, Stage::Pretraining) => pretraining,
            (Rows::Each { fine_tuning, .. }, Stage::FineTuning) => fine_tuning,
        };
        let at_budget = |method: &&str| method.replace("{}", sparsity(stage));
        methods.iter().map(at_budget).collect()
    }
}

/// The share that `BlockLLM` leaves untrained where it is not what is asked about: in fine-tuning that of `glue`'s own row.
pub(super) fn sparsity(stage: Stage) -> &'static str {
    match stage {
        Stage::Pretraining => "0.9",
        Stage::FineTuning => "0.95",
    }
}

/// Every policy at `sparsity`. `all`, which trains everything, has no budget and stands there as what it costs.
fn policies(sparsity: &str) -> Vec<String> {
    let with_budget = |name: &&str| match *name {
        "all" => (*name).to_owned(),
        _ => format!("{name}:{sparsity}"),
    };
    PolicyConfig::names().iter().map(with_budget).collect()
}

/// `BlockLLM` at `sparsity` with the run's `patience`, half of it, twice it and four times as long: a loss stalls for even the longest
/// within the steps of the quick scale.
fn patiences(sparsity: &str, patience: usize) -> Vec<String> {
    let others = [
        patience / 2,
        patience.saturating_mul(2),
        patience.saturating_mul(4),
    ];
    let others = others.into_iter().filter(|other| *other > 0);
    let others = others.map(|other| format!("blockllm:{sparsity}+patience={other}"));
    std::iter::once(format!("blockllm:{sparsity}"))
        .chain(others)
        .collect()
}
