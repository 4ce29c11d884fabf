//! From the paths of our parameters to the keys of checkpoints.

use super::config::EncoderKind;

/// The Hugging Face key of the parameter at `path`.
///
/// The two differ in three parts: `base` is `bert` or `roberta`, `self_attention` is `self`, and `layer_norm` is
/// `LayerNorm`; and BERT's head is `classifier` without `out_proj`.
///
/// ```
/// use blockllm_model::encoder::{EncoderKind, hf_key};
///
/// let path = "base.encoder.layer.0.attention.self_attention.query.weight";
/// let key = "bert.encoder.layer.0.attention.self.query.weight";
/// assert_eq!(hf_key(EncoderKind::Bert, path), key);
/// ```
pub fn hf_key(kind: EncoderKind, path: &str) -> String {
    if let (EncoderKind::Bert, Some(rest)) = (kind, path.strip_prefix("classifier.out_proj.")) {
        return format!("classifier.{rest}");
    }
    let parts = path.split('.').map(|part| match part {
        "base" => kind.name(),
        "self_attention" => "self",
        "layer_norm" => "LayerNorm",
        part => part,
    });
    parts.collect::<Vec<_>>().join(".")
}
