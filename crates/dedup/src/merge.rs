//! Makes one run of several, a step at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::Error;
use crate::cursor::Cursor;
use crate::key::Key;
use crate::run::Run;
use crate::writer::RunWriter;

/// The next entry of an input. Of equal keys, that of the older input is first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Key,
    input: usize,
    content: u64,
}

/// A merge that is under way. Its inputs stay part of the index until it is finished; dropped, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Merge {
    inputs: Vec<u64>,
    cursors: Vec<Cursor>,
    heads: BinaryHeap<Reverse<Head>>,
    last: Option<Key>,
    writer: RunWriter,
}

impl Merge {
    /// Begins to merge runs, given oldest first.
    pub(crate) fn begin<'a>(runs: impl IntoIterator<Item = &'a Run>, writer: RunWriter) -> Result<Self, Error> {
        let mut merge = Self { inputs: Vec::new(), cursors: Vec::new(), heads: BinaryHeap::new(), last: None, writer };
        for (input, run) in runs.into_iter().enumerate() {
            let mut cursor = Cursor::new(run)?;
            if let Some((key, content)) = cursor.next()? {
                merge.heads.push(Reverse(Head { key, input, content }));
            }
            merge.inputs.push(run.id());
            merge.cursors.push(cursor);
        }
        Ok(merge)
    }

    /// The runs that it replaces.
    pub(crate) fn inputs(&self) -> &[u64] {
        &self.inputs
    }

    /// Takes at most so many entries on. Returns whether all are through.
    pub(crate) fn step(&mut self, entries_max: usize) -> Result<bool, Error> {
        for _ in 0..entries_max {
            let Some(mut head) = self.heads.peek_mut() else { return Ok(true) };
            let Reverse(Head { key, input, content }) = *head;
            // Changing the head in place costs half of taking it off and putting the next one in.
            match self.cursors.get_mut(input).map(Cursor::next).transpose()?.flatten() {
                Some((key, content)) => *head = Reverse(Head { key, input, content }),
                None => drop(PeekMut::pop(head)),
            }
            // The oldest content of an identity stays.
            if self.last != Some(key) {
                self.writer.push(key, content)?;
                self.last = Some(key);
            }
        }
        Ok(self.heads.is_empty())
    }

    /// Makes the new run durable. All entries are through.
    pub(crate) fn finish(self) -> Result<Run, Error> {
        self.writer.finish()
    }
}
