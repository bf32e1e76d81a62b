//! Who looks: what is shown to nobody is not read.

use tokio::sync::watch;

/// How many look.
#[derive(Debug, Default)]
pub(super) struct Interest(watch::Sender<usize>);

/// One that looks, until it is dropped.
#[derive(Debug)]
pub(super) struct Look(watch::Sender<usize>);

impl Interest {
    pub(super) fn look(&self) -> Look {
        self.0.send_modify(|looking| *looking += 1);
        Look(self.0.clone())
    }

    /// Waits until somebody looks.
    pub(super) async fn some(&self) {
        // The sender is here, so it does not end.
        drop(self.0.subscribe().wait_for(|looking| *looking > 0).await);
    }

    /// Waits until nobody has looked for so long.
    pub(super) async fn none_for(&self, period: std::time::Duration) {
        let mut looking = self.0.subscribe();
        loop {
            drop(looking.wait_for(|looking| *looking == 0).await);
            tokio::select! {
                () = tokio::time::sleep(period) => return,
                _ = looking.wait_for(|looking| *looking > 0) => {}
            }
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.0.send_modify(|looking| *looking -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nobody_is_nobody_for_a_while() {
        let interest = Interest::default();
        let look = interest.look();
        interest.some().await;
        let period = Duration::from_millis(100);
        assert!(tokio::time::timeout(period * 3, interest.none_for(period)).await.is_err(), "somebody looks");
        drop(look);
        let returns = async {
            tokio::time::sleep(period / 2).await;
            let again = interest.look();
            tokio::time::sleep(period * 2).await;
            drop(again);
        };
        let began = tokio::time::Instant::now();
        tokio::join!(interest.none_for(period), returns);
        // However slow the machine is: whoever came back counts from when they had gone again, or it was over before they came.
        assert!(began.elapsed() >= period * 2, "{:?}", began.elapsed());
    }
}
