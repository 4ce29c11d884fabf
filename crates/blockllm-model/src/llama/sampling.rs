//! Choosing the next token from logits, on the host: greedy, or drawn after penalty, temperature, top-k, top-p and min-p.

use std::collections::BTreeSet;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::generate_config::GenerateConfig;

/// Candidates that are sorted first where the nucleus decides how many are needed.
const FIRST_SORTED: usize = 256;

/// Chooses the tokens of one text.
#[derive(Debug, Clone)]
pub(super) struct Chooser {
    config: GenerateConfig,
    draws: ChaCha8Rng,
    /// The tokens of prompt and output, where there is a penalty on them.
    seen: BTreeSet<u32>,
}

/// What may be drawn: tokens, and their shares of the probability up to a common factor.
#[derive(Debug, PartialEq)]
struct Candidates {
    tokens: Vec<usize>,
    weights: Vec<f64>,
}

impl Chooser {
    /// For the text that begins with `prompt`, row `row` of its batch.
    pub(super) fn new(config: &GenerateConfig, row: usize, prompt: &[u32]) -> Self {
        let mut draws = ChaCha8Rng::seed_from_u64(config.seed);
        draws.set_stream(row as u64);
        let mut chooser = Self {
            config: config.clone(),
            draws,
            seen: BTreeSet::new(),
        };
        for token in prompt {
            chooser.see(*token);
        }
        chooser
    }

    /// How tokens are chosen.
    pub(super) fn config(&self) -> &GenerateConfig {
        &self.config
    }

    /// The token at `place` of the text, of the logits after the one before it.
    pub(super) fn choose(&mut self, mut logits: Vec<f32>, place: usize) -> u32 {
        self.penalize(&mut logits);
        let token = if self.config.temperature > 0.0 {
            self.draws.set_word_pos(2 * place as u128);
            candidates(&logits, &self.config).draw(unit(&mut self.draws))
        } else {
            greedy(&logits)
        };
        self.see(token);
        token
    }

    /// Makes logits of tokens that the text has smaller, or larger by a penalty below 1.
    fn penalize(&self, logits: &mut [f32]) {
        let penalty = self.config.repetition_penalty as f32;
        for token in &self.seen {
            let logit = &mut logits[*token as usize];
            *logit = if *logit < 0.0 {
                *logit * penalty
            } else {
                *logit / penalty
            };
        }
    }

    /// Remembers a token of the text for the penalty.
    fn see(&mut self, token: u32) {
        if (self.config.repetition_penalty - 1.0).abs() > 0.0 {
            self.seen.insert(token);
        }
    }
}

/// The first of the largest logits.
fn greedy(logits: &[f32]) -> u32 {
    let best = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (index, logit)| {
            if *logit > best.1 { (index, *logit) } else { best }
        });
    best.0 as u32
}

/// What is left of the softmax of `logits / temperature` by the `top_k` likeliest, the fewest of those that hold `top_p` of their
/// probability, and those at least `min_p` times as likely as the likeliest: by falling likelihood where `top_k` or `top_p` cuts, the
/// earlier of two alike first, in the vocabulary's order elsewhere.
fn candidates(logits: &[f32], config: &GenerateConfig) -> Candidates {
    let largest = f64::from(logits[greedy(logits) as usize]);
    let weight = |token: &usize| ((f64::from(logits[*token]) - largest) / config.temperature).exp();
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    if let Some(top_k) = config.top_k {
        tokens = likeliest(logits, tokens, top_k);
    }
    if config.top_p < 1.0 {
        let total: f64 = tokens.iter().map(weight).sum();
        tokens = leading(logits, &tokens, weight, config.top_p * total);
    }
    if config.min_p > 0.0 {
        // The likeliest has weight 1, which is never less.
        tokens.retain(|token| weight(token) >= config.min_p);
    }
    let weights = tokens.iter().map(weight).collect();
    Candidates { tokens, weights }
}

