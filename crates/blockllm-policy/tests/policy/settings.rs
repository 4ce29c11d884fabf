//! The settings of built-in policies, as the command line and a run change them.
use blockllm_policy::{MisaSettings, PolicyConfig, RandomSettings};

#[test]
fn a_field_of_a_policy_is_set_by_its_name() {
    let mut policy = PolicyConfig::from_name("misa").unwrap();
    policy.set("eta", "1.5").unwrap();
    let expected = PolicyConfig::Misa(MisaSettings {
        interval: 50,
        eta: 1.5,
        decay: 0.9,
    });
    assert_eq!(policy, expected);
    let mut policy = PolicyConfig::from_name("random").unwrap();
    policy.set("blocks", "3").unwrap();
    policy.set("unbiased", "true").unwrap();
    assert!(matches!(
        policy,
        PolicyConfig::Random(RandomSettings {
            blocks: Some(3),
            unbiased: true,
            ..
        })
    ));
    let mut policy = PolicyConfig::from_name("cyclic").unwrap();
    policy.set("order", "descending").unwrap();
    for (name, field, value, told) in [
        ("misa", "colour", "1", "decay, eta, interval"),
        ("misa", "name", "blockllm", "decay, eta, interval"),
        ("misa", "eta", "much", "much"),
        ("all", "eta", "1", "no settings"),
    ] {
        let mut policy = PolicyConfig::from_name(name).unwrap();
        let error = policy.set(field, value).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains(field), "{error}");
    }
}

#[test]
fn a_run_s_patience_goes_where_a_policy_has_one_and_to_its_interval_elsewhere() {
    for name in PolicyConfig::names() {
        let mut policy = PolicyConfig::from_name(name).unwrap();
        let mut expected = serde_json::to_value(&policy).unwrap();
        let fields = ["patience", "interval"];
        if let Some(field) = fields.iter().find(|field| expected.get(field).is_some()) {
            expected[field] = 7.into();
        }
        policy.set_patience(7);
        assert_eq!(serde_json::to_value(&policy).unwrap(), expected, "{name}");
    }
}

#[test]
fn only_the_rule_of_the_authors_code_takes_no_probes() {
    for name in PolicyConfig::names() {
        let expected = if name == "official-compat" { 0 } else { 3 };
        assert_eq!(
            PolicyConfig::from_name(name).unwrap().probes(3),
            expected,
            "{name}"
        );
    }
}
