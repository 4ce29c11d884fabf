//! Tests of the settings of methods that train blocks: every row of the table, read into its field, and what it refuses.
use super::{BlockMethod, blockllm};
use crate::method::testing::{assert_refused, named};
use blockllm_optim::{
    CarriedMoments, Direction, HalfWeights, InactiveRule, Lion, MaskRefresh, MaskScope, MaskScore,
    MaskThreshold, MaskUnit, Measured, MomentPrecision, NormKind, Reach, Recovery, Sgd, SweepMode, Update,
};
use blockllm_policy::{MisaSettings, PolicyConfig, VisitSmoothing};

/// Checks that `settings` change `blockllm:0.9` as `change` does.
fn assert_read(settings: &str, change: impl FnOnce(&mut BlockMethod)) {
    let mut expected = blockllm(0.9, 100);
    change(&mut expected);
    let found = named::<BlockMethod>(&format!("blockllm:0.9+{settings}"));
    assert_eq!(found, expected, "{settings}");
}

/// Checks that the settings are refused, each with what is told.
fn assert_wrong(rows: &[(&str, &str)]) {
    for (settings, told) in rows {
        assert_refused(&format!("blockllm:0.9+{settings}"), told);
    }
}

#[test]
fn settings_follow_the_name() {
    let text = "norm=grad+partition=module+patience=7+rule=lion+inactive=0.5+threshold=4096@1e-4";
    assert_read(text, |blocks| {
        blocks.norm = NormKind::Grad;
        blocks.partition = "module".into();
        blocks.policy = blockllm(0.9, 7).policy;
        blocks.update = Update::from(Lion::default());
        blocks.inactive = Some(InactiveRule {
            scale: 0.5,
            ..InactiveRule::default()
        });
        blocks.threshold = MaskThreshold::Sampled(4096);
    });
}

#[test]
fn what_decides_which_blocks_are_trained_is_read() {
    assert_read("always=lm_head/score", |blocks| {
        blocks.always = vec!["lm_head".into(), "score".into()];
    });
    assert_read("never=pooler", |blocks| blocks.never = vec!["pooler".into()]);
    assert_read("norm=processed", |blocks| blocks.norm = NormKind::Processed);
    assert_read("smoothing=clamp-one", |blocks| {
        blocks.visit_smoothing = VisitSmoothing::ClampOne;
    });
    let misa = MisaSettings {
        interval: 50,
        eta: 300.0,
        decay: 0.9,
    };
    let found = named::<BlockMethod>("misa:0.9+policy=eta:300");
    assert_eq!(found.policy, PolicyConfig::Misa(misa));
    assert_wrong(&[
        ("smoothing=none", "expected `add-one` or `clamp-one`"),
        ("patience=long", "patience=long: invalid digit found in string"),
        ("policy=eta", "policy=eta: use KEY:VALUE, such as eta:500"),
        ("policy=eta:300", "`policy` is eta:300: this policy has patience"),
    ]);
}

#[test]
fn a_value_that_no_model_could_make_right_is_refused_with_the_setting_and_what_to_use() {
    assert_wrong(&[
        (
            "partition=layers",
            "partition=layers: use tensor, module or decoder-layer",
        ),
        ("patience=0", "patience=0: use 1 or more"),
        ("sweep=0", "sweep=0: unfreeze at least one block per pass"),
        ("threshold=255", "threshold=255: sample at least 256 entries"),
        (
            "score=principal-weights:0",
            "score=principal-weights:0: use a rank of 1 or more",
        ),
        ("inactive=0", "inactive=0: use a positive number such as 0.1"),
        ("inactive=-1", "inactive=-1: use a positive number"),
        ("inactive=nan", "inactive=nan: use a positive number"),
        ("recovery=0.9", "recovery=0.9: use a number of 1 or more"),
        ("embedding-rate=0", "embedding-rate=0: use a positive number"),
        ("head-rate=-1", "head-rate=-1: use a positive number"),
        ("vector-rate=inf", "vector-rate=inf: use a positive number"),
        ("matrix-rate=nan", "matrix-rate=nan: use a positive number"),
    ]);
    let temperature = "policy setting `temperature` is 0: use a number above 0";
    assert_refused("importance:0.9+policy=temperature:0", temperature);
    // What goes with another setting is looked at behind the last one.
    assert_refused("random:0.9+policy=unbiased:true", "set `blocks` too");
    named::<BlockMethod>("random:0.9+policy=unbiased:true+policy=blocks:2");
}

