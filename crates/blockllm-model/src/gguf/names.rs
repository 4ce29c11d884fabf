//! Hugging Face's keys for the names that llama.cpp gives tensors.

/// Names of tensors outside of layers.
const OUTSIDE: [(&str, &str); 3] = [
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
];

/// Names of tensors within a layer.
const WITHIN: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The key of the tensor `name`, if a model has it.
pub(super) fn key_of(name: &str) -> Option<String> {
    let (rest, part) = name.rsplit_once('.')?;
    if !["weight", "bias"].contains(&part) {
        return None;
    }
    let of = |names: &[(&str, &'static str)], name: &str| {
        let found = names.iter().find(|(own, _)| *own == name);
        found.map(|(_, key)| *key)
    };
    match rest.strip_prefix("blk.") {
        None => Some(format!("{}.{part}", of(&OUTSIDE, rest)?)),
        Some(rest) => {
            let (layer, name) = rest.split_once('.')?;
            let layer: u32 = layer.parse().ok()?;
            Some(format!("model.layers.{layer}.{}.{part}", of(&WITHIN, name)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_have_keys_and_others_none() {
        for (name, key) in [
            ("token_embd.weight", Some("model.embed_tokens.weight")),
            (
                "blk.12.attn_q.bias",
                Some("model.layers.12.self_attn.q_proj.bias"),
            ),
            (
                "blk.0.ffn_norm.weight",
                Some("model.layers.0.post_attention_layernorm.weight"),
            ),
            ("rope_freqs.weight", None),
            ("blk.x.attn_q.weight", None),
            ("blk.0.attn_q_norm.weight", None),
            ("output.scale", None),
        ] {
            assert_eq!(key_of(name).as_deref(), key, "{name}");
        }
    }
}