/// The fewest likeliest tokens that together have `mass`, at least one, or all: no more are sorted than it takes.
fn leading(logits: &[f32], tokens: &[usize], weight: impl Fn(&usize) -> f64, mass: f64) -> Vec<usize> {
    let mut count = FIRST_SORTED;
    loop {
        let mut front = likeliest(logits, tokens.to_vec(), count);
        let mut sum = 0.0;
        let reached = front.iter().position(|token| {
            sum += weight(token);
            sum >= mass
        });
        if let Some(index) = reached {
            front.truncate(index + 1);
            return front;
        }
        if front.len() == tokens.len() {
            return front;
        }
        count = count.saturating_mul(8);
    }
}

/// Those of the `count` largest logits among `tokens`, largest first, the earlier of two alike first: only they are sorted.
fn likeliest(logits: &[f32], mut tokens: Vec<usize>, count: usize) -> Vec<usize> {
    let by_rank = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if (1..tokens.len()).contains(&count) {
        tokens.select_nth_unstable_by(count - 1, by_rank);
        tokens.truncate(count);
    }
    tokens.sort_unstable_by(by_rank);
    tokens
}

impl Candidates {
    /// The token in whose part of the whole `share`, of `[0, 1)`, falls.
    fn draw(&self, share: f64) -> u32 {
        let mut left = self.weights.iter().sum::<f64>() * share;
        let reached = self.weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding can leave a little behind the last.
        let index = reached.unwrap_or(self.tokens.len() - 1);
        self.tokens[index] as u32
    }
}

