//! Models whose LoRA adapters PEFT reads: its name of the task, keys, and the head that it keeps whole beside them.

use burn::module::Module;

use super::linears::Linears;
use crate::encoder::{EncoderForSequenceClassification, EncoderKind, hf_key};
use crate::llama::{LlamaForCausalLM, LlamaForSequenceClassification};

/// A model of ours that adapters can be saved of and loaded into; sealed, since only ours tell their linear layers.
///
/// ```
/// use blockllm_model::hf::Adaptable;
/// use blockllm_model::llama::{LlamaForCausalLM, LlamaForSequenceClassification};
///
/// assert_eq!(LlamaForCausalLM::HEAD, None);
/// assert!(LlamaForSequenceClassification::is_of_head("score.weight"));
/// ```
pub trait Adaptable: Module + Linears {
    /// PEFT's `task_type`.
    const TASK: &'static str;

    /// The module that PEFT trains and keeps whole, as `modules_to_save`: a classifier's head.
    const HEAD: Option<&'static str>;

    /// From the path of a parameter or module to its Hugging Face key.
    fn key_of(&self) -> fn(&str) -> String {
        str::to_owned
    }

    /// What PEFT keeps whole: in every classifier these, whichever of them it has.
    fn heads() -> &'static [&'static str] {
        if Self::HEAD.is_some() {
            &["classifier", "score"]
        } else {
            &[]
        }
    }

    /// Whether a parameter or module is of the head.
    fn is_of_head(path: &str) -> bool {
        Self::HEAD.is_some_and(|head| path.split('.').next() == Some(head))
    }
}

const CLASSIFICATION: &str = "SEQ_CLS";

impl Adaptable for LlamaForCausalLM {
    const TASK: &'static str = "CAUSAL_LM";
    const HEAD: Option<&'static str> = None;
}

impl Adaptable for LlamaForSequenceClassification {
    const TASK: &'static str = CLASSIFICATION;
    const HEAD: Option<&'static str> = Some("score");
}

impl Adaptable for EncoderForSequenceClassification {
    const TASK: &'static str = CLASSIFICATION;
    const HEAD: Option<&'static str> = Some("classifier");

    fn key_of(&self) -> fn(&str) -> String {
        // RoBERTa's head has two layers, BERT's one.
        if self.classifier.dense.is_some() {
            |path| hf_key(EncoderKind::Roberta, path)
        } else {
            |path| hf_key(EncoderKind::Bert, path)
        }
    }
}
