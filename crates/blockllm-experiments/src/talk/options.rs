//! What `generate` and `chat` have in common: how a conversation is written, and how tokens are chosen.
use crate::chat_template;
use crate::model_options::ModelOptions;
use anyhow::{Result, bail};
use blockllm_data::instruct::{ChatTemplate, InstructEncoder, Message};
use blockllm_model::ModelError;
use blockllm_model::hf::GenerationSettings;
use blockllm_model::llama::{GenerateConfig, LlamaForCausalLM};
use blockllm_train::PretrainedLm;
use blockllm_train::tell_line;
use clap::Args;

/// How a conversation is written.
#[derive(Args, Clone, Debug)]
pub struct ConversationOptions {
    /// A Jinja file, or `alpaca`, instead of the tokenizer's chat template
    #[arg(long, value_name = "FILE|alpaca")]
    pub chat_template: Option<String>,
    /// What the system prompt of a conversation says
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
}

/// How tokens are chosen; what is left out is as the model's `generation_config.json` says, else the likeliest token every time.
#[derive(Args, Clone, Debug, Default)]
pub struct SamplingOptions {
    /// Always the likeliest token
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    pub greedy: bool,
    /// How random: 0 always takes the likeliest token, 1 draws as the model says
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draw from so many likeliest tokens only; 0 draws from all
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Draw from the fewest tokens that hold this share of the probability
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Leave out tokens that are less likely than this share of the likeliest one's probability
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub min_p: Option<f64>,
    /// Make tokens that have come before less likely: above 1
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub repetition_penalty: Option<f64>,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Tokens of an answer, at most [default: as the model's `generation_config.json` says, else 128, in a chat 512; an answer
    /// then ends where the model's positions do, if that comes first]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_new_tokens: Option<u64>,
}

/// A model that is ready to talk.
pub struct Talker {
    /// What is known of it; its weights are read by [`load`](Self::load).
    pub pretrained: PretrainedLm,
    /// Renders and tokenizes; answers end at its [`ends`](InstructEncoder::ends).
    pub encoder: InstructEncoder,
    /// The system prompt, if there is one.
    pub system: Option<Message>,
    /// Whether model or command line say how a conversation is written.
    has_template: bool,
}

impl Talker {
    /// Finds the model; no weights are read.
    ///
    /// # Errors
    /// When it, its tokenizer or the template is not there or broken.
    pub fn find(model: &ModelOptions, conversation: &ConversationOptions) -> Result<Self> {
        let mut pretrained = model.find()?;
        if let Some(name) = &conversation.chat_template {
            pretrained = pretrained.with_template(chat_template::named(name)?);
        }
        let template = pretrained.template().cloned();
        let has_template = template.is_some();
        let template = template.unwrap_or_else(ChatTemplate::alpaca);
        let encoder = InstructEncoder::new(pretrained.tokenizer().clone(), template)?;
        let system = conversation.system.as_ref();
        Ok(Self {
            encoder,
            system: system.map(|text| Message::new("system", text)),
            pretrained,
            has_template,
        })
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// When the device is missing, or weights are broken.
    pub fn load(&self, model: &ModelOptions) -> Result<LlamaForCausalLM> {
        Ok(model.load(&self.pretrained)?.0)
    }

    /// Tokens that the model can see: a prompt and what it has answered.
    pub fn positions(&self) -> usize {
        self.pretrained.config().num_positions()
    }

    /// Tells how conversations are written where nobody has said it; and tries the template, and the system prompt in it, on a
    /// turn: what it refuses is told before any weights are read.
    ///
    /// # Errors
    /// When the template refuses a conversation, or the system prompt in it, or makes nothing of it.
    pub fn check_conversation(&self) -> Result<()> {
        const SAID: &str = "Hello";
        if !self.has_template {
            tell_line!(
                "note: the tokenizer has no chat template: conversations are written in Alpaca's plain form; --chat-template \
                 names another"
            );
        }
        let ids = match self.encoder.prompt(&self.conversation(SAID)) {
            Ok(ids) => ids,
            Err(error) => {
                let without = self.encoder.prompt(&[Message::new("user", SAID)]);
                let is_system = self.system.is_some() && without.is_ok();
                let error = anyhow::Error::from(error);
                return Err(if is_system {
                    error.context("the chat template takes no system prompt: leave out --system")
                } else {
                    error
                });
            }
        };
        if ids.is_empty() {
            bail!(
                "{}: this chat template makes nothing of a conversation; mend it, or name another by --chat-template",
                self.encoder.template().label()
            );
        }
        Ok(())
    }

    /// A conversation that begins with `said` by the user.
    pub fn conversation(&self, said: &str) -> Vec<Message> {
        let said = Message::new("user", said);
        self.system.iter().cloned().chain([said]).collect()
    }
}

impl SamplingOptions {
    /// How tokens are chosen: as said here, else as the model's settings of generation say; `max_new_tokens` where neither does.
    /// What those say and is not followed is told.
    ///
    /// # Errors
    /// When a value is senseless, naming it.
    pub fn config(&self, talker: &Talker, max_new_tokens: usize) -> Result<GenerateConfig> {
        let of_model = talker.pretrained.generation()?;
        if !of_model.unfollowed.is_empty() {
            let keys = of_model.unfollowed.join(", ");
            tell_line!("note: the model's generation_config.json has settings that are not followed: {keys}");
        }
        let draws = !self.greedy && (self.draws() || of_model.do_sample.unwrap_or(false));
        let said = GenerationSettings {
            do_sample: Some(draws),
            temperature: self.temperature.or(of_model.temperature),
            // As in transformers, 0 is no cut.
            top_k: self.top_k.or(of_model.top_k).filter(|top_k| draws && *top_k > 0),
            top_p: self.top_p.or(of_model.top_p).filter(|_| draws),
            min_p: self.min_p.or(of_model.min_p).filter(|_| draws),
            repetition_penalty: self.repetition_penalty.or(of_model.repetition_penalty),
            max_new_tokens: self
                .max_new_tokens
                .map(|count| count as usize)
                .or(of_model.max_new_tokens),
            eos_token_id: [of_model.eos_token_id.clone(), talker.encoder.ends()].concat(),
            ..of_model
        };
        let config = said.generate_config(max_new_tokens, self.seed);
        config.validate().map_err(|error| self.named(error))?;
        Ok(config)
    }

