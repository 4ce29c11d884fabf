//! The methods that a program knows: ours, in the one list that a new one is added to, and those of its own.
use super::adamw::AdamW;
use super::algorithm::Algorithm;
use super::badam::BAdam;
use super::blockllm_sgd::BlockLlmSgd;
use super::blockllm_whitened::BlockLlmWhitened;
use super::hands::Hands;
use super::lisa::Lisa;
use super::scale::Scale;
use super::{ApolloMethod, BlockMethod, GaLoreMethod, LoraMethod, Method, TrainingMethod, setting};
use crate::TrainError;
use burn::module::Module;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

/// What the command line calls a method, or a preset of one.
pub trait NamedMethod: 'static {
    /// What the name gives.
    type Method: TrainingMethod + Clone + Serialize + DeserializeOwned;

    /// The names.
    fn names() -> Vec<&'static str>;

    /// The method that `name`, one of [`names`](Self::names), gives with the number behind it, such as `0.95` of
    /// `blockllm:0.95`.
    ///
    /// # Errors
    /// Says what is wrong with the number.
    fn method(name: &str, number: Option<&str>) -> Result<Self::Method, String>;
}

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

/// Makes a method of a name and the number behind it.
type Make = fn(&str, Option<&str>) -> Result<Box<dyn TrainingMethod>, String>;
/// Reads a method from its record.
type Read = fn(Value) -> Result<Box<dyn TrainingMethod>, serde_json::Error>;

/// What a program knows of one method.
#[derive(Clone, Debug)]
struct Room {
    kind: &'static str,
    names: Vec<&'static str>,
    make: Make,
    read: Read,
    help: fn() -> String,
    hands: Hands,
}

impl Room {
    fn of<N: NamedMethod>(hands: Hands) -> Self {
        Self {
            kind: N::Method::kind(),
            names: N::names(),
            make: |name, number| Ok(Box::new(N::method(name, number)?)),
            read: |value| Ok(Box::new(serde_json::from_value::<N::Method>(value)?)),
            help: setting::help::<N::Method>,
            hands,
        }
    }
}

/// The methods that a program knows, by the names that its command line gives them.
///
/// ```
/// use blockllm_train::Methods;
///
/// let methods = Methods::built_in();
/// assert_eq!(methods.parse("lora:8")?.label, "lora:8");
/// assert!(methods.parse("mine:8").is_err()); // until `methods.with::<Mine>()`
/// # Ok::<(), blockllm_train::TrainError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Methods(Arc<Vec<Room>>);

static BUILT_IN: LazyLock<Methods> = LazyLock::new(|| {
    struct Rooms(Vec<Room>);
    impl RoomVisitor for Rooms {
        fn room<N: NamedMethod>(&mut self) {
            // Ours have hands for modules of any type.
            self.0.push(Room::of::<N>(Hands::default()));
        }
    }
    let mut rooms = Rooms(Vec::new());
    built_in(&mut rooms);
    Methods(Arc::new(rooms.0))
});

impl Default for Methods {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Methods {
    /// Ours.
    pub fn built_in() -> Self {
        BUILT_IN.clone()
    }

    /// These and `N`, for all models of `blockllm-model`.
    #[must_use]
    pub fn with<N: NamedMethod>(self) -> Self {
        self.and(Room::of::<N>(Hands::of::<N::Method>()))
    }

    /// These, with the methods of `N` for modules of the type `M` too: for a model of your own.
    #[must_use]
    pub fn with_module<N: NamedMethod, M: Module + 'static>(self) -> Self {
        let hands = Hands::of::<N::Method>().and::<N::Method, M>();
        self.and(Room::of::<N>(hands))
    }

    /// A later one of the same name is meant.
    fn and(mut self, room: Room) -> Self {
        Arc::make_mut(&mut self.0).push(room);
        self
    }

    /// All names.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().flat_map(|room| room.names.clone()).collect()
    }

    /// What `--help` tells of the settings of all methods.
    pub fn settings_help(&self) -> String {
        let mut kinds = BTreeSet::new();
        let first_of_kind = self.0.iter().filter(|room| kinds.insert(room.kind));
        let help: String = first_of_kind.map(|room| (room.help)()).collect();
        help.trim_end().to_owned()
    }

    /// `method`, which a record gave, as one of these: a record by itself is of [ours](Self::built_in) only.
    ///
    /// # Errors
    /// When its settings are not those of its kind.
    pub fn recognize(&self, method: &Method) -> Result<Method, TrainError> {
        let (kind, settings) = (method.algorithm.kind_name(), method.algorithm.to_json());
        let mut method = method.clone();
        if let Some(read) = self.read(kind, settings) {
            method.algorithm = read.map_err(|error| TrainError::Setting {
                field: "method_config",
                value: method.label.clone(),
                mend: format!("{error}; is the record of another version of this program?"),
            })?;
        }
        Ok(method)
    }

    /// The algorithm called `name`; `None` where there is none.
    pub(super) fn make(&self, name: &str, number: Option<&str>) -> Option<Result<Algorithm, String>> {
        let room = self.0.iter().rev().find(|room| room.names.contains(&name))?;
        let method = (room.make)(name, number);
        Some(method.map(|method| Algorithm::new(method, room.hands.clone())))
    }

    /// The algorithm whose settings were written down as `settings` of `kind`; `None` where there is no such kind.
    pub(super) fn read(&self, kind: &str, settings: Value) -> Option<Result<Algorithm, serde_json::Error>> {
        let room = self.0.iter().rev().find(|room| room.kind == kind)?;
        let method = (room.read)(settings);
        Some(method.map(|method| Algorithm::new(method, room.hands.clone())))
    }
}
