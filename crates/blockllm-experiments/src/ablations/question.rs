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
}

impl Question {
    /// Its methods in `stage`.
    ///
    /// # Errors
    /// Says why it is not asked there.
    pub fn methods(&self, stage: Stage) -> Result<Vec<String>, &'static str> {
        let methods = match (&self.rows, stage) {
            (Rows::Policies, _) => return Ok(policies(sparsity(stage))),
            (Rows::PretrainingOnly { because, .. }, Stage::FineTuning) => return Err(because),
            (Rows::Both(methods), _) | (Rows::PretrainingOnly { methods, .. }, Stage::Pretraining) => methods,
            (Rows::Each { pretraining, .. }, Stage::Pretraining) => pretraining,
            (Rows::Each { fine_tuning, .. }, Stage::FineTuning) => fine_tuning,
        };
        let at_budget = |method: &&str| method.replace("{}", sparsity(stage));
        Ok(methods.iter().map(at_budget).collect())
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