    /// `error` of a field, by the option's name where the command line gave its value.
    fn named(&self, mut error: ModelError) -> ModelError {
        let given = [
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("min_p", self.min_p.is_some()),
            ("repetition_penalty", self.repetition_penalty.is_some()),
        ];
        if let ModelError::Config { origin, field, .. } = &mut error
            && given.contains(&(field.as_str(), true))
        {
            *origin = format!("--{}", field.replace('_', "-"));
        }
        error
    }

    /// Whether an option asks for draws.
    fn draws(&self) -> bool {
        self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some() || self.min_p.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sampling: SamplingOptions,
    }

    /// What is told of a value that no draw can have.
    fn told(words: &[&str], refused: &GenerateConfig) -> String {
        let line = Line::try_parse_from([&["generate"], words].concat()).unwrap();
        line.sampling.named(refused.validate().unwrap_err()).to_string()
    }

    #[test]
    fn a_value_of_the_command_line_is_told_by_its_option_and_one_of_the_model_by_its_field() {
        let refused = GenerateConfig {
            top_p: f64::NAN,
            ..GenerateConfig::sampling(1, 1.0, 0)
        };
        let given = told(&["--top-p", "nan"], &refused);
        assert!(given.starts_with("--top-p: `top_p` is NaN, expected"), "{given}");
        let of_model = told(&["--temperature", "-1"], &refused);
        assert!(of_model.starts_with("GenerateConfig: `top_p`"), "{of_model}");
    }
}
