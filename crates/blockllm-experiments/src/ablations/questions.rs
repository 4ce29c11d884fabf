//! The questions of the ablations: what is asked, and the methods whose comparison answers it.

/// One table and one plot.
#[derive(Debug)]
pub(super) struct Question {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is asked.
    pub asks: &'static str,
    /// The methods, the one that all others differ from first.
    pub methods: &'static [&'static str],
}

/// All of them.
pub(super) const QUESTIONS: [Question; 14] = [
    Question {
        name: "sparsity",
        asks: "How much must be trained at a time, with all else standing still, and with all else moving by normalised SGD?",
        methods: &[
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
    },
    Question {
        name: "patience",
        asks: "How long should a selection stay?",
        methods: &[
            "blockllm:0.9",
            "blockllm:0.9+patience=5",
            "blockllm:0.9+patience=20",
            "blockllm:0.9+patience=50",
        ],
    },
    Question {
        name: "visits",
        asks: "Does it help to divide by the visit frequency, and to prefer large norms to small ones?",
        methods: &["blockllm:0.9", "blockllm-no-visits:0.9", "suboptimal:0.9"],
    },
    Question {
        name: "mask",
        asks: "Should one threshold hold for the whole selection, each parameter have its own, the mask be made anew at each step, \
               or whole blocks be trained without one?",
        methods: &[
            "blockllm:0.9",
            "blockllm:0.9+mask=per-parameter",
            "blockllm:0.9+refresh=each-step",
            "official-compat:0.9",
        ],
    },
    Question {
        name: "moments",
        asks: "Should moments begin afresh with a selection, and be kept in 8 bits?",
        methods: &[
            "blockllm:0.9",
            "blockllm:0.9+moments=carried-over",
            "blockllm:0.9+state=int8",
        ],
    },
    Question {
        name: "norm",
        asks: "Which norm should rank blocks?",
        methods: &[
            "blockllm:0.9",
            "blockllm:0.9+norm=grad",
            "blockllm:0.9+norm=processed",
        ],
    },
    Question {
        name: "probes",
        asks: "How many unselected blocks should be measured at each step?",
        methods: &["blockllm:0.9", "blockllm:0.9+probes=0", "blockllm:0.9+probes=8"],
    },
    Question {
        name: "partition",
        asks: "What should a block be?",
        methods: &[
            "blockllm:0.9",
            "blockllm:0.9+partition=module",
            "blockllm:0.9+partition=decoder-layer",
        ],
    },
    Question {
        name: "inactive",
        asks: "What should unselected blocks do, and the entries that a mask leaves out?",
        methods: &[
            "blockllm:0.95@1e-3",
            "blockllm:0.95+inactive=0.1@1e-3",
            "blockllm:0.95+inactive=1+direction=normalised@1e-3",
            "blockllm:0.95+inactive=1+direction=normalised+masked-out=move@1e-3",
            "blockllm:0.95+inactive=1+direction=normalised+masked-out=move+momentum=lm_head@1e-3",
            "blockllm-sgd:0.95@1e-3",
            "scale@1e-3",
            "scale+embedding-rate=30@1e-3",
        ],
    },
    Question {
        name: "ramp",
        asks: "Should the updates of fresh state grow to their full length?",
        methods: &[
            "blockllm-sgd:0.95@1e-3",
            "blockllm-sgd:0.95+ramp=5@1e-3",
            "blockllm-sgd:0.95+ramp=20@1e-3",
        ],
    },
    Question {
        name: "multipliers",
        asks: "Should embeddings and head have learning rates of their own, under every method?",
        methods: &[
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
        ],
    },
    Question {
        name: "rule",
        asks: "By which rule should selected entries be trained?",
        methods: &[
            "blockllm:0.9",
            "blockllm:0.9+rule=lion@1e-3",
            "blockllm:0.9+rule=sgd@1e-1",
        ],
    },
    Question {
        name: "policies",
        asks: "Which policy should select, at one budget?",
        methods: &[
            "blockllm:0.9",
            "blockllm-no-visits:0.9",
            "suboptimal:0.9",
            "magnitude:0.9",
            "random:0.9",
            "cyclic:0.9",
            "importance:0.9",
            "epsilon-greedy:0.9",
            "official-compat:0.9",
        ],
    },
    Question {
        name: "rivals",
        asks: "Where do the rivals stand?",
        methods: &[
            "adamw@1e-3",
            "blockllm:0.95",
            "blockllm-sgd:0.95@1e-3",
            "scale@1e-3",
            "galore:64",
            "lora:8",
            "badam:1",
            "lisa:2",
        ],
    },
];
