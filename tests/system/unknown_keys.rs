//! A key that no setting has is refused by name, with the names there are: a typing error never trains silently.
use blockllm::data::LoaderConfig;
use blockllm::train::{Method, TrainConfig};

fn assert_refused(error: Option<serde_json::Error>, key: &str, existing: &str) {
    let message = error
        .unwrap_or_else(|| panic!("`{key}` was accepted"))
        .to_string();
    for part in [format!("unknown field `{key}`"), format!("`{existing}`")] {
        assert!(message.contains(&part), "{message}");
    }
}

#[test]
fn an_unknown_key_of_the_loader_is_refused_with_the_keys_there_are() {
    let error = serde_json::from_str::<LoaderConfig>(r#"{"seq_length": 128}"#).err();
    assert_refused(error, "seq_length", "seq_len");
}

#[test]
fn an_unknown_key_of_a_run_or_its_schedule_is_refused_with_the_keys_there_are() {
    let error = serde_json::from_str::<TrainConfig>(r#"{"lr": 1e-3}"#).err();
    assert_refused(error, "lr", "learning_rate");
    let error = serde_json::from_str::<TrainConfig>(r#"{"schedule": {"warmup_steps": 10}}"#).err();
    assert_refused(error, "warmup_steps", "warmup");
}

#[test]
fn an_unknown_key_of_a_method_its_rule_or_its_policy_is_refused_with_the_keys_there_are() {
    let written = serde_json::to_value(Method::parse("blockllm:0.9").unwrap()).unwrap();
    assert!(
        serde_json::from_value::<Method>(written.clone()).is_ok(),
        "as written it is read"
    );
    for (pointer, key, existing) in [
        ("", "method", "algorithm"),
        ("/algorithm/blocks", "density", "sparsity"),
        ("/algorithm/blocks/policy", "patience_steps", "patience"),
    ] {
        let mut method = written.clone();
        method.pointer_mut(pointer).unwrap()[key] = serde_json::json!(1);
        assert_refused(serde_json::from_value::<Method>(method).err(), key, existing);
    }
}

#[test]
fn a_value_out_of_its_range_is_refused_with_the_field_and_the_mend() {
    for (json, parts) in [
        (r#"{"steps": 0}"#, ["`steps` is 0", "at least one step"]),
        (
            r#"{"grad_accum_steps": 0}"#,
            ["`grad_accum_steps` is 0", "at least one"],
        ),
        (r#"{"learning_rate": -1}"#, ["`learning_rate` is -1", "positive"]),
        (
            r#"{"schedule": {"warmup": 1.0}}"#,
            ["`schedule.warmup` is 1", "[0, 1)"],
        ),
    ] {
        let config: TrainConfig = serde_json::from_str(json).unwrap();
        let message = config.validate().unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}
