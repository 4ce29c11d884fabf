//! Instruction data as a source of batches: a checkpoint goes on with the batch after its last.
use crate::memory::CountingAllocator;
use crate::{BatchSource, TrainError};
use blockllm_data::LmBatch;
use blockllm_data::instruct::{InstructBatches, InstructCursor};

impl BatchSource<LmBatch> for InstructBatches {
    fn next_batch(&mut self) -> Result<LmBatch, TrainError> {
        // Rows are the data's account; the copy is the model's, which frees it.
        CountingAllocator::apart(|| {
            let batch = InstructBatches::next_batch(self);
            Ok(CountingAllocator::beside(|| batch.clone()))
        })
    }

    fn cursor(&self) -> serde_json::Value {
        serde_json::to_value(InstructBatches::cursor(self)).expect("a cursor has only string keys")
    }

    fn resume(&mut self, cursor: &serde_json::Value) -> Result<(), TrainError> {
        let cursor: InstructCursor =
            serde_json::from_value(cursor.clone()).map_err(|error| TrainError::Setting {
                field: "cursor",
                value: cursor.to_string(),
                mend: format!("{error}; start the run afresh"),
            })?;
        *self = CountingAllocator::apart(|| self.resumed(cursor))?;
        Ok(())
    }
}
