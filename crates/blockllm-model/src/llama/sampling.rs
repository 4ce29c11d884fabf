//! Choosing the next token from logits, on the host: greedy, temperature, top-k, top-p.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::generate_config::GenerateConfig;

/// The first of the largest logits.
pub(super) fn greedy(logits: &[f32]) -> u32 {
    let best = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (index, logit)| {
            if *logit > best.1 { (index, *logit) } else { best }
        });
    best.0 as u32
}

/// A token drawn from the softmax of `logits / temperature`, cut to the `top_k` likeliest and then to the fewest
/// that hold `top_p` of the probability.
pub(super) fn sample(logits: &[f32], config: &GenerateConfig, rng: &mut ChaCha8Rng) -> u32 {
    let order = likeliest(logits, config.top_k.unwrap_or(usize::MAX));
    let max = f64::from(logits[order[0]]);
    let weights = order
        .iter()
        .map(|index| ((f64::from(logits[*index]) - max) / config.temperature).exp());
    let mut weights: Vec<f64> = weights.collect();
    let total: f64 = weights.iter().sum();
    let kept = nucleus(&weights, config.top_p * total);
    weights.truncate(kept);
    let mut left = weights.iter().sum::<f64>() * unit(rng);
    for (index, weight) in order.iter().zip(&weights) {
        left -= weight;
        if left < 0.0 {
            return *index as u32;
        }
    }
    order[kept - 1] as u32
}

/// The tokens of the `count` largest logits, largest first, the earlier of two alike first: only they are sorted.
fn likeliest(logits: &[f32], count: usize) -> Vec<usize> {
    let by_rank = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    if (1..order.len()).contains(&count) {
        order.select_nth_unstable_by(count - 1, by_rank);
        order.truncate(count);
    }
    order.sort_unstable_by(by_rank);
    order
}

/// The number of leading weights that together reach `mass`, at least one.
fn nucleus(weights: &[f64], mass: f64) -> usize {
    let mut sum = 0.0;
    let reached = weights.iter().position(|weight| {
        sum += weight;
        sum >= mass
    });
    reached.map_or(weights.len(), |index| index + 1)
}

/// A number from 0 (included) to 1 (excluded).
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    fn draws(config: &GenerateConfig) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        (0..400).map(|_| sample(&LOGITS, config, &mut rng)).collect()
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
            assert_eq!(likeliest(&logits, count), all[..count.min(997)], "{count}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let config = GenerateConfig::sampling(1, 1.0, 0);
        let two = draws(&GenerateConfig {
            top_k: Some(2),
            ..config.clone()
        });
        assert!(two.iter().all(|token| [1, 2].contains(token)) && two.contains(&2));
        // The likeliest token holds 0.64 of the probability, so half of it is one token.
        assert!(
            draws(&GenerateConfig {
                top_p: 0.5,
                ..config.clone()
            })
            .iter()
            .all(|token| *token == 1)
        );
        assert!((0..4).all(|token| draws(&config).contains(&token)));
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let hits = draws(&GenerateConfig::sampling(1, 1.0, 0))
            .iter()
            .filter(|token| **token == 1)
            .count();
        assert!((220..300).contains(&hits), "{hits} of 400, expected about 257");
    }
}
