//! The page of the ablations: a chapter for pretraining, and one for each task of fine-tuning.
use super::chapter::Chapter;
use super::measures::Measure;
use super::plan::{Ablations, Trained};
use crate::Cli;
use crate::experiment::{PartRun, Runs};
use crate::outcome::CompleteRun;
use crate::report::{Page, Section};
use crate::summary::diverged_section;
use anyhow::Result;

const INTRODUCTION: &str = "Each table changes one thing; the first row is what the others differ from. All runs of a seed start \
                            from the same weights and see the same batches. With several seeds figures are mean ± standard \
                            deviation over them, and curves the mean in a band from the least to the most. ↑: the higher the \
                            better; ↓: the lower the better. Validation figures are those of the last step; the training loss is the \
                            mean over the last tenth of the steps. A row without a learning rate in its name has its method's \
                            default, which was tuned for that method and not for the row; in quick pretrainings what chooses blocks \
                            has 1e-3 at most.";

pub(super) fn build(
    ablations: &Ablations,
    cli: &Cli,
    Runs { complete, diverged }: &Runs<Trained>,
) -> Result<Page> {
    let page = Page {
        title: "Ablations".into(),
        sections: vec![Section::Text(INTRODUCTION.into())],
    };
    let page = page.with_all(diverged_section(diverged));
    chapters(ablations, cli, complete)
        .iter()
        .try_fold(page, |page, chapter| chapter.add_to(page))
}

fn chapters<'a>(ablations: &'a Ablations, cli: &Cli, complete: &'a [PartRun<Trained>]) -> Vec<Chapter<'a>> {
    let runs = |part: Trained| -> Vec<&CompleteRun> {
        let of_part = complete.iter().filter(|run| run.part == part);
        of_part.map(|run| &run.run).collect()
    };
    let mut chapters = Vec::new();
    if let Some(asked) = &ablations.pretraining {
        let rows = asked.plan.table(cli);
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        chapters.push(Chapter {
            name: "Pretraining".into(),
            set_up: format!("{}.", rows.join("; ")),
            file_prefix: String::new(),
            mark: "",
            loss_label: "loss (nats per token)",
            questions: &asked.questions,
            measures: Measure::OF_PRETRAINING.to_vec(),
            runs: runs(Trained::Pretraining),
        });
    }
    if let Some(asked) = &ablations.fine_tuning {
        let plan = &asked.plan;
        chapters.extend(plan.tasks.iter().map(|of_task| {
            let task = of_task.data.task;
            Chapter {
                name: format!("Fine-tuning on {}", task.name()),
                set_up: format!(
                    "{}. Patience {} where a method names none; a fresh head is trained at every step. Metrics are x 100, over {}.",
                    plan.describe(),
                    plan.settings.patience,
                    plan.judged(),
                ),
                file_prefix: format!("{}-", task.name()),
                mark: plan.mark(),
                loss_label: "loss",
                questions: &asked.questions,
                measures: Measure::of_task(task),
                runs: runs(Trained::FineTuning(task)),
            }
        }));
    }
    chapters
}
