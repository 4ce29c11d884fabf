//! The settings that every method has: learning-rate multipliers by groups of parameters, weight decay, and which weights decay.
use super::{Given, Setting};
use crate::TrainError;
use blockllm_optim::{BlockOptimizerConfig, Decay, Groups};

/// A method with groups of parameters and a weight decay.
pub(super) trait Grouped {
    /// What is set for them.
    fn groups(&mut self) -> &mut Groups;

    /// Its own weight decay, if it has one.
    fn weight_decay(&mut self) -> &mut Option<f32>;
}

/// Their rows.
pub(super) fn table<T: Grouped>() -> Vec<Setting<T>> {
    vec![
        Setting::new(
            "embedding-rate",
            "X",
            "what the learning rate is multiplied with for embeddings",
            |method, given| multiply(method, given, |groups| &mut groups.embeddings),
        ),
        Setting::new("head-rate", "X", "the same for the head", |method, given| {
            multiply(method, given, |groups| &mut groups.head)
        }),
        Setting::new(
            "vector-rate",
            "X",
            "the same for norms and biases",
            |method, given| multiply(method, given, |groups| &mut groups.vectors),
        ),
        Setting::new(
            "matrix-rate",
            "X",
            "the same for all other matrices",
            |method, given| multiply(method, given, |groups| &mut groups.matrices),
        ),
        Setting::new(
            "weight-decay",
            "RATE",
            "decoupled weight decay: a step shrinks what an update rule trains by RATE times the learning rate; 0 by default",
            |method, given| {
                let rate: f32 = given.number()?;
                if !(rate.is_finite() && rate >= 0.0) {
                    return Err(given.refused("a finite number of 0 or more, such as 0.1"));
                }
                *method.weight_decay() = Some(rate);
                Ok(())
            },
        ),
        Setting::new(
            "decay",
            "matrices|all",
            "where the weight decay acts: on all but norms and biases, or on all",
            |method, given| given.name_into(&mut method.groups().decay),
        ),
    ]
}

/// Takes a multiplier for a group, as far as an optimizer would.
fn multiply(
    method: &mut impl Grouped,
    given: Given<'_>,
    of_group: fn(&mut Groups) -> &mut f64,
) -> Result<(), String> {
    let multiplier = given.number()?;
    let mut alone = Groups::default();
    *of_group(&mut alone) = multiplier;
    given.checked(BlockOptimizerConfig::new(0.0).with_groups(alone).validate(&[]))?;
    *of_group(method.groups()) = multiplier;
    Ok(())
}

/// Refuses to let all weights decay where none does: where the `rate`, the method's own or else the run's, is known to be 0.
pub(super) fn check_decay(groups: &Groups, rate: Option<f32>) -> Result<(), TrainError> {
    if groups.decay != Decay::All || rate.is_none_or(|rate| rate > 0.0) {
        return Ok(());
    }
    Err(TrainError::Setting {
        field: "decay",
        value: "all".into(),
        mend: "it says where the weight decay acts, and there is none: leave it out, or set weight-decay=RATE too, such as \
               weight-decay=0.1"
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::check_decay;
    use crate::{Method, Methods};
    use blockllm_optim::Groups;
    use serde_json::{Value, json};

    /// The method's own settings, as records have them.
    fn written(text: &str) -> Value {
        let method = Method::parse(text).unwrap();
        let written = serde_json::to_string(&method).unwrap();
        assert_eq!(
            serde_json::from_str::<Method>(&written).unwrap(),
            method,
            "{text}"
        );
        method.algorithm.to_json()
    }

    #[test]
    fn every_method_takes_a_weight_decay_and_is_written_as_before_without_one() {
        for name in Methods::built_in().names() {
            assert_eq!(written(name).get("weight_decay"), None, "{name}");
            let text = format!("{name}+weight-decay=0.1+decay=all@1e-3");
            let own = written(&text);
            assert_eq!(own["weight_decay"], json!(0.1), "{text}");
            assert_eq!(own["groups"]["decay"], json!("all"), "{text}");
        }
    }

    #[test]
    fn a_place_for_a_weight_decay_is_read_in_any_order_and_refused_where_there_is_known_to_be_none() {
        for name in Methods::built_in().names() {
            let [before, behind] = ["decay=all+weight-decay=0.1", "weight-decay=0.1+decay=all"]
                .map(|settings| written(&format!("{name}+{settings}")));
            assert_eq!(before, behind, "{name}");
            assert_eq!(
                written(&format!("{name}+decay=all"))["groups"]["decay"],
                json!("all")
            );
        }
        let all = Groups::ungrouped();
        for rate in [None, Some(0.1)] {
            assert!(check_decay(&all, rate).is_ok(), "{rate:?}");
        }
        assert!(check_decay(&Groups::default(), Some(0.0)).is_ok());
        let refused = check_decay(&all, Some(0.0)).unwrap_err().to_string();
        for part in ["`decay` is all", "leave it out", "weight-decay=RATE"] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }

    #[test]
    fn a_weight_decay_that_is_none_is_told_and_so_is_a_place_that_is_none() {
        for (setting, told) in [
            (
                "weight-decay=-0.1",
                "weight-decay=-0.1: use a finite number of 0 or more",
            ),
            ("weight-decay=nan", "use a finite number"),
            ("weight-decay=inf", "use a finite number"),
            ("weight-decay=1e39", "use a finite number"),
            ("weight-decay=much", "weight-decay=much: invalid float"),
            ("weight-decay=0.1+decay=some", "expected `matrices` or `all`"),
        ] {
            for name in ["adamw", "lora:8", "galore:8", "apollo-mini", "scale"] {
                let error = Method::parse(&format!("{name}+{setting}"))
                    .unwrap_err()
                    .to_string();
                assert!(error.contains(told), "{error}");
            }
        }
    }
}