/// A number from 0 (included) to 1 (excluded).
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    fn draws(config: &GenerateConfig) -> Vec<u32> {
        let mut chooser = Chooser::new(config, 0, &[]);
        (0..400)
            .map(|place| chooser.choose(LOGITS.to_vec(), place))
            .collect()
    }

    fn at_temperature_1() -> GenerateConfig {
        GenerateConfig::sampling(1, 1.0, 0)
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(greedy(&[0.5, 2.0, 2.0]), 1);
    }

    #[test]
    fn the_likeliest_tokens_are_the_front_of_all_of_them_in_order() {
        let logits: Vec<f32> = (0..997)
            .map(|i| ((i * 7919 % 501) as f32).sin().round())
            .collect();
        let mut all: Vec<usize> = (0..logits.len()).collect();
        all.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        for count in [1, 2, 50, 996, 997, 998, usize::MAX] {
            let found = likeliest(&logits, (0..logits.len()).collect(), count);
            assert_eq!(found, all[..count.min(997)], "{count}");
        }
    }

    #[test]
    fn top_k_top_p_and_min_p_cut_the_tail() {
        let two = draws(&GenerateConfig {
            top_k: Some(2),
            ..at_temperature_1()
        });
        assert!(two.iter().all(|token| [1, 2].contains(token)) && two.contains(&2));
        // The likeliest token holds 0.64 of the probability, so half of it is one token; the next is 0.37 times as likely.
        for one in [
            GenerateConfig {
                top_p: 0.5,
                ..at_temperature_1()
            },
            GenerateConfig {
                min_p: 0.4,
                ..at_temperature_1()
            },
        ] {
            assert!(draws(&one).iter().all(|token| *token == 1));
        }
        assert!((0..4).all(|token| draws(&at_temperature_1()).contains(&token)));
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let hits = draws(&at_temperature_1())
            .iter()
            .filter(|token| **token == 1)
            .count();
        assert!((220..300).contains(&hits), "{hits} of 400, expected about 257");
    }

    #[test]
    fn what_may_be_drawn_has_the_probabilities_that_transformers_gives_it() {
        let text = include_str!("../../tests/fixtures/logits_processors.json");
        let reference: serde_json::Value = serde_json::from_str(text).unwrap();
        let logits: Vec<f32> = serde_json::from_value(reference["logits"].clone()).unwrap();
        let tokens: Vec<u32> = serde_json::from_value(reference["text"].clone()).unwrap();
        for case in reference["cases"].as_array().unwrap() {
            let settings = &case["settings"];
            let number = |key: &str, default: f64| settings[key].as_f64().unwrap_or(default);
            let config = GenerateConfig {
                temperature: number("temperature", 1.0),
                top_k: settings["top_k"].as_u64().map(|top_k| top_k as usize),
                top_p: number("top_p", 1.0),
                min_p: number("min_p", 0.0),
                repetition_penalty: number("repetition_penalty", 1.0),
                ..at_temperature_1()
            };
            let mut penalized = logits.clone();
            Chooser::new(&config, 0, &tokens).penalize(&mut penalized);
            let left = candidates(&penalized, &config);
            let total: f64 = left.weights.iter().sum();
            let mut found = vec![0.0; logits.len()];
            for (token, weight) in left.tokens.iter().zip(&left.weights) {
                found[*token] = weight / total;
            }
            let expected: Vec<f64> = serde_json::from_value(case["probabilities"].clone()).unwrap();
            for (token, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{settings}: {token}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn the_penalty_makes_what_was_said_less_likely_and_counts_what_was_chosen() {
        let config = GenerateConfig {
            repetition_penalty: 3.0,
            ..GenerateConfig::greedy(1)
        };
        let mut chooser = Chooser::new(&config, 0, &[1]);
        let chosen: Vec<u32> = (0..3)
            .map(|place| chooser.choose(LOGITS.to_vec(), place))
            .collect();
        // 1 becomes 2/3, below the 1 of 2; then 2 becomes 1/3.
        assert_eq!(chosen, [2, 1, 1]);
    }

    #[test]
    fn a_draw_depends_on_seed_row_and_place_alone() {
        let draw = |seed: u64, row: usize, places: &[usize]| {
            let mut chooser = Chooser::new(&GenerateConfig::sampling(1, 1.0, seed), row, &[]);
            let flat = vec![0.0; 10_000];
            let mut draws = places.iter().map(|place| chooser.choose(flat.clone(), *place));
            draws.next_back().unwrap()
        };
        assert_eq!(draw(3, 2, &[7]), draw(3, 2, &[1, 5, 7]));
        let others = [draw(3, 2, &[8]), draw(3, 1, &[7]), draw(4, 2, &[7])];
        assert!(!others.contains(&draw(3, 2, &[7])));
    }

    proptest! {
        #[test]
        fn few_sorted_candidates_are_those_of_all_of_them_sorted(
            logits in prop::collection::vec((-40i8..40).prop_map(|logit| f32::from(logit) / 8.0), 1..1500),
            top_k in prop::option::of(1usize..2000),
            top_p in 0.01f64..=1.0,
            min_p in 0.0f64..=1.0,
            temperature in 0.05f64..20.0,
        ) {
            let config = GenerateConfig { temperature, top_k, top_p, min_p, ..at_temperature_1() };
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            order.truncate(top_k.unwrap_or(usize::MAX));
            let largest = f64::from(logits[order[0]]);
            let weight = |token: &usize| ((f64::from(logits[*token]) - largest) / temperature).exp();
            let total: f64 = order.iter().map(weight).sum();
            let mut sum = 0.0;
            let mut expected: Vec<usize> = Vec::new();
            for token in order {
                let before = sum;
                sum += weight(&token);
                // Sums in two orders differ in their last bits; whole steps of logits keep the rest apart.
                if expected.is_empty() || before < top_p * total - 1e-9 * total || top_p >= 1.0 {
                    expected.push(token);
                }
            }
            expected.retain(|token| weight(token) >= min_p);
            let mut found = candidates(&logits, &config).tokens;
            prop_assert!(!found.is_empty());
            found.sort_unstable();
            expected.sort_unstable();
            // Where the mass is met to the last bit, one more or less is right as well.
            prop_assert!(found.len().abs_diff(expected.len()) <= 1);
            let common = found.len().min(expected.len());
            let shared = found.iter().filter(|token| expected.contains(token)).count();
            prop_assert_eq!(shared, common);
        }
    }
}
