//! The methods of ours, in the one list that a new one is added to.
use super::adamw::AdamW;
use super::apollo::ApolloMethod;
use super::badam::BAdam;
use super::blockllm_sgd::BlockLlmSgd;
use super::blockllm_whitened::BlockLlmWhitened;
use super::blocks::BlockMethod;
use super::galore::GaLoreMethod;
use super::lisa::Lisa;
use super::lora::LoraMethod;
use super::named_method::NamedMethod;
use super::scale::Scale;

/// Shows `visitor` every method of ours, in the order in which errors and `--help` have them. **A new method is a line here.**
pub(super) fn built_in(visitor: &mut impl RoomVisitor) {
    visitor.room::<AdamW>();
    visitor.room::<LoraMethod>();
    visitor.room::<GaLoreMethod>();
    visitor.room::<ApolloMethod>();
    visitor.room::<BAdam>();
    visitor.room::<Lisa>();
    visitor.room::<Scale>();
    visitor.room::<BlockLlmSgd>();
    visitor.room::<BlockLlmWhitened>();
    visitor.room::<BlockMethod>();
}

/// Is shown methods by their types.
pub(super) trait RoomVisitor {
    /// One of them.
    fn room<N: NamedMethod>(&mut self);
}
