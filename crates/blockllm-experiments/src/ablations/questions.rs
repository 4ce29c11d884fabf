//! The questions that the ablations ask, a row of methods each.
use super::question::{Question, Rows};
use crate::cli::Stage;
use anyhow::{Result, bail};

/// The questions called `names`, all where there are none, that are asked in `stage`.
///
/// # Errors
/// When there is none of a name, or it is not asked in `stage`.
pub(super) fn find(names: &[String], stage: Stage) -> Result<Vec<&'static Question>> {
    if names.is_empty() {
        let asked = QUESTIONS
            .iter()
            .filter(|question| question.check_asked(stage).is_ok());
        return Ok(asked.collect());
    }
    let find = |name: &String| {
        let Some(question) = QUESTIONS.iter().find(|question| question.name == name) else {
            let known: Vec<_> = QUESTIONS.iter().map(|question| question.name).collect();
            bail!(
                "--ablations: there is no question `{name}`; use some of {}",
                known.join(", ")
            );
        };
        if let Err(because) = question.check_asked(stage) {
            bail!(
                "--ablations: `{name}` is not asked in {}: {because}",
                stage.name()
            );
        }
        Ok(question)
    };
    names.iter().map(find).collect()
}

/// All of them.
pub(super) const QUESTIONS: [Question; 18] = [
    Question {
        name: "sparsity",
        asks: "How much must be trained at a time, with all else standing still, and with all else moving by normalised SGD?",
        rows: Rows::Each {
            pretraining: &[
                "blockllm:0",
                "blockllm:0.5",
                "blockllm:0.8",
                "blockllm:0.9",
                "blockllm:0.95",
                "blockllm:0.99",
                "blockllm-sgd:0.5",
                "blockllm-sgd:0.9",
                "blockllm-sgd:0.95",
                "blockllm-sgd:0.99",
            ],
            fine_tuning: &[
                "blockllm:0",
                "blockllm:0.5",
                "blockllm:0.8",
                "blockllm:0.9",
                "blockllm:0.95",
                "blockllm:0.99",
                "blockllm-sgd:0.5",
                "blockllm-sgd:0.95",
                "blockllm-sgd:0.99",
            ],
        },
    },
    Question {
        name: "patience",
        asks: "How long should a selection stay: for the run's patience, half of it, twice it or four times as long?",
        rows: Rows::Patiences,
    },
    Question {
        name: "visits",
        asks: "Does it help to divide by the visit frequency, and to prefer large norms to small ones?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+smoothing=clamp-one",
            "blockllm-no-visits:{}",
            "suboptimal:{}",
        ]),
    },
    Question {
        name: "mask",
        asks: "Should one threshold hold for the whole selection, each parameter have its own, the threshold be that of a sample, \
               the mask be made anew at each step, or whole blocks be trained without one?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+mask=per-parameter",
            "blockllm:{}+threshold=4096",
            "blockllm:{}+refresh=each-step",
            "blockllm:{}+mask=none",
        ]),
    },
    Question {
        name: "score",
        asks: "By what should a mask choose entries, and should it take or leave all weights of an input or an output as one?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+score=smallest-weights",
            "blockllm:{}+score=principal-weights:16",
            "blockllm:{}+unit=input",
            "blockllm:{}+unit=output",
        ]),
    },
    // A mask leaves much out where blocks are large.
    Question {
        name: "recovery",
        asks: "Should masked-out entries follow the trained ones of their column?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+recovery=1.01",
            "blockllm:{}+partition=decoder-layer",
            "blockllm:{}+partition=decoder-layer+recovery=1.01",
        ]),
    },
    // A Llama has a tensor in each module, so that its modules are the blocks that its tensors are; an encoder's have biases too.
    Question {
        name: "drawing",
        asks: "Should blocks be drawn by the latest norms, by their average (MISA, which draws modules), or by chance, with steps the \
               longer the rarer a block is?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "importance:{}",
            "misa:{}",
            "misa:{}+partition=module",
            "misa:{}+policy=eta:5000",
            "random:{}+policy=blocks:4",
            "random:{}+policy=blocks:4+policy=unbiased:true",
        ]),
    },
    Question {
        name: "moments",
        asks: "Should moments begin afresh with a selection, and be kept in 8 bits?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+moments=carried-over",
            "blockllm:{}+state=int8",
        ]),
    },
    Question {
        name: "norm",
        asks: "Which norm should rank blocks?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+norm=grad",
            "blockllm:{}+norm=processed",
        ]),
    },
    Question {
        name: "probes",
        asks: "How many unselected blocks should be measured at each step?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+probes=0",
            "blockllm:{}+probes=8",
            "blockllm:{}+measured=passed",
        ]),
    },
    Question {
        name: "partition",
        asks: "What should a block be?",
        rows: Rows::Both(&[
            "blockllm:{}",
            "blockllm:{}+partition=module",
            "blockllm:{}+partition=decoder-layer",
        ]),
    },
    Question {
        name: "inactive",
        asks: "What should unselected blocks do, and the entries that a mask leaves out? (Of the head's momentum in pretraining only: \
               in fine-tuning a fresh head is trained at every step, and never moved by the rule for the rest.)",
        rows: Rows::Each {
            pretraining: &[
                "blockllm:0.95@1e-3",
                "blockllm:0.95+inactive=0.1@1e-3",
                "blockllm:0.95+inactive=1+direction=normalised@1e-3",
                "blockllm:0.95+inactive=1+direction=normalised+reach=above@1e-3",
                "blockllm:0.95+inactive=1+direction=normalised+masked-out=move@1e-3",
                "blockllm:0.95+inactive=1+direction=normalised+masked-out=move+momentum=lm_head@1e-3",
                "blockllm:0.95+inactive=1+direction=whitened+masked-out=move+momentum=lm_head@1e-3",
                "blockllm-sgd:0.95@1e-3",
                "blockllm-whitened:0.95@1e-3",
                "scale@1e-3",
                "scale+embedding-rate=30@1e-3",
                "scale+direction=whitened+embedding-rate=100+matrix-rate=4@1e-3",
            ],
            // Rows that train all entries have full fine-tuning's rate, a sixth or a fifth of the sparse ones': at a tenth of these
            // the rest moves about as far.
            fine_tuning: &[
                "blockllm:0.95",
                "blockllm:0.95+inactive=0.1",
                "blockllm:0.95+inactive=0.1+direction=normalised",
                "blockllm:0.95+inactive=0.1+direction=normalised+reach=above",
                "blockllm:0.95+inactive=1+direction=normalised+masked-out=move",
                "blockllm:0.95+inactive=1+direction=whitened+masked-out=move",
                "scale",
            ],
        },
    },
    Question {
        name: "ramp",
        asks: "Should the updates of fresh state grow to their full length?",
        rows: Rows::Each {
            pretraining: &[
                "blockllm-sgd:0.95@1e-3",
                "blockllm-sgd:0.95+ramp=5@1e-3",
                "blockllm-sgd:0.95+ramp=20@1e-3",
            ],
            fine_tuning: &["blockllm:0.95", "blockllm:0.95+ramp=5", "blockllm:0.95+ramp=20"],
        },
    },
    Question {
        name: "multipliers",
        asks: "Should embeddings, head, vectors and other matrices have learning rates of their own, under full training and under \
               BlockLLM?",
        rows: Rows::Each {
            pretraining: &[
                "adamw@1e-3",
                "adamw+embedding-rate=10@1e-3",
                "adamw+embedding-rate=30@1e-3",
                "adamw+embedding-rate=30+head-rate=3@1e-3",
                "blockllm:0.9@1e-3",
                "blockllm:0.9+embedding-rate=30@1e-3",
                "blockllm-sgd:0.95+embedding-rate=1@1e-3",
                "blockllm-sgd:0.95+embedding-rate=10@1e-3",
                "blockllm-sgd:0.95@1e-3",
                "blockllm-sgd:0.95+head-rate=3@1e-3",
                "blockllm-sgd:0.95+vector-rate=3@1e-3",
                "blockllm-sgd:0.95+matrix-rate=0.3@1e-3",
                "blockllm-whitened:0.95@1e-3",
                "blockllm-whitened:0.95+matrix-rate=1@1e-3",
            ],
            fine_tuning: &[
                "adamw",
                "adamw+embedding-rate=0.1",
                "adamw+embedding-rate=10",
                "adamw+head-rate=10",
                "blockllm:0.95",
                "blockllm:0.95+embedding-rate=0.1",
                "blockllm:0.95+embedding-rate=10",
                "blockllm:0.95+head-rate=10",
                "blockllm:0.95+vector-rate=3",
                "blockllm:0.95+matrix-rate=0.3",
                "blockllm-sgd:0.95",
                "blockllm-sgd:0.95+embedding-rate=30",
            ],
        },
    },
    // A table of its own: a plot can bear no more lines.
    Question {
        name: "rival-multipliers",
        asks: "Do the rivals gain as much by a learning rate of its own for embeddings?",
        rows: Rows::PretrainingOnly {
            methods: &[
                "galore:64",
                "galore:64+embedding-rate=10@1e-2",
                "apollo-mini",
                "apollo-mini+embedding-rate=10@1e-2",
                "scale@1e-3",
                "scale+embedding-rate=30@1e-3",
                "lora:8",
                "lora:8+embedding-rate=10",
                "badam:1",
                "badam:1+embedding-rate=10",
                "lisa:2",
                "lisa:2+embedding-rate=10",
            ],
            because: "a checkpoint's embeddings have learnt already; what other rates do to them and to the head is asked there by \
                      `multipliers`, and compared under a rival by `glue --methods lora:8,lora:8+head-rate=10`",
        },
    },
    Question {
        name: "rule",
        asks: "By which rule should selected entries be trained?",
        rows: Rows::PretrainingOnly {
            methods: &[
                "blockllm:0.9",
                "blockllm:0.9+rule=lion@1e-3",
                "blockllm:0.9+rule=sgd@1e-1",
            ],
            because: "the learning rates that `glue` gives are Adam's, and none is known of Lion and SGD that would do for every \
                      checkpoint; compare them at rates of your own, as in `glue --methods \
                      blockllm:0.95,blockllm:0.95+rule=lion@1e-4`",
        },
    },
    Question {
        name: "policies",
        asks: "Which policy should select, at one budget (all: without one)?",
        rows: Rows::Policies,
    },
    Question {
        name: "rivals",
        asks: "Where do the rivals stand?",
        rows: Rows::Each {
            pretraining: &[
                "adamw@1e-3",
                "blockllm:0.95",
                "blockllm-sgd:0.95@1e-3",
                "blockllm-whitened:0.95@1e-3",
                "scale@1e-3",
                "apollo-mini",
                "galore:64",
                "lora:8",
                "badam:1",
                "lisa:2",
            ],
            fine_tuning: &[
                "adamw",
                "blockllm:0.95",
                "blockllm-sgd:0.95",
                "blockllm-whitened:0.95",
                "scale",
                "apollo-mini",
                "galore:8",
                "lora:8",
                "badam:1",
                "lisa:2",
            ],
        },
    },
];
