//! A chat template: the Jinja source that turns a conversation into the text that a model was taught.
//!
//! It is rendered as transformers does: `trim_blocks` and `lstrip_blocks`, loop controls, Python's methods of strings and
//! maps, `raise_exception`, `strftime_now`, `tojson`, and the tag `generation` around what the assistant says.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, State, context};
use serde_json::Value;

use super::example::Message;
use super::fixed_date::FixedDate;
use super::generation_tag::with_filters;
use super::python_forms::{print, tojson};
use super::special_names::SpecialNames;
use crate::DataError;
use crate::bounded_file::bounded;
use crate::settings_file::{MAX_SETTINGS_BYTES, settings, without_mark};

const NAME: &str = "chat";
/// Instructions of one rendering: published templates need some hundred for a turn. Bounds what a hostile one costs.
const MAX_FUEL: u64 = 5_000_000;

/// A compiled template. Cloning is cheap.
#[derive(Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    label: String,
    source: String,
    has_generation: bool,
}

/// A conversation as a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The text.
    pub text: String,
    /// What the tag `generation` stood around, as ranges of bytes; `None` where the template has none.
    pub generated: Option<Vec<Range<usize>>>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ChatTemplate")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Compiles `source`; `label` names it in errors. `date` is what `strftime_now` tells.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] when it is no template.
    pub fn new(label: &str, source: &str, date: FixedDate) -> Result<Self, DataError> {
        let refused = |error: &Error| DataError::ChatTemplate {
            template: label.to_owned(),
            found: words(error),
        };
        let (rewritten, has_generation) = with_filters(source);
        let mut environment = environment(date).map_err(|error| refused(&error))?;
        environment
            .add_template_owned(NAME, rewritten)
            .map_err(|error| refused(&error))?;
        Ok(Self {
            environment: Arc::new(environment),
            label: label.to_owned(),
            source: source.to_owned(),
            has_generation,
        })
    }

    /// The template in `chat_template.jinja` beside a `tokenizer.json`, else in its `tokenizer_config.json` (of several the
    /// one named `default`); `None` where neither has one.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::FileTooLarge`] when a file cannot be read, [`DataError::Settings`] when it is no JSON,
    /// [`DataError::ChatTemplate`] when it has no template that compiles.
    pub fn beside(tokenizer: &Path, date: FixedDate) -> Result<Option<Self>, DataError> {
        let folder = tokenizer.parent().unwrap_or(Path::new(""));
        let file = folder.join("chat_template.jinja");
        if file.is_file() {
            let bytes = bounded(&file, MAX_SETTINGS_BYTES)?;
            let label = file.display().to_string();
            let source =
                String::from_utf8(without_mark(&bytes).to_vec()).map_err(|_| DataError::ChatTemplate {
                    template: label.clone(),
                    found: "it is no UTF-8".to_owned(),
                })?;
            return Self::new(&label, &source, date).map(Some);
        }
        let file = folder.join("tokenizer_config.json");
        let label = file.display().to_string();
        let declared = settings(&file)?;
        let declared = declared.and_then(|mut settings| Some(settings.get_mut("chat_template")?.take()));
        match declared {
            None | Some(Value::Null) => Ok(None),
            Some(declared) => match default_of(&declared) {
                Some(source) => Self::new(&label, source, date).map(Some),
                None => Err(DataError::ChatTemplate {
                    template: label,
                    found: "`chat_template` is neither a string nor a list with one named `default`"
                        .to_owned(),
                }),
            },
        }
    }

    /// The plain form of Alpaca, `### Instruction:` and `### Response:`, for tokenizers that have no template.
    pub fn alpaca() -> Self {
        Self::new("alpaca (built in)", ALPACA, FixedDate::default()).expect("it is compiled in a test")
    }

    /// Where it is from.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The Jinja source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation, equal to that of transformers' `apply_chat_template(tokenize=False)`, but for objects in other
    /// fields of a message: their keys come in alphabetical order.
    ///
    /// # Errors
    /// What the template says against the conversation.
    pub fn render(
        &self,
        messages: &[Message],
        names: &SpecialNames,
        add_generation_prompt: bool,
    ) -> Result<Rendering, String> {
        let mark = unused_mark(messages);
        let values = context! {
            messages => Serde(messages),
            add_generation_prompt,
            tools => (),
            documents => (),
            generation_mark__ => mark.as_str(),
            ..minijinja::Value::from(Serde(names)),
        };
        let template = self
            .environment
            .get_template(NAME)
            .expect("it was added in `new`");
        let rendered = template.render(values).map_err(|error| words(&error))?;
        if !self.has_generation {
            return Ok(Rendering {
                text: rendered,
                generated: None,
            });
        }
        let (text, generated) =
            without_marks(&rendered, &mark).ok_or("the tag `generation` stands in itself")?;
        Ok(Rendering {
            text,
            generated: Some(generated),
        })
    }
}

