//! How a method behind a pointer reaches modules: functions for one type of module each, kept beside the method.
use super::list::{self, RoomVisitor};
use super::named_method::NamedMethod;
use super::training_method::TrainingMethod;
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use blockllm_model::encoder::EncoderForSequenceClassification;
use blockllm_model::llama::{LlamaForCausalLM, LlamaForSequenceClassification};
use burn::module::Module;
use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

type Adapt<M> = fn(&dyn TrainingMethod, M, &TrainConfig) -> Result<M, TrainError>;
type Build<M> =
    fn(&dyn TrainingMethod, &M, &TrainConfig) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError>;

/// What a method does with modules of the type `M`.
pub(super) struct Hand<M> {
    pub adapt: Adapt<M>,
    pub optimizer: Build<M>,
}

impl<M: Module + 'static> Hand<M> {
    /// The hand of methods of the type `T`.
    pub fn of<T: TrainingMethod>() -> Self {
        Self {
            adapt: |method, module, config| own::<T>(method).adapt(module, config),
            optimizer: |method, module, config| own::<T>(method).optimizer(module, config),
        }
    }
}

fn own<T: TrainingMethod>(method: &dyn TrainingMethod) -> &T {
    let method = (method as &dyn Any).downcast_ref();
    method.expect("a hand is used with methods of its own type only")
}

/// The hands of a method from another crate: one for each model of ours, and for those that its author adds.
#[derive(Clone, Default)]
pub(super) struct Hands(Vec<Arc<dyn Any + Send + Sync>>);

impl Hands {
    /// The hands of methods of the type `T`.
    pub fn of<T: TrainingMethod>() -> Self {
        Self::default()
            .and::<T, LlamaForCausalLM>()
            .and::<T, LlamaForSequenceClassification>()
            .and::<T, EncoderForSequenceClassification>()
    }

    /// One more, for modules of the type `M`.
    pub fn and<T: TrainingMethod, M: Module + 'static>(mut self) -> Self {
        self.0.push(Arc::new(Hand::<M>::of::<T>()));
        self
    }

    /// The one for modules of the type `M`: `method`'s own, or, if it is one of ours, that for any module.
    pub fn hand<M: Module + 'static>(&self, method: &dyn TrainingMethod) -> Result<Hand<M>, TrainError> {
        let mut hands = self.0.iter().filter_map(|hand| hand.downcast_ref::<Hand<M>>());
        let own = hands.next().map(|hand| Hand {
            adapt: hand.adapt,
            optimizer: hand.optimizer,
        });
        own.or_else(|| built_in(method)).ok_or_else(|| TrainError::Setting {
            field: "method",
            value: method.kind_name().to_owned(),
            mend: format!(
                "this program does not know it for modules of the type {}: it is to be given by `Methods::with`, and a type \
                 that is not of blockllm-model by `Methods::with_module`",
                std::any::type_name::<M>()
            ),
        })
    }
}

impl fmt::Debug for Hands {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} hands", self.0.len())
    }
}

/// The hand of a method of ours, for modules of any type.
fn built_in<M: Module + 'static>(method: &dyn TrainingMethod) -> Option<Hand<M>> {
    struct Search<M> {
        of: TypeId,
        found: Option<Hand<M>>,
    }
    impl<M: Module + 'static> RoomVisitor for Search<M> {
        fn room<N: NamedMethod>(&mut self) {
            if self.of == TypeId::of::<N::Method>() {
                self.found = Some(Hand::of::<N::Method>());
            }
        }
    }
    let mut search = Search {
        of: (method as &dyn Any).type_id(),
        found: None,
    };
    list::built_in(&mut search);
    search.found
}
