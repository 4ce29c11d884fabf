//! What a program knows of one method: how it is made, read, told and reached.
use super::hands::Hands;
use super::list::{self, RoomVisitor};
use super::named_method::NamedMethod;
use super::setting;
use super::training_method::TrainingMethod;
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// Makes a method of a name and the number behind it.
type Make = fn(&str, Option<&str>) -> Result<Box<dyn TrainingMethod>, String>;
/// Reads a method from its record.
type Read = fn(Value) -> Result<Box<dyn TrainingMethod>, serde_json::Error>;

/// What a program knows of one method.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub kind: &'static str,
    pub names: Vec<&'static str>,
    pub example: fn(&str) -> String,
    pub make: Make,
    pub read: Read,
    pub help: fn() -> String,
    pub hands: Hands,
}

impl Room {
    pub fn of<N: NamedMethod>(hands: Hands) -> Self {
        Self {
            kind: N::Method::kind(),
            names: N::names(),
            example: N::example,
            make: |name, number| Ok(Box::new(N::method(name, number)?)),
            read: |value| Ok(Box::new(serde_json::from_value::<N::Method>(value)?)),
            help: || setting::help(N::Method::settings_of(), &N::Method::settings()),
            hands,
        }
    }
}

/// The rooms of ours.
pub(super) fn built_in() -> Arc<Vec<Room>> {
    static BUILT_IN: LazyLock<Arc<Vec<Room>>> = LazyLock::new(|| {
        struct Rooms(Vec<Room>);
        impl RoomVisitor for Rooms {
            fn room<N: NamedMethod>(&mut self) {
                // Ours have hands for modules of any type.
                self.0.push(Room::of::<N>(Hands::default()));
            }
        }
        let mut rooms = Rooms(Vec::new());
        list::built_in(&mut rooms);
        Arc::new(rooms.0)
    });
    BUILT_IN.clone()
}

/// The one of `rooms` whose methods are of `kind` in records; of several the last.
pub(super) fn of_kind<'a>(rooms: &'a [Room], kind: &str) -> Option<&'a Room> {
    rooms.iter().rev().find(|room| room.kind == kind)
}
