//! What is known of those who have come, by a secret that only their browser has.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

/// Sessions at a time; the one that would end first makes place.
const SESSIONS_MAX: usize = 1_000;
const SECRET_BYTES: usize = 32;

/// 256 random bits, as text.
pub(super) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>())
}

/// Values by secrets, of which only digests are kept, each until its time is over.
#[derive(Debug)]
pub(super) struct Sessions<T>(Mutex<HashMap<blake3::Hash, (T, Instant)>>);

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T> Sessions<T> {
    /// Keeps a value for so long, and tells its secret.
    pub(super) fn add(&self, value: T, lasts: Duration) -> String {
        let (id, now) = (secret(), Instant::now());
        let mut all = self.lock();
        all.retain(|_, (_, until)| *until > now);
        while all.len() >= SESSIONS_MAX {
            let Some(first) = all.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id) else { break };
            all.remove(&first);
        }
        all.insert(blake3::hash(id.as_bytes()), (value, now + lasts));
        id
    }

    pub(super) fn get(&self, id: &str) -> Option<T>
    where
        T: Clone,
    {
        let all = self.lock();
        let (value, until) = all.get(&blake3::hash(id.as_bytes()))?;
        (*until > Instant::now()).then(|| value.clone())
    }

    /// Ends it.
    pub(super) fn remove(&self, id: &str) -> Option<T> {
        let (value, until) = self.lock().remove(&blake3::hash(id.as_bytes()))?;
        (until > Instant::now()).then_some(value)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<blake3::Hash, (T, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends() {
        let sessions = Sessions::default();
        let id = sessions.add("anna", Duration::from_secs(60));
        let over = sessions.add("otto", Duration::ZERO);
        assert_eq!((sessions.get(&id), sessions.get(&over), sessions.get("")), (Some("anna"), None, None));
        assert_eq!((sessions.remove(&id), sessions.get(&id), sessions.remove(&over)), (Some("anna"), None, None));
    }

    #[test]
    fn there_are_only_so_many() {
        let sessions = Sessions::default();
        let first = sessions.add(0, Duration::from_secs(60));
        let last: Vec<String> = (0..SESSIONS_MAX).map(|number| sessions.add(number, Duration::from_secs(120))).collect();
        assert!(sessions.get(&first).is_none() && last.iter().all(|id| sessions.get(id).is_some()));
    }
}
