//! The update against the same equations in f64, entry by entry, on every device.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{Coding, EXCLUDED, FusedRule, StateArray, Trained, TrainedEntries, UpdateStep, update};
use crate::Rounding;
use crate::testing::{devices, float_types, numbers};

const LEN: usize = 40_000;

pub(super) const RULES: [FusedRule; 4] = [
    FusedRule::AdamW {
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-6,
        weight_decay: 0.1,
    },
    FusedRule::Sgd {
        momentum: 0.9,
        weight_decay: 0.01,
    },
    FusedRule::Lion {
        beta_1: 0.9,
        beta_2: 0.99,
        weight_decay: 0.0,
    },
    FusedRule::Sign,
];

/// Numbers between `least` and `least + 2`.
fn some(len: usize, seed: usize, least: f32) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919 + seed * 104_729) % 10_007) as f32 / 5003.5 + least)
        .collect()
}

fn on(device: &Device, dtype: DType, values: &[f32]) -> Tensor<1> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Tensor::<1>::from_data(data, (device, DType::F32)).cast(dtype)
}

/// The numbers of an array in f32.
fn values(array: StateArray) -> Vec<f64> {
    match array {
        StateArray::F32(values) => numbers(values),
        StateArray::Int8 { .. } => panic!("nothing was coded"),
    }
}

/// The new weight and state of an entry.
pub(super) fn exact(step: &UpdateStep, weight: f64, gradient: f64, state: &[f64]) -> (f64, Vec<f64>) {
    let (rate, steps) = (step.learning_rate, step.state_step as f64);
    let mix = |beta: f32, old: f64, new: f64| f64::from(beta) * old + (1.0 - f64::from(beta)) * new;
    let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
    match step.rule {
        FusedRule::AdamW {
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
        } => {
            let (m, v) = (
                mix(beta_1, state[0], gradient),
                mix(beta_2, state[1], gradient.powi(2)),
            );
            let hat = |beta: f32, moment: f64| moment / (1.0 - f64::from(beta).powf(steps));
            let direction = hat(beta_1, m) / (hat(beta_2, v).sqrt() + f64::from(epsilon));
            (
                weight - rate * (direction + f64::from(weight_decay) * weight),
                vec![m, v],
            )
        }
        FusedRule::Sgd {
            momentum,
            weight_decay,
        } => {
            let m = f64::from(momentum) * state[0] + gradient;
            (weight - rate * (m + f64::from(weight_decay) * weight), vec![m])
        }
        FusedRule::Lion { beta_1, beta_2, .. } => {
            let direction = sign(mix(beta_1, state[0], gradient));
            (weight - rate * direction, vec![mix(beta_2, state[0], gradient)])
        }
        FusedRule::Sign => (weight - rate * sign(gradient), Vec::new()),
    }
}

/// One kind of parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Whole,
    Marked,
    Compact,
}

struct Case {
    kind: Kind,
    master: bool,
    step: UpdateStep,
    dtype: DType,
}

fn is_trained(kind: Kind, entry: usize) -> bool {
    kind == Kind::Whole || entry % 3 == 1
}

impl Case {
    /// The update on a device against [`exact`].
    fn check(&self, device: &Device, allowed: f64) {
        let trained: Vec<usize> = (0..LEN).filter(|entry| is_trained(self.kind, *entry)).collect();
        let laid_out = |values: Vec<f32>| match self.kind {
            Kind::Whole | Kind::Marked => values,
            Kind::Compact => trained.iter().map(|entry| values[*entry]).collect(),
        };
        let weight = on(device, self.dtype, &some(LEN, 1, -1.0));
        let gradient = on(device, self.dtype, &some(LEN, 2, -1.0));
        let mut state: Vec<_> = (0..self.step.rule.state_arrays())
            .map(|array| laid_out(some(LEN, 3 + array, if array == 0 { -1.0 } else { 0.0 })))
            .collect();
        if self.kind == Kind::Marked {
            for entry in (0..LEN).filter(|entry| !is_trained(self.kind, *entry)) {
                state[0][entry] = EXCLUDED;
            }
        }
        let master = self.master.then(|| laid_out(some(LEN, 1, -1.0)));
        let places: Vec<i32> = trained.iter().map(|entry| *entry as i32).collect();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(places, [trained.len()]), (device, DType::I32));
        let clip = on(device, DType::F32, &[0.5]);
        let f32s = |values: &[f32]| on(device, DType::F32, values);
        let updated = update(
            Trained {
                weight: weight.clone(),
                state: state.iter().map(|array| StateArray::F32(f32s(array))).collect(),
                master: master.as_deref().map(f32s),
            },
            gradient.clone(),
            Some(&clip),
            match self.kind {
                Kind::Whole => TrainedEntries::All,
                Kind::Marked => TrainedEntries::Marked,
                Kind::Compact => TrainedEntries::At(&indices),
            },
            self.step,
        );
        let (before, gradient) = (numbers(weight), numbers(gradient));
        let after = numbers(updated.weight);
        let arrays: Vec<_> = updated.state.into_iter().map(values).collect();
        let masters = updated.master.map(numbers);
        let mut expected = before.clone();
        for (position, entry) in trained.iter().enumerate() {
            let place = if self.kind == Kind::Compact {
                position
            } else {
                *entry
            };
            let old: Vec<f64> = state.iter().map(|array| f64::from(array[place])).collect();
            let start = master
                .as_ref()
                .map_or(before[*entry], |master| f64::from(master[place]));
            let (weight, new) = exact(&self.step, start, gradient[*entry] * 0.5, &old);
            expected[*entry] = weight;
            for (array, new) in arrays.iter().zip(new) {
                assert!((array[place] - new).abs() <= 2e-6, "{self:?} state {entry}");
            }
            if let Some(masters) = &masters {
                assert!((masters[place] - weight).abs() <= 2e-6, "{self:?} master {entry}");
            }
        }
        for entry in 0..LEN {
            let allowed = if is_trained(self.kind, entry) {
                allowed
            } else {
                0.0
            };
            let (found, expected) = (after[entry], expected[entry]);
            assert!(
                (found - expected).abs() <= allowed,
                "{self:?} {entry}: {found} {expected}"
            );
        }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, master, dtype) = (self.kind, self.master, self.dtype);
        write!(
            formatter,
            "{kind:?} {dtype:?} master {master} {:?}",
            self.step.rule
        )
    }
}

