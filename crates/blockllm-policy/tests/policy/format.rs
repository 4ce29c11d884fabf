//! The form of the built-in policies in files, letter by letter: run records, checkpoints and the names of run folders hold it.
use blockllm_policy::PolicyConfig;

/// Every policy that a single word gives, in the order of `--help`, as it is written.
const NAMED: [(&str, &str); 11] = [
    ("blockllm", r#"{"name":"blockllm","patience":100}"#),
    (
        "blockllm-no-visits",
        r#"{"name":"blockllm-no-visits","patience":100}"#,
    ),
    ("suboptimal", r#"{"name":"suboptimal","patience":100}"#),
    ("magnitude", r#"{"name":"magnitude","interval":100}"#),
    ("random", r#"{"name":"random","interval":100,"blocks":null}"#),
    (
        "cyclic",
        r#"{"name":"cyclic","interval":100,"order":"ascending","blocks":null}"#,
    ),
    (
        "importance",
        r#"{"name":"importance","interval":100,"temperature":1.0}"#,
    ),
    ("misa", r#"{"name":"misa","interval":50,"eta":500.0,"decay":0.9}"#),
    (
        "epsilon-greedy",
        r#"{"name":"epsilon-greedy","patience":100,"epsilon":1.0,"decay":0.9}"#,
    ),
    (
        "official-compat",
        r#"{"name":"official-compat","interval":1000,"patience":100}"#,
    ),
    ("all", r#"{"name":"all"}"#),
];

/// What no single word gives.
const OTHERS: [&str; 4] = [
    r#"{"name":"random","interval":7,"blocks":2,"unbiased":true}"#,
    r#"{"name":"cyclic","interval":3,"order":"descending","blocks":2}"#,
    r#"{"name":"fixed","blocks":["b2","b0"]}"#,
    r#"{"name":"nothing"}"#,
];

fn written(policy: &PolicyConfig) -> String {
    serde_json::to_string(policy).unwrap()
}

#[test]
fn every_name_is_written_as_it_always_was_and_read_back() {
    let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
    assert_eq!(PolicyConfig::names(), names);
    for (name, json) in NAMED {
        let policy = PolicyConfig::from_name(name).unwrap();
        assert_eq!(written(&policy), json);
        assert_eq!(serde_json::from_str::<PolicyConfig>(json).unwrap(), policy);
        assert_eq!(policy.build().unwrap().name(), name);
    }
}

#[test]
fn what_no_name_gives_is_written_as_it_is_read() {
    for json in OTHERS {
        let policy: PolicyConfig = serde_json::from_str(json).unwrap();
        assert_eq!(written(&policy), json);
        assert!(
            json.contains(policy.build().unwrap().name()),
            "{json} builds another policy"
        );
    }
    // Records of before `unbiased` was there.
    let policy: PolicyConfig = serde_json::from_str(r#"{"name":"random","interval":7}"#).unwrap();
    assert_eq!(
        written(&policy),
        r#"{"name":"random","interval":7,"blocks":null}"#
    );
}

#[test]
fn what_is_no_policy_is_told_in_these_words() {
    for (json, told) in [
        (
            r#"{"name":"misa","interval":1,"eta":1,"decay":0.5,"colour":2}"#,
            "unknown field `colour`, expected one of `interval`, `eta`, `decay`",
        ),
        (r#"{"name":"blockllm"}"#, "missing field `patience`"),
        (
            r#"{"name":"magnitude","interval":"often"}"#,
            "invalid type: string \"often\", expected u64",
        ),
        (
            r#"{"name":"blokllm"}"#,
            "unknown variant `blokllm`, expected one of `blockllm`, `blockllm-no-visits`, `suboptimal`, `magnitude`, `random`, \
             `cyclic`, `importance`, `misa`, `epsilon-greedy`, `official-compat`, `fixed`, `all`, `nothing`",
        ),
        (r#"{"patience":1}"#, "missing field `name`"),
    ] {
        let error = serde_json::from_str::<PolicyConfig>(json)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(told), "{error}");
    }
    for (name, field, value, told) in [
        (
            "random",
            "colour",
            "1",
            "policy setting `policy` is colour:1: this policy has blocks, interval, unbiased",
        ),
        (
            "misa",
            "eta",
            "much",
            "policy setting `policy` is eta:much: invalid type: string \"much\", expected f64",
        ),
        (
            "all",
            "eta",
            "1",
            "policy setting `policy` is eta:1: this policy has no settings",
        ),
    ] {
        let mut policy = PolicyConfig::from_name(name).unwrap();
        let before = policy.clone();
        assert_eq!(policy.set(field, value).unwrap_err().to_string(), told);
        assert_eq!(policy, before);
    }
    let told = "no policy is called `fixed`; there are blockllm, blockllm-no-visits, suboptimal, magnitude, random, cyclic, \
                importance, misa, epsilon-greedy, official-compat, all";
    assert_eq!(PolicyConfig::from_name("fixed").unwrap_err().to_string(), told);
}
