//! A training method behind a pointer, as a [`Method`](super::Method) holds it and a run record has it.
use super::hands::{Hand, Hands};
use super::room::{self, Room};
use super::training_method::{MethodObject, TrainingMethod};
use crate::memory::plan::{ParameterState, PlannedParameter, PlannedStep, Scheme, StatePlace};
use crate::{TrainConfig, TrainError, TrainingOptimizer};
use burn::module::Module;
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::any::Any;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// The rule by which a method trains: any [`TrainingMethod`]. In records it is `{"KIND": {its settings}}`.
#[derive(Debug)]
pub struct Algorithm {
    method: Box<dyn TrainingMethod>,
    hands: Hands,
}

impl Algorithm {
    pub(super) fn new(method: Box<dyn TrainingMethod>, hands: Hands) -> Self {
        Self { method, hands }
    }

    /// Of the method whose settings were written down as `settings` of the room's kind.
    pub(super) fn read(room: &Room, settings: Value) -> Result<Self, serde_json::Error> {
        Ok(Self::new((room.read)(settings)?, room.hands.clone()))
    }

    /// Of a method from this crate or another, for all models of `blockllm-model`.
    pub fn of<T: TrainingMethod>(method: T) -> Self {
        Self::new(Box::new(method), Hands::of::<T>())
    }

    /// The same for modules of the type `M` too; `T` is the method's type.
    #[must_use]
    pub fn for_module<T: TrainingMethod, M: Module + 'static>(mut self) -> Self {
        self.hands = self.hands.and::<T, M>();
        self
    }

    /// The method, if it is of that type.
    pub fn get<T: TrainingMethod>(&self) -> Option<&T> {
        (&**self as &dyn Any).downcast_ref()
    }

    /// The method to change, if it is of that type.
    pub fn get_mut<T: TrainingMethod>(&mut self) -> Option<&mut T> {
        (&mut **self as &mut dyn Any).downcast_mut()
    }

    pub(super) fn hand<M: Module + 'static>(&self) -> Result<Hand<M>, TrainError> {
        self.hands.hand(&**self)
    }
}

impl Deref for Algorithm {
    type Target = dyn TrainingMethod;

    fn deref(&self) -> &Self::Target {
        &*self.method
    }
}

impl DerefMut for Algorithm {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.method
    }
}

impl Clone for Algorithm {
    fn clone(&self) -> Self {
        Self::new(self.method.boxed(), self.hands.clone())
    }
}

/// Of the same kind with the same settings.
impl PartialEq for Algorithm {
    fn eq(&self, other: &Self) -> bool {
        self.kind_name() == other.kind_name() && self.to_json() == other.to_json()
    }
}

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.kind_name(), &self.to_json())?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let (Some((kind, settings)), true) = (map.pop_first(), map.is_empty()) else {
            return Err(D::Error::custom(
                "an algorithm is one kind of method with its settings",
            ));
        };
        match room::of_kind(&room::built_in(), &kind) {
            Some(room) => Self::read(room, settings).map_err(D::Error::custom),
            None => Ok(Self::new(Box::new(Foreign { kind, settings }), Hands::default())),
        }
    }
}

/// A method of another program, as its record has it: it can be shown and compared, and trains nothing here.
#[derive(Clone, Debug)]
struct Foreign {
    kind: String,
    settings: Value,
}

impl Foreign {
    fn refuse(&self) -> TrainError {
        TrainError::Setting {
            field: "method",
            value: self.kind.clone(),
            mend: "it is of another program, which alone can train or plan it".into(),
        }
    }
}

impl MethodObject for Foreign {
    fn kind_name(&self) -> &str {
        &self.kind
    }

    fn boxed(&self) -> Box<dyn TrainingMethod> {
        Box::new(self.clone())
    }

    fn to_json(&self) -> Value {
        self.settings.clone()
    }

    fn set(&mut self, _: &str, _: &str) -> Result<(), String> {
        Err(format!("`{}` is of another program", self.kind))
    }
}

impl TrainingMethod for Foreign {
    fn kind() -> &'static str {
        "foreign"
    }

    fn optimizer<M: Module + 'static>(
        &self,
        _: &M,
        _: &TrainConfig,
    ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError> {
        Err(self.refuse())
    }

    fn plan(&self, _: Vec<PlannedParameter>, _: &PlannedStep<'_>) -> Result<Scheme, TrainError> {
        Err(self.refuse())
    }

    fn planned_state(&self, _: &PlannedParameter, _: u64, _: StatePlace) -> ParameterState {
        ParameterState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, Methods};

    #[test]
    fn a_method_is_written_under_its_kind_and_read_back_as_it_was() {
        let check = |text: &str, kind: &str| {
            let method = Method::parse(text).unwrap();
            let written = serde_json::to_string(&method).unwrap();
            let found = serde_json::from_str::<Value>(&written).unwrap()["algorithm"].clone();
            assert!(
                found[kind].is_object() && found.as_object().unwrap().len() == 1,
                "{written}"
            );
            let read: Method = serde_json::from_str(&written).unwrap();
            assert_eq!(read, method, "{text}");
        };
        for (text, kind) in [
            ("adamw", "blocks"),
            (
                "blockllm:0.9+inactive=0.5+rule=lion+threshold=4096@1e-4",
                "blocks",
            ),
            ("lisa:2+always=pooler", "blocks"),
            ("lora:4+alpha=2.5", "lora"),
            ("galore:4+svd=randomized", "galore"),
            ("apollo-mini:2+scale=64", "apollo-mini"),
        ] {
            check(text, kind);
        }
        for text in Methods::built_in().examples() {
            let method = Method::parse(&text).unwrap();
            check(&text, method.algorithm.kind_name());
        }
    }

    #[test]
    fn a_method_of_another_program_is_kept_as_it_is_written_and_trains_nothing() {
        let text = r#"{"mine":{"rank":3,"share":0.1}}"#;
        let foreign: Algorithm = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&foreign).unwrap(), text);
        assert_eq!(foreign, foreign.clone());
        let other: Algorithm = serde_json::from_str(&text.replace('3', "4")).unwrap();
        assert_ne!(foreign, other);
        let method = Method {
            algorithm: foreign,
            ..Method::adamw()
        };
        let module = burn::nn::LinearConfig::new(2, 2).init(&burn::tensor::Device::flex());
        let error = method.optimizer(&module, &TrainConfig::default()).unwrap_err();
        assert!(error.to_string().contains("`method` is mine"), "{error}");
    }

    #[test]
    fn an_algorithm_of_no_kind_or_of_two_is_refused() {
        for text in [
            "{}",
            r#"{"lora":{},"galore":{}}"#,
            "[]",
            r#"{"lora":{"rank":"x"}}"#,
        ] {
            assert!(serde_json::from_str::<Algorithm>(text).is_err(), "{text}");
        }
    }
}
