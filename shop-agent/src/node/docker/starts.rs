//! Who may start a container now. More than a few starts at once do not get done sooner: the engine's locks are global. What others wait for
//! goes first.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How long a start that nobody waits for lets others overtake: a store's starts arrive together, in no order.
const COURTESY: Duration = Duration::from_millis(15);

/// What waits for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Everything of a store: it never queues behind others.
    First,
    /// Something.
    Soon,
    /// Buyers only, and they wait for the others as well.
    Last,
}

/// The gate. Cheap to clone.
#[derive(Clone)]
pub(super) struct Starts {
    queue: Arc<Mutex<Queue>>,
    /// Places of their own for the first ones, so that twenty new stores at once do not ask for everything at once.
    first: Arc<Semaphore>,
}

struct Queue {
    free: usize,
    arrivals: u64,
    waiting: BTreeMap<(Urgency, u64), oneshot::Sender<Turn>>,
}

/// A place in the engine; the next one gets it when dropped.
pub(super) enum Turn {
    /// Of the queue.
    Queued(Option<Starts>),
    /// Of those that never queue behind others.
    First {
        _place: Option<OwnedSemaphorePermit>,
    },
}

impl Starts {
    pub(super) fn new(places: usize) -> Self {
        Self {
            queue: Arc::new(Mutex::new(Queue {
                free: places,
                arrivals: 0,
                waiting: BTreeMap::new(),
            })),
            first: Arc::new(Semaphore::new(places * 2)),
        }
    }

    /// Waits for a place.
    pub(super) async fn turn(&self, urgency: Urgency) -> Turn {
        match urgency {
            Urgency::First => {
                // Closed never: then there is nothing to wait for.
                let place = Arc::clone(&self.first).acquire_owned().await.ok();
                return Turn::First { _place: place };
            }
            Urgency::Soon => {}
            Urgency::Last => tokio::time::sleep(COURTESY).await,
        }
        let place = {
            let mut queue = self.lock();
            if queue.free > 0 {
                queue.free -= 1;
                return Turn::Queued(Some(self.clone()));
            }
            let (give, place) = oneshot::channel();
            let key = (urgency, queue.arrivals);
            queue.arrivals += 1;
            queue.waiting.insert(key, give);
            place
        };
        // The queue keeps the other half until it gives a place.
        place.await.unwrap_or(Turn::Queued(None))
    }

    fn pass_on(&self) {
        loop {
            let next = {
                let mut queue = self.lock();
                match queue.waiting.pop_first() {
                    Some((_, give)) => give,
                    None => {
                        queue.free += 1;
                        return;
                    }
                }
            };
            match next.send(Turn::Queued(Some(self.clone()))) {
                Ok(()) => return,
                // Gave up waiting; the place is still ours to give.
                Err(mut turn) => turn.forfeit(),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Is dropped without passing the place on.
    fn forfeit(&mut self) {
        if let Self::Queued(starts) = self {
            *starts = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Self::Queued(starts) = self
            && let Some(starts) = starts.take()
        {
            starts.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_others_wait_for_goes_first_and_no_place_is_lost() {
        let starts = Starts::new(1);
        let held = starts.turn(Urgency::Soon).await;
        let _first = starts.turn(Urgency::First).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |urgency| {
            let (starts, order) = (starts.clone(), order.clone());
            async move {
                let _turn = starts.turn(urgency).await;
                order.lock().unwrap().push(urgency);
            }
        };
        let given_up = tokio::time::timeout(Duration::from_millis(1), wait(Urgency::Soon));
        assert!(given_up.await.is_err());
        tokio::join!(wait(Urgency::Last), wait(Urgency::Soon), async {
            tokio::time::advance(COURTESY * 2).await;
            drop(held);
        });
        assert_eq!(*order.lock().unwrap(), [Urgency::Soon, Urgency::Last]);
        assert_eq!(starts.lock().free, 1);
    }
}
