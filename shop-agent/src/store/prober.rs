//! Keeps asking: often while something starts, seldom while all is well. Answers are sent when they change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shop_proto::ReplicaKey;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::{
    probe::{NotReady, Probes, Question},
    steps::Health,
};

/// While starting: what is waited for here is what a buyer waits for.
const EAGER: Duration = Duration::from_millis(20);
/// An agent that is steady must cost next to nothing.
const STEADY: Duration = Duration::from_secs(5);
/// While it is unclear whether something ready has a problem.
const WORRIED: Duration = Duration::from_secs(1);
/// Failures in a row that make something ready unready: one may be a busy moment.
const PATIENCE: u32 = 3;

/// While another replica could answer in its place: a frozen one is left out within two seconds.
const BRISK: Duration = Duration::from_millis(300);
/// As [`WORRIED`], then.
const BRISK_WORRIED: Duration = Duration::from_millis(100);
/// As [`PATIENCE`], then.
const BRISK_PATIENCE: u32 = 2;
/// Longest wait for an answer, then.
pub const BRISK_DEADLINE: Duration = Duration::from_millis(400);
/// While an update waits for two good answers.
const WATCH_EAGER: Duration = Duration::from_millis(200);
/// How long that may be.
const WATCH_EAGERLY: Duration = Duration::from_secs(5);

/// How often a container is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// As seldom as will do.
    Steady,
    /// Often: another one could answer in its place.
    Brisk,
}

/// What is asked about: one start of one container, or the whole store through one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// Its own readiness.
    Replica(ReplicaKey, u64, Pace),
    /// The deep check through it, every answer told: an update depends on it.
    Watch(ReplicaKey, u64),
    /// The deep check through it.
    Deep(ReplicaKey, u64),
}

/// An answer that differs from the one before.
#[derive(Debug)]
pub struct Answer {
    /// About what.
    pub ask: Ask,
    /// Good or not, and why not.
    pub verdict: Result<(), NotReady>,
}

impl Answer {
    /// As health.
    #[must_use]
    pub const fn health(&self) -> Health {
        match self.verdict {
            Ok(()) => Health::Ready,
            Err(NotReady::TimedOut) => Health::Frozen,
            Err(_) => Health::Unready,
        }
    }
}

/// The running questions. Dropping it ends them.
pub struct Prober {
    tasks: JoinSet<()>,
    asking: BTreeMap<Ask, AbortHandle>,
    answers: mpsc::Sender<Answer>,
    probes: Arc<dyn Probes>,
}

impl Prober {
    /// Asks through `probes` and sends answers there.
    #[must_use]
    pub fn new(probes: Arc<dyn Probes>, answers: mpsc::Sender<Answer>) -> Self {
        Self {
            probes,
            tasks: JoinSet::new(),
            asking: BTreeMap::new(),
            answers,
        }
    }

    /// Whether this is being asked: an answer may still be on its way when it no longer is.
    #[must_use]
    pub fn asks(&self, ask: &Ask) -> bool {
        self.asking.contains_key(ask)
    }

    /// Asks exactly these from now on. `question` is called for new ones only; one without a question is skipped.
    pub fn set(&mut self, wanted: &[Ask], mut question: impl FnMut(&Ask) -> Option<Question>) {
        self.asking.retain(|ask, task| {
            let keep = wanted.contains(ask);
            if !keep {
                task.abort();
            }
            keep
        });
        // Ended tasks are collected so that the set does not grow.
        while self.tasks.try_join_next().is_some() {}
        for ask in wanted {
            if self.asking.contains_key(ask) {
                continue;
            }
            if let Some(question) = question(ask) {
                let task = self.tasks.spawn(keep_asking(
                    self.probes.clone(),
                    ask.clone(),
                    question,
                    self.answers.clone(),
                ));
                self.asking.insert(ask.clone(), task);
            }
        }
    }
}

async fn keep_asking(
    probes: Arc<dyn Probes>,
    subject: Ask,
    question: Question,
    answers: mpsc::Sender<Answer>,
) {
    let began = Instant::now();
    let mut rhythm = Rhythm::of(&subject);
    loop {
        let verdict = probes.ask(&question).await;
        if rhythm.note(verdict.is_ok()) {
            let answer = Answer {
                ask: subject.clone(),
                verdict,
            };
            if answers.send(answer).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(rhythm.pause(began.elapsed())).await;
    }
}

/// When to ask again, and when an answer is news.
#[derive(Debug, Default)]
struct Rhythm {
    told: Option<bool>,
    failures: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Steady,
    Brisk,
    Watch,
}

impl Rhythm {
    fn of(ask: &Ask) -> Self {
        let kind = match ask {
            Ask::Replica(.., Pace::Brisk) => Kind::Brisk,
            Ask::Watch(..) => Kind::Watch,
            Ask::Replica(..) | Ask::Deep(..) => Kind::Steady,
        };
        Self {
            kind,
            ..Self::default()
        }
    }

    /// Notes an answer. `true`: it is news.
    fn note(&mut self, good: bool) -> bool {
        self.failures = if good {
            0
        } else {
            self.failures.saturating_add(1)
        };
        let news = match self.told {
            None => true,
            _ if self.kind == Kind::Watch => true,
            Some(true) => !good && self.failures >= self.patience(),
            Some(false) => good,
        };
        if news {
            self.told = Some(good);
        }
        news
    }

    const fn patience(&self) -> u32 {
        match self.kind {
            Kind::Brisk => BRISK_PATIENCE,
            Kind::Steady | Kind::Watch => PATIENCE,
        }
    }

    fn pause(&self, since_start: Duration) -> Duration {
        let brisk = self.kind == Kind::Brisk;
        match (self.told, self.failures) {
            _ if self.kind == Kind::Watch && since_start < WATCH_EAGERLY => WATCH_EAGER,
            _ if self.kind == Kind::Watch => WORRIED,
            (Some(true), 0) if brisk => BRISK,
            (Some(true), _) if brisk => BRISK_WORRIED,
            (Some(true), 0) => STEADY,
            (Some(true), _) => WORRIED,
            _ if since_start < Duration::from_secs(20) => EAGER,
            _ if since_start < Duration::from_secs(120) => EAGER * 10,
            _ => WORRIED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_moment_is_no_news_and_recovery_is() {
        let mut rhythm = Rhythm::default();
        assert!(rhythm.note(false), "the first answer");
        assert!(!rhythm.note(false));
        assert_eq!(rhythm.pause(Duration::ZERO), EAGER);
        assert!(rhythm.note(true));
        assert_eq!(rhythm.pause(Duration::ZERO), STEADY);
        assert!(!rhythm.note(false));
        assert_eq!(rhythm.pause(Duration::ZERO), WORRIED);
        assert!(!rhythm.note(true));
        for _ in 1..PATIENCE {
            assert!(!rhythm.note(false));
        }
        assert!(rhythm.note(false));
        assert!(rhythm.note(true));
    }
}