#[test]
fn what_decides_whose_gradients_are_measured_is_read() {
    assert_read("probes=0", |blocks| blocks.probes = 0);
    assert_read("measured=passed", |blocks| blocks.measured = Measured::Passed);
    assert_read("sweep=8", |blocks| blocks.sweep = SweepMode::Grouped(8));
    assert_read("sweep=full", |blocks| blocks.sweep = SweepMode::Full);
    assert_wrong(&[
        ("probes=-1", "probes=-1: invalid digit found in string"),
        ("measured=all", "expected `probes` or `passed`"),
        ("sweep=half", "sweep=half: invalid digit found in string"),
    ]);
}

#[test]
fn what_decides_which_entries_are_trained_is_read() {
    assert_read("mask=per-parameter", |blocks| {
        blocks.mask = MaskScope::PerParameter;
    });
    assert_read("mask=none", |blocks| blocks.mask = MaskScope::None);
    assert_read("threshold=512+threshold=exact", |blocks| {
        blocks.threshold = MaskThreshold::Exact;
    });
    assert_read("refresh=each-step", |blocks| {
        blocks.refresh = MaskRefresh::EachStep;
    });
    assert_read("score=smallest-weights", |blocks| {
        blocks.score = MaskScore::SmallestWeights;
    });
    assert_read("score=principal-weights:4", |blocks| {
        blocks.score = MaskScore::PrincipalWeights { rank: 4 };
    });
    assert_read("unit=input", |blocks| blocks.unit = MaskUnit::Input);
    assert_wrong(&[
        ("mask=some", "expected one of `global`, `per-parameter`, `none`"),
        ("threshold=about", "threshold=about: invalid digit"),
        ("refresh=never", "expected `each-selection` or `each-step`"),
        ("score=rank", "score=rank: use gradient, smallest-weights or"),
        (
            "score=principal-weights:few",
            "use principal-weights:RANK, a whole number",
        ),
        ("unit=row", "expected one of `entry`, `input`, `output`"),
    ]);
}

#[test]
fn what_decides_how_they_are_trained_is_read() {
    assert_read("moments=carried-over", |blocks| {
        blocks.moments = CarriedMoments::CarriedOver;
    });
    assert_read("state=int8", |blocks| {
        blocks.moment_precision = MomentPrecision::Int8;
    });
    assert_read("half=nearest", |blocks| {
        blocks.half_weights = HalfWeights::Nearest;
    });
    assert_read("half=stochastic", |blocks| {
        blocks.half_weights = HalfWeights::Stochastic;
    });
    assert_read("ramp=20", |blocks| blocks.ramp = 20);
    assert_read("rule=sgd", |blocks| {
        blocks.update = Update::from(Sgd::default());
    });
    assert_wrong(&[
        ("moments=kept", "expected `reset` or `carried-over`"),
        ("state=int4", "expected `f32` or `int8`"),
        ("half=none", "expected one of `masters`, `nearest`, `stochastic`"),
        ("ramp=long", "ramp=long: invalid digit found in string"),
        ("rule=adam", "rule=adam: use adamw, sgd or lion"),
    ]);
}

#[test]
fn what_decides_what_becomes_of_all_else_is_read() {
    let rule = "inactive=0.2+direction=whitened+reach=above+masked-out=move+momentum=lm_head/score";
    assert_read(rule, |blocks| {
        blocks.inactive = Some(InactiveRule {
            direction: Direction::Whitened,
            scale: 0.2,
            reach: Reach::Above,
            masked_out: true,
            momentum: vec!["lm_head".into(), "score".into()],
        });
    });
    assert_read("inactive=0.2+inactive=none", |blocks| blocks.inactive = None);
    assert_read("recovery=1.01", |blocks| {
        blocks.recovery = Some(Recovery { growth: 1.01 });
    });
    assert_read("recovery=1.01+recovery=none", |blocks| {
        blocks.recovery = None;
    });
    let of_the_rule = "is of the inactive rule: name inactive=SCALE before it";
    assert_wrong(&[
        ("inactive=some", "inactive=some: invalid float literal"),
        ("direction=sign", of_the_rule),
        ("reach=all+inactive=0.1", of_the_rule),
        ("masked-out=move", of_the_rule),
        ("momentum=head", of_the_rule),
        ("inactive=0.1+reach=top", "expected `all` or `above`"),
        ("inactive=0.1+masked-out=go", "masked-out=go: use stay or move"),
        (
            "inactive=0.1+direction=up",
            "expected one of `sign`, `normalised`, `whitened`",
        ),
        ("recovery=fast", "recovery=fast: invalid float literal"),
    ]);
}
