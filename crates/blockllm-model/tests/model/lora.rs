//! burn's own LoRA works on the model, and saving merges it.

use blockllm_model::LossOptions;
use blockllm_model::hf::{load_pretrained, save_pretrained};
use burn::module::{Lora, LoraAdapter, Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};

use crate::common::{gradients, max_error, small_config, small_model, some_ids, values};

/// Makes every adapter count: B is zero at first.
struct Disturb;

impl ModuleMapper for Disturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.is_require_grad() {
            param.map(|tensor| Tensor::from_inner(tensor.inner() + 0.05).require_grad())
        } else {
            param
        }
    }
}

#[test]
fn lora_trains_its_factors_only_and_is_merged_when_saved() {
    let device = Device::flex().autodiff();
    let model = small_model(&device)
        .apply_lora(Lora::new(2, 4.0))
        .map(&mut Disturb);
    let adapter: Option<&LoraAdapter> = model.model.layers[0].self_attn.q_proj.weight.adapter();
    assert!(adapter.is_some());

    let ids = || some_ids(1, 7, 96, 0, &device);
    let loss = model
        .loss(ids(), ids(), None, &LossOptions::with_chunk_tokens(3))
        .loss;
    let found = gradients(&model, &loss.backward());
    assert!(
        found.len() > 2 * 14 && found.keys().all(|path| path.contains(".lora.")),
        "{:?}",
        found.keys()
    );

    let dir = tempfile::tempdir().unwrap();
    save_pretrained(&model, &small_config(), dir.path()).unwrap();
    let (loaded, _) = load_pretrained(dir.path(), &Device::flex()).unwrap();
    let error = max_error(
        &values(loaded.forward(ids().inner())),
        &values(model.forward(ids())),
    );
    assert!(error < 1e-5, "{error}");
}
