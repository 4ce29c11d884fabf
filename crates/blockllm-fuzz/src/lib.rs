//! Damaged files for tests of parsers: whatever their bytes, they are read or refused, without a panic.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;
use serde_json::{Value, json};

/// So many cases of a property, or as many as `PROPTEST_CASES` asks for: a longer search for what breaks a parser.
pub fn cases(few: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let asked = asked.and_then(|cases| cases.parse().ok());
    Config::with_cases(asked.unwrap_or(few))
}

/// Changes to the bytes of a file: some are overwritten, then it is cut or made longer.
#[derive(Debug, Clone)]
pub struct Damage {
    bytes: Vec<(Index, u8)>,
    cut: Option<Index>,
    behind: Vec<u8>,
}

impl Damage {
    /// Any.
    pub fn any() -> impl Strategy<Value = Self> {
        let bytes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
        let behind = prop::collection::vec(any::<u8>(), 0..20);
        (bytes, prop::option::of(any::<Index>()), behind).prop_map(|(bytes, cut, behind)| Self {
            bytes,
            cut,
            behind,
        })
    }

    /// `whole` with them.
    ///
    /// # Panics
    /// When it is empty.
    pub fn of(&self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for (at, byte) in &self.bytes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Some(cut) = &self.cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(&self.behind);
        bytes
    }
}

/// What a file of JSON may have in place of anything.
pub fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[[{ "content": ["</s>"] }]]])),
        Just(json!({ "content": { "content": 1 } })),
    ]
}

/// Puts `odd` in place of one of the values in `json`, however deep.
pub fn replace_one(json: &mut Value, at: Index, odd: &Value) {
    fn count(json: &Value) -> usize {
        1 + match json {
            Value::Array(values) => values.iter().map(count).sum(),
            Value::Object(values) => values.values().map(count).sum(),
            _ => 0,
        }
    }
    fn replace(json: &mut Value, place: usize, odd: &Value) {
        if place == 0 {
            *json = odd.clone();
            return;
        }
        let mut place = place - 1;
        let values: Vec<&mut Value> = match json {
            Value::Array(values) => values.iter_mut().collect(),
            Value::Object(values) => values.values_mut().collect(),
            _ => return,
        };
        for value in values {
            let size = count(value);
            if place < size {
                return replace(value, place, odd);
            }
            place -= size;
        }
    }
    let place = at.index(count(json));
    replace(json, place, odd);
}

/// `text`, which is JSON, with an odd value in place of one of its values.
///
/// # Panics
/// When it is no JSON.
pub fn with_one_replaced(text: &str, at: Index, odd: &Value) -> String {
    let mut json: Value = serde_json::from_str(text).expect("the fixture is JSON");
    replace_one(&mut json, at, odd);
    json.to_string()
}
