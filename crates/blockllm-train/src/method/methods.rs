//! The methods that a program knows: ours, and those of its own.
use super::Method;
use super::algorithm::Algorithm;
use super::hands::Hands;
use super::named_method::NamedMethod;
use super::room::{self, Room};
use crate::TrainError;
use burn::module::Module;
use std::collections::BTreeSet;
use std::sync::Arc;

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

impl Default for Methods {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Methods {
    /// Ours.
    pub fn built_in() -> Self {
        Self(room::built_in())
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

    /// A method of each of the [`names`](Self::names), in their order, for models that are tiny: what tests and the check of GPUs
    /// go through, so that a new method is in all of them by its own file.
    pub fn examples(&self) -> Vec<String> {
        let of_room = |room: &Room| -> Vec<String> {
            let names = room.names.iter();
            names.map(|name| (room.example)(name)).collect()
        };
        self.0.iter().flat_map(of_room).collect()
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
        if let Some(room) = room::of_kind(&self.0, kind) {
            method.algorithm = Algorithm::read(room, settings).map_err(|error| TrainError::Setting {
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
}
