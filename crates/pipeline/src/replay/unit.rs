//! How much is decided about at a time, and how much is one commit.

use arrow::array::RecordBatch;

/// How many rows, and how many bytes of them in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Size {
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch.get_array_memory_size() as u64;
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_add(other.rows), bytes: self.bytes.saturating_add(other.bytes) }
    }

    pub(super) fn half(self) -> Self {
        Self { rows: (self.rows / 2).max(1), bytes: (self.bytes / 2).max(1) }
    }

    pub(super) fn times(self, factor: u64) -> Self {
        Self { rows: self.rows.saturating_mul(factor), bytes: self.bytes.saturating_mul(factor) }
    }

    /// Whether it is as much as that, in one of the two.
    pub(super) fn reaches(self, max: Self) -> bool {
        self.rows >= max.rows || self.bytes >= max.bytes
    }
}

/// Rows of Bronze that are decided about together.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) batches: Vec<RecordBatch>,
    /// How far the order of rows is read with them.
    pub(super) through: i64,
}

/// Gathers batches until they are as much as they may be.
#[derive(Debug)]
pub(super) struct Gathering {
    max: Size,
    size: Size,
    batches: Vec<RecordBatch>,
    through: i64,
}

impl Gathering {
    pub(super) fn new(max: Size) -> Self {
        Self { max, size: Size::default(), batches: Vec::new(), through: -1 }
    }

    /// Takes in a batch that ends there.
    pub(super) fn push(&mut self, batch: RecordBatch, through: i64) {
        self.size.add(&batch);
        self.batches.push(batch);
        self.through = through;
    }

    pub(super) fn is_full(&self) -> bool {
        self.size.reaches(self.max)
    }

    /// What there is; `None` where that is nothing.
    pub(super) fn take(&mut self) -> Option<Unit> {
        self.size = Size::default();
        let batches = std::mem::take(&mut self.batches);
        (!batches.is_empty()).then_some(Unit { batches, through: self.through })
    }
}
