//! Evaluation gives every counted label the same say, whatever batch it fell into.
use crate::batches::padded;
use crate::training::tiny_llama;
use crate::weights::values;
use blockllm::data::{IGNORE_INDEX, LmBatch};
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::train::{LanguageModeling, evaluate};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The cross entropy of every counted label of `batch`, on the host in f64.
fn losses_by_hand(model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Vec<f64> {
    let shape = [batch.batch_size, batch.seq_len];
    let ids = Tensor::<2, Int>::from_data(TensorData::new(batch.input_ids.clone(), shape), device);
    let logits = model.forward(ids);
    let [.., vocab_size] = logits.dims();
    let logits = values(logits);
    let rows = logits.chunks(vocab_size).zip(&batch.labels);
    rows.filter(|(_, label)| **label != IGNORE_INDEX)
        .map(|(row, &label)| {
            let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
            sum.ln() - f64::from(row[label as usize])
        })
        .collect()
}

#[test]
fn evaluation_is_the_mean_over_all_labels_though_batches_differ_in_how_many_they_count() {
    let device = Device::flex();
    let model = tiny_llama().init(2, &device);
    let batches = [
        padded(&[16, 16, 16], 16, 0),
        padded(&[2, 3], 16, 5),
        padded(&[7], 16, 9),
    ];
    let by_hand = batches
        .each_ref()
        .map(|batch| losses_by_hand(&model, batch, &device));
    let labels: usize = by_hand.iter().map(Vec::len).sum();
    let mean = by_hand.iter().flatten().sum::<f64>() / labels as f64;
    let of_batches = by_hand
        .each_ref()
        .map(|losses| losses.iter().sum::<f64>() / losses.len() as f64);
    let mean_of_means = of_batches.iter().sum::<f64>() / of_batches.len() as f64;

    let found = evaluate(&LanguageModeling::default(), &model, &batches, &device).unwrap();
    assert_eq!(found.labels, labels as u64);
    // Three sums in f32 of up to 45 losses around 5.
    assert!((found.loss - mean).abs() < 1e-5, "{} beside {mean}", found.loss);
    assert!((found.perplexity() - mean.exp()).abs() < 1e-4 * mean.exp());
    assert!(
        (mean - mean_of_means).abs() > 1e-2,
        "these batches cannot tell {mean} from {mean_of_means}"
    );
}

#[test]
fn a_validation_set_without_labels_is_refused_and_told_how_to_mend() {
    let device = Device::flex();
    let model = tiny_llama().init(2, &device);
    let nothing = padded(&[1, 1], 4, 0);
    let error = evaluate(&LanguageModeling::default(), &model, &[nothing], &device).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("validation set") && message.contains("longer documents"),
        "{message}"
    );
}