#[test]
fn every_rule_on_every_form_is_that_of_its_equations() {
    for device in devices() {
        for (dtype, allowed) in float_types(&device) {
            for rule in RULES {
                for kind in [Kind::Whole, Kind::Marked, Kind::Compact] {
                    for master in [false, true] {
                        let needs_marks = kind == Kind::Marked && rule.state_arrays() == 0;
                        if needs_marks || (master && dtype == DType::F32) {
                            continue;
                        }
                        let step = UpdateStep {
                            rule,
                            learning_rate: 0.01,
                            state_step: 3,
                            rounding: Rounding::Nearest,
                            codings: [Coding::default(); 2],
                        };
                        let case = Case {
                            kind,
                            master,
                            step,
                            dtype,
                        };
                        case.check(&device, allowed);
                    }
                }
            }
        }
    }
}

#[cfg(feature = "flex")]
#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let device = Device::flex();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads can be started");
        pool.install(|| {
            let zeros = || Tensor::<1>::zeros([LEN], (&device, DType::F32));
            let updated = update(
                Trained {
                    weight: on(&device, DType::F32, &some(LEN, 1, -1.0)),
                    state: vec![StateArray::F32(zeros()), StateArray::F32(zeros())],
                    master: None,
                },
                on(&device, DType::F32, &some(LEN, 2, -1.0)),
                None,
                TrainedEntries::All,
                UpdateStep {
                    rule: RULES[0],
                    learning_rate: 0.01,
                    state_step: 1,
                    rounding: Rounding::Nearest,
                    codings: [Coding::default(); 2],
                },
            );
            updated.weight.into_data()
        })
    };
    assert_eq!(run(1), run(3));
}

/// Weights of one after steps of `-rate`, `MANY` of them.
fn stepped(
    device: &Device,
    dtype: DType,
    rounding: Rounding,
    entries: TrainedEntries<'_>,
    rate: f64,
) -> Vec<f64> {
    const MANY: usize = 20_000;
    let state = match entries {
        TrainedEntries::Marked => vec![StateArray::F32(Tensor::zeros([MANY], (device, DType::F32)))],
        _ => Vec::new(),
    };
    let rule = match entries {
        TrainedEntries::Marked => FusedRule::Lion {
            beta_1: 0.9,
            beta_2: 0.9,
            weight_decay: 0.0,
        },
        _ => FusedRule::Sign,
    };
    let trained = Trained {
        weight: Tensor::ones([MANY], (device, dtype)),
        state,
        master: None,
    };
    let step = UpdateStep {
        rule,
        learning_rate: rate,
        state_step: 1,
        rounding,
        codings: [Coding::default(); 2],
    };
    let gradient = Tensor::ones([MANY], (device, DType::F32));
    update(trained, gradient, None, entries, step)
        .weight
        .into_data()
        .iter::<f64>()
        .collect()
}

#[test]
fn rounded_by_chance_small_steps_are_taken_on_average_and_to_the_nearest_they_are_lost() {
    for device in devices() {
        for (dtype, _) in float_types(&device) {
            // Below one a unit of bf16 is 2^-8; the step is a sixteenth of it.
            let (unit, rate) = (2.0f64.powi(-8), 2.0f64.powi(-12));
            let indices = Tensor::<1, burn::tensor::Int>::arange(0..20_000, &device).cast(DType::I32);
            for entries in [
                TrainedEntries::All,
                TrainedEntries::Marked,
                TrainedEntries::At(&indices),
            ] {
                let by_chance = stepped(&device, dtype, Rounding::Stochastic { seed: 5 }, entries, rate);
                let mean = by_chance.iter().sum::<f64>() / by_chance.len() as f64;
                // Four standard deviations of the mean.
                let allowed = if dtype == DType::BF16 {
                    4.0 * unit * (15.0 / 256.0 / 20_000.0f64).sqrt()
                } else {
                    1e-7
                };
                assert!(
                    (1.0 - mean - rate).abs() < allowed,
                    "{dtype:?} {entries:?}: {mean}"
                );
                if dtype == DType::BF16 {
                    assert!(
                        by_chance
                            .iter()
                            .all(|weight| *weight == 1.0 || *weight == 1.0 - unit)
                    );
                    let nearest = stepped(&device, dtype, Rounding::Nearest, entries, rate);
                    assert!(nearest.iter().all(|weight| *weight == 1.0), "it is lost");
                    let again = stepped(&device, dtype, Rounding::Stochastic { seed: 5 }, entries, rate);
                    let other = stepped(&device, dtype, Rounding::Stochastic { seed: 6 }, entries, rate);
                    assert_eq!(by_chance, again);
                    assert_ne!(by_chance, other);
                }
            }
        }
    }
}
