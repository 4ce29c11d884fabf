//! A learning-rate schedule reaches the records and the update.
use crate::batches::padded;
use crate::training::{Watching, constant, steps, train_tiny};
use crate::weights::{Numbers, changed, weights};
use blockllm::train::{LanguageModeling, Schedule, ScheduleKind, TrainConfig};

fn linear(warmup: f64) -> Schedule {
    Schedule {
        kind: ScheduleKind::Linear,
        warmup,
        final_share: 0.0,
    }
}

#[test]
fn the_recorded_learning_rates_follow_the_schedule() {
    let schedule = Schedule::default();
    let config = TrainConfig {
        schedule,
        ..constant(20, 3e-3)
    };
    let (_, records) = train_tiny(
        &LanguageModeling::default(),
        "blockllm:0.5",
        &config,
        &[padded(&[9], 9, 1)],
    );
    let expected: Vec<_> = (1..=20).map(|step| 3e-3 * schedule.factor(step, 20)).collect();
    let found: Vec<_> = steps(&records).iter().map(|step| step.learning_rate).collect();
    assert_eq!(found, expected);
    assert!(
        found[0] < found[1] && found[19] < found[2],
        "warmup and decay are seen: {found:?}"
    );
}

#[test]
fn a_method_with_a_learning_rate_of_its_own_trains_at_it() {
    let config = constant(1, 3e-3);
    let (_, records) = train_tiny(
        &LanguageModeling::default(),
        "adamw@2e-4",
        &config,
        &[padded(&[9], 9, 1)],
    );
    assert!((steps(&records)[0].learning_rate - 2e-4).abs() < 1e-12);
}

#[test]
fn a_step_whose_rate_the_schedule_makes_zero_changes_no_weight() {
    for method in ["adamw", "random:0.5"] {
        let objective = Watching::default();
        let config = TrainConfig {
            schedule: Schedule {
                kind: ScheduleKind::Cosine,
                ..linear(0.0)
            },
            ..constant(4, 1e-2)
        };
        let (trained, _) = train_tiny(&objective, method, &config, &[padded(&[9, 7], 9, 1)]);
        let before = objective.seen.borrow();
        assert_eq!(before.len(), 4, "one backward pass a step");
        assert!(
            !changed(&before[2], &before[3]).is_empty(),
            "{method}: the third step trains"
        );
        let by_the_last = changed(&before[3], &weights(&trained.model));
        assert!(by_the_last.is_empty(), "{method}: {:?}", by_the_last.keys());
    }
}

/// What the first step adds to the weights, `1e-2` being the peak rate.
fn first_update(schedule: Schedule) -> Numbers {
    let objective = Watching::default();
    let config = TrainConfig {
        schedule,
        ..constant(4, 1e-2)
    };
    train_tiny(&objective, "adamw", &config, &[padded(&[9, 7], 9, 1)]);
    let seen = objective.seen.borrow();
    let difference = |path: &String| {
        let pairs = seen[0][path].iter().zip(&seen[1][path]);
        pairs.map(|(before, after)| after - before).collect()
    };
    seen[0]
        .keys()
        .map(|path| (path.clone(), difference(path)))
        .collect()
}

#[test]
fn the_update_of_a_step_scales_with_its_learning_rate() {
    let full = first_update(constant(4, 1e-2).schedule);
    // Two of four steps are warmup: the first is at half of the peak.
    let half = first_update(linear(0.5));
    for (path, full) in &full {
        for (full, half) in full.iter().zip(&half[path]) {
            // Weights around 1 round the update to 6e-8 on each side.
            assert!((half - 0.5 * full).abs() < 2.5e-7, "{path}: {half} beside {full}");
        }
    }
    let moved = full
        .values()
        .flatten()
        .filter(|update| update.abs() > 5e-3)
        .count();
    assert!(moved > 1000, "only {moved} entries moved at all");
}
