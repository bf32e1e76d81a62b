//! What the index counts. There are no labels: a process has one index.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::index::Stats;

const PROBED: &str = "tidegate_dedup_probed_total";
const KNOWN: &str = "tidegate_dedup_known_total";
const BLOCKS_READ: &str = "tidegate_dedup_blocks_read_total";
const FILTER_STRANGERS: &str = "tidegate_dedup_filter_strangers_total";
const FILTERS_LOADED: &str = "tidegate_dedup_filters_loaded_total";
const FLUSHED_ENTRIES: &str = "tidegate_dedup_flushed_entries_total";
const MERGED_ENTRIES: &str = "tidegate_dedup_merged_entries_total";
const IDENTITIES: &str = "tidegate_dedup_identities";
const MEMTABLE_ENTRIES: &str = "tidegate_dedup_memtable_entries";
const RUNS: &str = "tidegate_dedup_runs";
const FILTER_BYTES: &str = "tidegate_dedup_filter_bytes";
const FILE_BYTES: &str = "tidegate_dedup_file_bytes";

/// Describes the metrics to the recorder that is installed.
pub fn describe() {
    describe_counter!(PROBED, "Identities that the index was asked for");
    describe_counter!(KNOWN, "Identities that the index was asked for and knew");
    describe_counter!(BLOCKS_READ, "Blocks that were read to decide exactly");
    describe_counter!(FILTER_STRANGERS, "Identities that passed a filter and were not in the block");
    describe_counter!(FILTERS_LOADED, "Filters that were loaded from disk; many, when the bound on filters is too small");
    describe_counter!(FLUSHED_ENTRIES, "Identities written from memory to a run");
    describe_counter!(MERGED_ENTRIES, "Identities written to a run by a merge");
    describe_gauge!(IDENTITIES, "Identities in the index");
    describe_gauge!(MEMTABLE_ENTRIES, "Identities in memory alone");
    describe_gauge!(RUNS, "Runs of the index");
    describe_gauge!(FILTER_BYTES, Unit::Bytes, "Filters and block indexes in memory");
    describe_gauge!(FILE_BYTES, Unit::Bytes, "Length of all runs");
}

pub(crate) fn probed(identities: usize, known: usize) {
    counter!(PROBED).increment(identities as u64);
    counter!(KNOWN).increment(known as u64);
}

pub(crate) fn read(blocks: usize, strangers: usize) {
    if blocks > 0 {
        counter!(BLOCKS_READ).increment(blocks as u64);
        counter!(FILTER_STRANGERS).increment(strangers as u64);
    }
}

pub(crate) fn loaded_filter() {
    counter!(FILTERS_LOADED).increment(1);
}

pub(crate) fn flushed(entries: u64) {
    counter!(FLUSHED_ENTRIES).increment(entries);
}

pub(crate) fn merged(entries: u64) {
    counter!(MERGED_ENTRIES).increment(entries);
}

pub(crate) fn state(stats: &Stats) {
    gauge!(IDENTITIES).set(stats.identities as f64);
    gauge!(MEMTABLE_ENTRIES).set(stats.memtable_entries as f64);
    gauge!(RUNS).set(stats.runs as f64);
    gauge!(FILTER_BYTES).set(stats.filter_bytes as f64);
    gauge!(FILE_BYTES).set(stats.file_bytes as f64);
}
