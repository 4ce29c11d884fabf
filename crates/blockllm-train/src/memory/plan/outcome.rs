//! What a run on paper has shown: the plan.
use super::memory_plan::{MemoryPlan, MomentPlan};
use super::parts::PlanParts;
use super::simulation::Run;

impl Run<'_> {
    /// The plan, when the run is over.
    pub(super) fn plan(&self, after_loss: PlanParts, rest: PlanParts) -> MemoryPlan {
        let moments: Vec<_> = self.tape.ledger.peaks().iter().collect();
        let (moment, peak) = moments
            .iter()
            .max_by_key(|(_, peak)| peak.total)
            .expect("a run has moments");
        let entries = |params: &[usize]| -> u64 {
            let entries = params.iter().map(|param| self.scheme.parameters[*param].entries);
            entries.sum()
        };
        MemoryPlan {
            parameters: self
                .scheme
                .parameters
                .iter()
                .map(|parameter| parameter.entries)
                .sum(),
            trained_entries: self.scheme.kept.values().sum::<u64>() + entries(&self.scheme.always),
            gradient_entries: self.scheme.selected_entries()
                + entries(&self.scheme.always)
                + entries(&self.scheme.probed),
            moment: **moment,
            peak: peak.parts,
            most: self.tape.ledger.most(),
            moments: moments
                .iter()
                .map(|(moment, peak)| MomentPlan {
                    moment: **moment,
                    parts: peak.parts,
                })
                .collect(),
            sampled: self.tape.ledger.sampled(),
            after_loss,
            rest,
        }
    }
}
