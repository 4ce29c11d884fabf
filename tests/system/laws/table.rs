//! The columns of the laws table.
use super::cases::Case;
use super::session::{Session, batch};
use crate::batches::joined;
use crate::training::{constant, train_model_on};
use crate::weights::{Numbers, changed, weights, worst};
use blockllm::data::LmBatch;
use blockllm::optim::{CarriedMoments, MaskScope, MaskThreshold};
use blockllm::policy::{CyclicSettings, PolicyConfig, RandomSettings, Take};
use blockllm::train::{BlockMethod, LanguageModeling, LoraMethod, Method, TrainConfig};
use burn::tensor::Device;
use std::collections::{BTreeMap, BTreeSet};

/// What a law found; where it does not fit a method, what was tested in its place.
pub enum Outcome {
    Holds,
    Instead(&'static str),
}

use Outcome::{Holds, Instead};

type Law = fn(&Case, &Device) -> Outcome;

/// "Laws that every method passes", in ALGORITHM's order.
pub const LAWS: [(&str, Law); 8] = [
    ("exact resume at any step", resumes_exactly),
    ("the loss falls on an overfit batch", learns_a_batch),
    ("entries outside the mask keep their bits", keeps_what_is_outside),
    ("trained entries are the budget", trains_the_budget),
    ("state bytes are the estimate", holds_what_it_estimates),
    ("sparsity 0 is AdamW", is_adamw_at_sparsity_0),
    ("accumulation is one large batch", accumulates),
    (
        "the learning rate reaches the update",
        scales_with_the_learning_rate,
    ),
];

fn resumes_exactly(case: &Case, device: &Device) -> Outcome {
    const STEPS: usize = 7;
    let mut whole = Session::start(case, device);
    let (mut sessions, mut selections) = (Vec::new(), 0);
    for step in 0..STEPS {
        // So low a rate that the loss stalls: with a patience of 3 most steps are in the middle of a selection.
        let (_, event) = whole.step(&batch(step), case.learning_rate * 1e-3);
        selections += usize::from(event.is_some());
        for resumed in &mut sessions {
            let resumed: &mut Session = resumed;
            resumed.step(&batch(step), case.learning_rate * 1e-3);
        }
        if [0, 1, 3, 4].contains(&step) {
            sessions.push(whole.resumed(case, whole.optimizer.record().unwrap()));
        }
    }
    for resumed in &sessions {
        let differs = changed(&whole.weights(), &resumed.weights());
        assert!(differs.is_empty(), "weights differ in {:?}", differs.keys());
        assert_eq!(whole.optimizer.state_bytes(), resumed.optimizer.state_bytes());
    }
    let selects_again = !case.name.starts_with("official")
        && case
            .method
            .algorithm
            .sparsity()
            .is_some_and(|sparsity| sparsity > 0.0);
    assert!(
        !selects_again || selections > 1,
        "{selections} selection in {STEPS} steps"
    );
    Holds
}

/// The share of its loss on a batch that a method may have left after [`LEARNING_STEPS`] steps on it: the slowest here leaves 0.36.
const MOST_LEFT: f64 = 0.5;

/// What training on another batch leaves at least: 0.97 was the least, so the law is out of reach for just any descent.
pub const LEFT_BY_ANOTHER: f64 = 0.9;

const LEARNING_STEPS: usize = 15;

/// The share of the loss on the first batch that is left after training on batch number `on`.
pub fn left_after_learning(case: &Case, device: &Device, on: usize) -> f64 {
    let mut session = Session::start(case, device);
    let first = session.loss(&batch(0));
    for _ in 0..LEARNING_STEPS {
        session.step(&batch(on), case.learning_rate);
    }
    session.loss(&batch(0)) / first
}

fn learns_a_batch(case: &Case, device: &Device) -> Outcome {
    let left = left_after_learning(case, device, 0);
    assert!(left < MOST_LEFT, "{left} of the loss is left");
    Holds
}

fn keeps_what_is_outside(case: &Case, device: &Device) -> Outcome {
    let mut session = Session::start(case, device);
    let frozen = session.entries(|_| true) - trainable_entries(&session);
    let refreshed = case.name.contains("refresh");
    let blocks = case.method.algorithm.get::<BlockMethod>();
    let inactive = blocks.and_then(|blocks| blocks.inactive.as_ref());
    let moves_all = inactive.is_some_and(|rule| rule.masked_out);
    let everywhere = moves_all || case.name.contains("inactive");
    let mut seen: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for step in 0..8 {
        let before = session.weights();
        let (_, event) = session.step(&batch(step), case.learning_rate);
        let moved = changed(&before, &session.weights());
        let trained = session.trained_paths();
        let mut inside: BTreeMap<_, _> = moved.clone();
        inside.retain(|path, _| trained.contains(path));
        assert!(
            everywhere || inside.len() == moved.len(),
            "{:?} moved outside the selection",
            moved.keys()
        );
        if event.is_some() || refreshed {
            seen.clear();
        }
        for (path, positions) in inside {
            seen.entry(path).or_default().extend(positions);
        }
        let (seen, budget) = (
            seen.values().map(BTreeSet::len).sum::<usize>() as u64,
            session.optimizer.trained_entries(),
        );
        assert!(
            moves_all || seen <= budget,
            "step {step}: {seen} entries changed, {budget} are trained"
        );
        // Embeddings of absent tokens may be in the mask and have no gradient; most of the rest must move.
        assert!(
            seen * 8 >= budget,
            "step {step}: only {seen} of {budget} trained entries moved"
        );
    }
    if moves_all {
        return Instead("every entry moves; by which rule, the tests of blockllm-optim say");
    }
    if everywhere {
        return Instead("in the selection; other blocks follow the sign of their gradient");
    }
    if frozen > 0 {
        return Instead("the base under the adapters keeps its bits");
    }
    Holds
}

fn trainable_entries(session: &Session) -> u64 {
    let of = |parameter: &blockllm::optim::Parameter| session.trainable.contains(&parameter.id);
    let parameters = session
        .optimizer
        .parameters()
        .iter()
        .filter(|parameter| of(parameter));
    parameters.map(|parameter| parameter.info.numel).sum()
}

/// What a method takes of a ranking; without a mask whole blocks.
fn take(blocks: &BlockMethod) -> Take {
    blocks
        .policy
        .build()
        .unwrap()
        .take()
        .of_whole(blocks.mask == MaskScope::None)
}

fn trains_the_budget(case: &Case, device: &Device) -> Outcome {
    let mut session = Session::start(case, device);
    let is_lora = case.method.algorithm.get::<LoraMethod>().is_some();
    for step in 0..6 {
        session.step(&batch(step), case.learning_rate);
        let trained = session.optimizer.trained_entries();
        let paths = session.trained_paths();
        let whole = session.entries(|path| paths.contains(path));
        let total = session.entries(|_| true);
        match case.method.algorithm.get::<BlockMethod>() {
            Some(blocks) => match take(blocks) {
                Take::Budget => {
                    let budget = ((1.0 - blocks.sparsity) * total as f64 - 1e-6).ceil() as u64;
                    let off = trained.abs_diff(budget) as f64;
                    let most = match blocks.threshold {
                        MaskThreshold::Exact => 0.0,
                        MaskThreshold::Sampled(sampled) => {
                            let share = budget as f64 / whole as f64;
                            4.0 * (share * (1.0 - share) / sampled as f64).sqrt() * whole as f64
                        }
                    };
                    assert!(off <= most, "step {step}: {trained} entries, not {budget}");
                }
                Take::BelowBudget | Take::Fitting => {
                    assert_eq!(trained, whole);
                    assert!(
                        trained as f64 <= (1.0 - blocks.sparsity) * total as f64 + 1.0,
                        "step {step}"
                    );
                }
                Take::Blocks(_) => assert_eq!(trained, whole, "step {step}: whole blocks"),
                Take::Nothing => assert_eq!(trained, whole, "step {step}: what is always trained"),
            },
            None if is_lora => assert_eq!(trained, trainable_entries(&session)),
            None => assert_eq!(trained, total),
        }
    }
    match case.method.algorithm.get::<BlockMethod>() {
        Some(blocks) => match take(blocks) {
            Take::Budget if case.name.contains("threshold") => {
                Instead("the budget, within four standard deviations of the sample")
            }
            Take::Budget => Holds,
            Take::BelowBudget | Take::Fitting => Instead("whole blocks within the budget"),
            Take::Blocks(_) => Instead("whole blocks, to the entry"),
            Take::Nothing => Instead("what is always trained, to the entry"),
        },
        None if is_lora => Instead("the factors and all that is not adapted"),
        None => Instead("every entry"),
    }
}

fn holds_what_it_estimates(case: &Case, device: &Device) -> Outcome {
    let mut session = Session::start(case, device);
    assert_eq!(session.optimizer.state_bytes(), 0, "before the first step");
    for step in 0..6 {
        session.step(&batch(step), case.learning_rate);
        let (held, estimated) = (
            session.optimizer.state_bytes(),
            session.optimizer.estimated_state_bytes(),
        );
        assert_eq!(held, estimated, "step {step}");
        assert!(
            held >= session.optimizer.trained_entries() && held > 0,
            "step {step}: {held} bytes"
        );
    }
    Holds
}

/// Six steps at a rate at which policies select again and again.
fn run(case: &Case, method: &Method, learning_rate: f64, device: &Device) -> Numbers {
    let mut session = Session::of(case, method, device);
    for step in 0..6 {
        session.step(&batch(step), learning_rate);
    }
    session.weights()
}

/// With everything selected and moments carried over, whatever selects changes nothing.
fn is_adamw_at_sparsity_0(case: &Case, device: &Device) -> Outcome {
    let mut method = case.method.clone();
    let Some(blocks) = method.algorithm.get_mut::<BlockMethod>() else {
        return Instead("its own reference: peft, galore-torch, a rendering");
    };
    if blocks.sparsity > 0.0 {
        let name = case.name.split([':', '+']).next().unwrap_or_default();
        let state = if case.is_coded() { "+state=int8" } else { "" };
        method = Method::parse(&format!("{name}:0{state}")).unwrap();
    } else {
        match &mut blocks.policy {
            PolicyConfig::Nothing(_) => return Instead("its own reference: a rendering in PyTorch"),
            PolicyConfig::Fixed(fixed) => {
                let mut session = Session::of(case, &Method::adamw(), device);
                session.step(&batch(0), 0.0);
                fixed.blocks = session.optimizer.block_names();
            }
            // More than there are.
            PolicyConfig::Cyclic(CyclicSettings {
                blocks: Some(count), ..
            })
            | PolicyConfig::Random(RandomSettings {
                blocks: Some(count), ..
            }) => *count = 99,
            _ => {}
        }
    }
    let mut everything = method.with_patience(3);
    let mut dense = Method::adamw();
    let blocks = everything.algorithm.get_mut::<BlockMethod>().unwrap();
    blocks.moments = CarriedMoments::CarriedOver;
    // How fast a group moves, and in what moments are kept, is no matter of what is selected.
    let adamw = dense.algorithm.get_mut::<BlockMethod>().unwrap();
    (adamw.groups, adamw.moment_precision) = (blocks.groups, blocks.moment_precision);
    let expected = run(case, &dense, 1e-3, device);
    let (path, error) = worst(&run(case, &everything, 1e-3, device), &expected);
    assert!(error.to_bits() == 0, "{path} is off by {error}");
    Holds
}

fn accumulates(case: &Case, device: &Device) -> Outcome {
    let micro_batches = [batch(0), batch(1), batch(2)];
    let config = TrainConfig {
        weights: case.weights,
        ..constant(3, case.learning_rate * 0.1)
    };
    let accumulated = TrainConfig {
        grad_accum_steps: 3,
        ..config.clone()
    };
    let objective = LanguageModeling::default();
    let train = |config: &TrainConfig, batches: &[LmBatch]| {
        let (trained, _) = train_model_on(device, &case.model(), &objective, &case.method, config, batches);
        weights(&trained.model)
    };
    let one = train(&config, &[joined(&micro_batches)]);
    let many = train(&accumulated, &micro_batches);
    let (path, error) = worst(&many, &one);
    // A hundredth of a step is far above rounding and far below a wrong weighting. Rules that follow a sign move by
    // twice the rate where rounding turns one, which may befall an entry or two; so it is with a moment's code, and a
    // weight in bf16 is a rounding apart, which is as much as such a step, where a gradient is.
    let follows_signs = case.name.contains("lion") || case.name.contains("inactive");
    let errors = many.iter().flat_map(|(path, values)| {
        let pairs = values.iter().zip(&one[path]);
        pairs.map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()
    });
    let far = errors
        .filter(|error| *error > 0.02 * config.learning_rate as f32)
        .count();
    let entries: usize = one.values().map(Vec::len).sum();
    let (most, instead) = if case.is_half() {
        (entries / 20, Some("up to one entry in twenty a rounding apart"))
    } else if follows_signs {
        (8, Some("up to eight entries whose sign rounding turned"))
    } else if case.is_coded() {
        (8, Some("up to eight entries whose code rounding turned"))
    } else {
        (0, None)
    };
    assert!(
        far <= most,
        "{path} is off by {error}, and {far} of {entries} entries are"
    );
    instead.map_or(Holds, Instead)
}

fn scales_with_the_learning_rate(case: &Case, device: &Device) -> Outcome {
    let moved = |learning_rate: f64| {
        let mut session = Session::start(case, device);
        let before = session.weights();
        session.step(&batch(0), learning_rate);
        let after = session.weights();
        let differences = before.iter().flat_map(|(path, b)| {
            b.iter()
                .zip(&after[path])
                .map(|(a, b)| f64::from((a - b).abs()))
                .collect::<Vec<_>>()
        });
        differences.sum::<f64>()
    };
    assert!(moved(0.0).to_bits() == 0, "a rate of 0 moves weights");
    let ratio = moved(case.learning_rate) / moved(case.learning_rate / 4.0);
    assert!(
        (ratio / 4.0 - 1.0).abs() < if case.is_half() { 0.05 } else { 0.01 },
        "four times the rate moves {ratio} times as far"
    );
    Holds
}
