//! Which guides are in memory: those used last, within a bound.

use std::collections::HashMap;
use std::sync::Arc;

use crate::segment::Guide;
use crate::{Error, metrics};

/// A segment: its run and its place there.
type Name = (u64, usize);

#[derive(Debug)]
struct Held {
    guide: Arc<Guide>,
    used: u64,
}

/// Guides of segments. What is being used may go beyond the bound, by one guide.
#[derive(Debug)]
pub(crate) struct Cache {
    bytes_max: usize,
    bytes: usize,
    /// Grows with every use.
    now: u64,
    held: HashMap<Name, Held>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, now: 0, held: HashMap::new() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The guide to a segment, loaded if it is not here.
    pub(crate) fn guide(&mut self, name: Name, load: impl FnOnce() -> Result<Guide, Error>) -> Result<Arc<Guide>, Error> {
        self.now += 1;
        if let Some(held) = self.held.get_mut(&name) {
            held.used = self.now;
            return Ok(Arc::clone(&held.guide));
        }
        let guide = Arc::new(load()?);
        metrics::loaded_filter();
        self.bytes += guide.bytes();
        self.held.insert(name, Held { guide: Arc::clone(&guide), used: self.now });
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.held.iter().min_by_key(|(_, held)| held.used).map(|(name, _)| *name) else { break };
            self.remove(oldest);
        }
        Ok(guide)
    }

    /// Lets go of a run that is no longer part of the index.
    pub(crate) fn forget(&mut self, run: u64) {
        let names: Vec<Name> = self.held.keys().filter(|(of, _)| *of == run).copied().collect();
        for name in names {
            self.remove(name);
        }
    }

    fn remove(&mut self, name: Name) {
        if let Some(held) = self.held.remove(&name) {
            self.bytes -= held.guide.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let guide = || Guide::build(&[], &mut (0..100).collect());
        let mut cache = Cache::new(guide().bytes() * 2);
        let mut loads = Vec::new();
        for segment in [1, 2, 1, 3, 1, 2, 2] {
            cache
                .guide((9, segment), || {
                    loads.push(segment);
                    Ok(guide())
                })
                .unwrap();
        }
        assert_eq!(loads, [1, 2, 3, 2]);
        assert_eq!(cache.bytes(), guide().bytes() * 2);
        cache.forget(8);
        assert_eq!(cache.bytes(), guide().bytes() * 2);
        cache.forget(9);
        assert_eq!(cache.bytes(), 0);
    }
}