const ALPACA: &str = "{% for message in messages %}\
    {% if message.role == 'assistant' %}{{ '### Response:\n' + message.content }}{{ eos_token }}{{ '\n\n' }}\
    {% elif message.role == 'system' %}{{ message.content + '\n\n' }}\
    {% else %}{{ '### Instruction:\n' + message.content + '\n\n' }}{% endif %}\
    {% endfor %}{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}";

fn environment(date: FixedDate) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build()?);
    environment.set_fuel(Some(MAX_FUEL));
    environment.set_formatter(print);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", tojson);
    environment.add_filter("generation_mark__", |state: &State, body: String| {
        let mark = state.lookup("generation_mark__").unwrap_or_default();
        format!("{mark}{body}{mark}")
    });
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |form: String| {
        date.format(&form)
            .map_err(|found| Error::new(ErrorKind::InvalidOperation, found))
    });
    Ok(environment)
}

fn default_of(declared: &Value) -> Option<&str> {
    match declared {
        Value::String(source) => Some(source),
        Value::Array(all) => {
            let default = all.iter().find(|one| one["name"] == "default");
            default.and_then(|one| one["template"].as_str())
        }
        _ => None,
    }
}

/// What an error of the library says, with its line.
fn words(error: &Error) -> String {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error
        .line()
        .map_or_else(String::new, |line| format!(" (line {line} of the template)"));
    let detail: String = detail.chars().take(300).collect();
    format!("{detail}{line}")
}

/// A text that no message holds.
pub(super) fn unused_mark(messages: &[Message]) -> String {
    let is_used = |mark: &str| {
        let holds = |message: &Message| {
            let others = serde_json::to_string(&message.others).expect("the keys are strings");
            message.content.contains(mark) || message.role.contains(mark) || others.contains(mark)
        };
        messages.iter().any(holds)
    };
    // Not a character, so no text should have it; where one does, a longer mark is taken.
    let mut mark = "\u{fdd0}".to_owned();
    while is_used(&mark) {
        mark.push('\u{fdd1}');
        mark.push('\u{fdd0}');
    }
    mark
}

/// The text without its marks, and what stood between each two.
pub(super) fn without_marks(text: &str, mark: &str) -> Option<(String, Vec<Range<usize>>)> {
    let mut plain = String::with_capacity(text.len());
    let mut places = Vec::new();
    for (number, part) in text.split(mark).enumerate() {
        if number > 0 {
            places.push(plain.len());
        }
        plain.push_str(part);
    }
    let is_paired = places.len().is_multiple_of(2);
    let ranges = places.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
    is_paired.then_some((plain, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<Rendering, String> {
        let template = ChatTemplate::new("test", source, FixedDate::default()).unwrap();
        let messages = [
            Message::new("user", "<a> & \"é\""),
            Message::new("assistant", " b "),
        ];
        template.render(&messages, &SpecialNames::default(), false)
    }

    #[test]
    fn functions_and_filters_of_transformers_are_there() {
        for (source, expected) in [
            ("{{ messages[0].content | tojson }}", "\"<a> & \\\"é\\\"\""),
            (
                "{{ {'b': [1, none], 'a': 'x'} | tojson }}",
                "{\"b\": [1, null], \"a\": \"x\"}",
            ),
            ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
            (
                "{{ messages[1]['content'].strip() }}|{{ none }}|{{ true }}",
                "b|None|True",
            ),
            (
                "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
                "assistant",
            ),
            ("  {% if true %}\nx\n  {% endif %}\n", "x\n"),
        ] {
            assert_eq!(render(source).unwrap().text, expected, "{source}");
        }
        assert!(
            render("{{ raise_exception('only once') }}")
                .unwrap_err()
                .contains("only once")
        );
    }

    #[test]
    fn what_the_generation_tag_holds_is_known_and_its_signs_cut_spaces() {
        let found = render("{% for m in messages %}\n{%- generation -%}\n {{ m.content }}!\n{%- endgeneration %}{% endfor %}").unwrap();
        assert_eq!(found.text, "<a> & \"é\"! b !");
        let generated = found.generated.unwrap();
        let parts: Vec<&str> = generated.iter().map(|range| &found.text[range.clone()]).collect();
        assert_eq!(parts, ["<a> & \"é\"!", " b !"]);
    }

    #[test]
    fn a_template_that_would_not_end_is_stopped_and_a_wrong_one_is_refused() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{{ a }}{% endfor %}{% endfor %}{% endfor %}";
        assert!(render(endless).is_err());
        assert!(ChatTemplate::new("test", "{% for %}", FixedDate::default()).is_err());
        assert_eq!(ChatTemplate::alpaca().label(), "alpaca (built in)");
    }

    #[test]
    fn a_text_that_holds_the_mark_is_no_mark() {
        let messages = [Message::new("user", "\u{fdd0}\u{fdd0}\u{fdd1}\u{fdd0}")];
        assert!(!messages[0].content.contains(&unused_mark(&messages)));
    }
}
