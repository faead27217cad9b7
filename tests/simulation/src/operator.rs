//! An operator who wants one thing after another of a few stores, asks until it is acknowledged, and remembers what was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use control_plane::{
    app::{
        AmendStore, Amended, Amendment, App, AppError, CreateStore, DeleteStore, OperationView,
        RotateSecrets, RunTask, StoreAction, UpdateStore, WatchInput,
    },
    domain::access::Caller,
};
use shop_proto::StoreId;

use crate::{chance::Dice, logins::PASSWORD, plane::Job, trace::Trace};

/// Stores by name at once.
const NAMES: [&str; 3] = ["anna", "bert", "cora"];

/// What an operator can want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// A new store.
    Create,
    /// It runs.
    Start,
    /// It is stopped.
    Stop,
    /// All its services are restarted.
    Restart,
    /// It is gone, at once.
    Delete,
    /// It is gone after a while, unless somebody changes his mind.
    DeleteLater,
    /// Somebody changed his mind.
    Undelete,
    /// Another release: one that works.
    Update,
    /// Another release: one that does not.
    BadUpdate,
    /// Another release: one after which there is no way back.
    Irreversible,
    /// The release before.
    Rollback,
    /// More or fewer web replicas.
    Scale,
    /// The maintenance page.
    Maintenance,
    /// No maintenance page.
    Open,
    /// Nothing runs, and its room is free for others.
    Pause,
    /// It runs again.
    Wake,
    /// Drift is shown, not repaired.
    Hold,
    /// Drift is repaired again.
    Release,
    /// A task of the shop is run.
    Task,
    /// A new password of the database.
    Rotate,
}

/// A store that serves, without a page.
pub const OPEN: Shape = Shape::Running { maintenance: false };

/// What may come right after a rotation, and beside one that is not over.
const AFTER_ROTATION: [Want; 10] = [
    Want::Rotate,
    Want::Rotate,
    Want::Update,
    Want::BadUpdate,
    Want::BadUpdate,
    Want::Rollback,
    Want::Rollback,
    Want::Restart,
    Want::Pause,
    Want::Delete,
];

/// How a store should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// It serves, or shows the maintenance page.
    Running {
        /// The page.
        maintenance: bool,
    },
    /// Nothing runs.
    Stopped,
    /// Nothing runs, and it is said so at the edge.
    Paused,
    /// On its way out, with time to change one's mind.
    Leaving,
    /// Nothing is left.
    Gone,
}

impl Shape {
    /// How it should be once this was acknowledged.
    const fn after(self, want: Want) -> Self {
        let open = Self::Running { maintenance: false };
        match want {
            Want::Create | Want::Undelete => open,
            Want::Start | Want::Wake => match self {
                Self::Running { .. } => self,
                _ => open,
            },
            Want::Stop => Self::Stopped,
            Want::Pause => Self::Paused,
            Want::Delete => Self::Gone,
            Want::DeleteLater => Self::Leaving,
            Want::Maintenance => Self::Running { maintenance: true },
            Want::Open => open,
            _ => self,
        }
    }

    /// What makes sense to want next.
    const fn wants(self) -> &'static [Want] {
        match self {
            Self::Gone => &[Want::Create],
            Self::Leaving => &[Want::Undelete, Want::Undelete, Want::Delete],
            Self::Stopped => &[Want::Start, Want::Start, Want::Rotate, Want::Delete],
            Self::Paused => &[Want::Wake, Want::Wake, Want::Rotate, Want::Delete],
            Self::Running { maintenance: true } => &[Want::Open],
            Self::Running { maintenance: false } => &[
                Want::Stop,
                Want::Restart,
                Want::Restart,
                Want::Delete,
                Want::DeleteLater,
                Want::Update,
                Want::Update,
                Want::Update,
                Want::BadUpdate,
                Want::BadUpdate,
                Want::Irreversible,
                Want::Rollback,
                Want::Scale,
                Want::Maintenance,
                Want::Pause,
                Want::Hold,
                Want::Release,
                Want::Task,
                Want::Rotate,
            ],
        }
    }
}

/// One thing that an operator wants, asked until it is acknowledged, always under the same key.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Of this store.
    pub name: String,
    /// This.
    pub want: Want,
    /// The store was to be so when it was wanted.
    pub shape: Shape,
    /// A release that works had served in it for a while.
    steady: bool,
    key: String,
    round: u64,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Accepted: the operation and the store.
    Accepted {
        /// The operation's id.
        operation: String,
        /// The store's id.
        store: StoreId,
    },
    /// Refused for a typed reason: nothing happened.
    Refused(String),
    /// The control plane could not say.
    Unclear(String),
}

/// Where an answer arrives.
type Slot = Arc<Mutex<Option<Answer>>>;

/// How a store should end up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its id, once known.
    pub id: StoreId,
    /// What follows from everything that was acknowledged.
    pub shape: Shape,
}

/// What was asked and acknowledged so far.
pub struct Operator {
    dice: Dice,
    trace: Trace,
    round: u64,
    asking: BTreeMap<&'static str, (Wish, Option<Slot>)>,
    /// Stores by name as they were acknowledged last.
    pub expected: BTreeMap<String, Expected>,
    /// Acknowledged operations.
    pub acknowledged: Vec<(Wish, String)>,
    /// Names that were asked for and may not be known here.
    taken: BTreeSet<String>,
    /// The name of the store that goes by each of [`NAMES`] now.
    current: BTreeMap<&'static str, String>,
}

impl Operator {
    /// Who has asked for nothing yet.
    #[must_use]
    pub fn new(dice: Dice, trace: Trace) -> Self {
        Self {
            dice,
            trace,
            round: 0,
            asking: BTreeMap::new(),
            expected: BTreeMap::new(),
            acknowledged: Vec::new(),
            taken: BTreeSet::new(),
            current: BTreeMap::new(),
        }
    }

    /// Whether an answer is still waited for.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.asking.is_empty()
    }

    /// Wants something more of a store that nothing is being asked of.
    pub fn wish(&mut self, steady: impl Fn(&StoreId) -> bool) {
        let free: Vec<_> = NAMES
            .into_iter()
            .filter(|name| !self.asking.contains_key(name))
            .collect();
        let rotating = free.iter().copied().filter(|who| self.rotated_last(who));
        let rotating: Vec<_> = rotating.collect();
        let near = !rotating.is_empty() && self.dice.one_in(2);
        let of = if near { &rotating } else { &free };
        let Some(who) = self.dice.pick(of).copied() else {
            return;
        };
        let now = self.known(who);
        let steady = now.is_some_and(|now| now.shape == OPEN && steady(&now.id));
        let shape = self.shape(who);
        let rotates = shape == OPEN && rotating.contains(&who);
        let wants = match self.dice.roll(4) {
            0 | 1 if rotates => AFTER_ROTATION.as_slice(),
            0..=2 if steady => [Want::Rotate].as_slice(),
            _ => shape.wants(),
        };
        let Some(want) = self.dice.pick(wants).copied() else {
            return;
        };
        // A release that fails is tried where one that works has served: elsewhere there is no way back.
        let want = match want {
            Want::BadUpdate if !(steady || rotates) => Want::Restart,
            _ => want,
        };
        self.begin(who, want, steady);
    }

    /// Wants this of the first store that serves.
    pub fn insist(&mut self, want: Want) {
        let open = |who: &&str| self.shape(who) == OPEN && !self.asking.contains_key(who);
        if let Some(who) = NAMES.into_iter().find(|who| open(who)) {
            self.begin(who, want, true);
        }
    }

    fn begin(&mut self, who: &'static str, want: Want, steady: bool) {
        self.round += 1;
        let name = match (want, self.current.get(who).cloned()) {
            // The name of a store that is being deleted is not free yet.
            (Want::Create, _) | (_, None) => format!("{who}-{}", self.round),
            (_, Some(name)) => name,
        };
        let wish = Wish {
            shape: self.shape(who),
            name: name.clone(),
            want,
            steady,
            key: format!("wish-{}", self.round),
            round: self.round,
        };
        self.current.insert(who, name.clone());
        self.taken.insert(name);
        self.trace.say(format!("operator wants {wish:?}"));
        self.asking.insert(who, (wish, None));
    }

    /// The store that goes by a name now.
    fn known(&self, who: &str) -> Option<&Expected> {
        self.expected.get(self.current.get(who)?)
    }

    fn shape(&self, who: &str) -> Shape {
        self.known(who).map_or(Shape::Gone, |it| it.shape)
    }

    /// Whether a rotation is the last thing that was acknowledged for a store, and a release that works served when it was asked for.
    fn rotated_last(&self, who: &str) -> bool {
        let name = self.current.get(who);
        let mut wishes = self.acknowledged.iter().rev().map(|(wish, _)| wish);
        let last = wishes.find(|wish| Some(&wish.name) == name);
        last.is_some_and(|wish| wish.want == Want::Rotate && wish.steady)
    }

    /// The control plane's process is another one: what was not answered is asked again.
    pub fn ask_again(&mut self) {
        for (_, slot) in self.asking.values_mut() {
            *slot = None;
        }
    }

    /// Whether a store's database may have been changed for good.
    #[must_use]
    pub fn changed_for_good(&self, name: &str) -> bool {
        let mut wishes = self.acknowledged.iter();
        wishes.any(|(wish, _)| wish.name == name && wish.want == Want::Irreversible)
    }

    /// Takes answers in, and gives what is to be asked now.
    pub fn turn(&mut self, mut condemn: impl FnMut(&StoreId)) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut done = Vec::new();
        for (who, (wish, slot)) in &mut self.asking {
            let answer = slot
                .as_ref()
                .map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
            match answer {
                None => {
                    let new = Slot::default();
                    *slot = Some(new.clone());
                    if matches!(wish.want, Want::Delete | Want::DeleteLater)
                        && let Some(expected) = self.expected.get(&wish.name)
                    {
                        condemn(&expected.id);
                    }
                    let wish = wish.clone();
                    jobs.push(Box::new(move |app| Box::pin(ask(app, wish, new))));
                }
                Some(None) => {}
                Some(Some(Answer::Unclear(why))) => {
                    self.trace.say(format!("{wish:?} is not answered: {why}"));
                    *slot = None;
                }
                Some(Some(Answer::Refused(why))) => {
                    self.trace.say(format!("{wish:?} is refused: {why}"));
                    done.push(*who);
                }
                Some(Some(Answer::Accepted { operation, store })) => {
                    self.trace
                        .say(format!("{wish:?} is acknowledged for {store}"));
                    let before = self.expected.get(&wish.name);
                    let before = before.map_or(Shape::Gone, |it| it.shape);
                    let expected = Expected {
                        id: store,
                        shape: before.after(wish.want),
                    };
                    self.expected.insert(wish.name.clone(), expected);
                    self.acknowledged.push((wish.clone(), operation));
                    done.push(*who);
                }
            }
        }
        for who in done {
            self.asking.remove(who);
        }
        jobs
    }
}

/// Who asks.
#[must_use]
pub fn caller() -> Caller {
    Caller::system("operator")
}

async fn ask(app: App, wish: Wish, slot: Slot) {
    let answer = match asked(&app, &wish).await {
        Ok(view) => Answer::Accepted {
            operation: view.operation.id.clone(),
            store: view.operation.store.clone(),
        },
        Err(AppError::Unavailable { code, .. }) => Answer::Unclear(code.to_owned()),
        Err(error @ (AppError::Conflict { .. } | AppError::NotFound { .. })) => {
            Answer::Refused(error.to_string())
        }
        Err(error) => Answer::Unclear(format!("{error:?}")),
    };
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
}

async fn asked(app: &App, wish: &Wish) -> Result<OperationView, AppError> {
    let caller = caller();
    if wish.want == Want::Create {
        let input = CreateStore {
            name: wish.name.clone(),
            template: "refshop@1".to_owned(),
            parameters: [("shop_name", "Test"), ("admin_email", "admin@example.com")]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            idempotency_key: Some(wish.key.clone()),
            ..CreateStore::default()
        };
        return app.create_store(&caller, input).await;
    }
    let action = StoreAction {
        store: wish.name.clone(),
        idempotency_key: Some(wish.key.clone()),
        ..StoreAction::default()
    };
    match wish.want {
        Want::Task => {
            let run = RunTask {
                store: wish.name.clone(),
                task: "cache-flush".to_owned(),
                idempotency_key: Some(wish.key.clone()),
                ..RunTask::default()
            };
            app.run_task(&caller, run).await
        }
        Want::Start => app.start_store(&caller, action).await,
        Want::Stop => app.stop_store(&caller, action).await,
        Want::Restart => app.restart_store(&caller, action).await,
        Want::Undelete => app.undelete_store(&caller, action).await,
        Want::Create | Want::Delete | Want::DeleteLater => {
            let delete = DeleteStore {
                action,
                now: wish.want == Want::Delete,
                grace: match wish.want {
                    Want::DeleteLater => "1h".to_owned(),
                    _ => String::new(),
                },
            };
            app.delete_store(&caller, delete).await
        }
        _ => amended(app, wish).await,
    }
}

async fn amended(app: &App, wish: &Wish) -> Result<OperationView, AppError> {
    let salt = Dice::new(wish.round).bits();
    let input = AmendStore {
        store: wish.name.clone(),
        idempotency_key: Some(wish.key.clone()),
        what: amendment(wish.want, salt),
        ..AmendStore::default()
    };
    match app.amend(&caller(), input).await? {
        Amended::Accepted(view) => Ok(*view),
        Amended::Preview(_) => Err(AppError::Conflict {
            code: "preview",
            message: "a preview although none was asked for".into(),
        }),
    }
}

fn amendment(want: Want, salt: u64) -> Amendment {
    let update = |drill: &str| {
        let irreversible = want == Want::Irreversible;
        let release = if irreversible { 3 } else { 2 };
        Amendment::Update(UpdateStore {
            template: format!("refshop@{release}"),
            allow_irreversible: irreversible,
            parameters: [
                (
                    "shop_name".to_owned(),
                    Some(format!("Shop {}", salt % 1000)),
                ),
                ("drill".to_owned(), Some(drill.to_owned())),
            ]
            .into(),
            watch: WatchInput {
                window_seconds: 10,
                ..WatchInput::default()
            },
            ..UpdateStore::default()
        })
    };
    match want {
        Want::BadUpdate => update(match salt % 3 {
            0 => "never-ready",
            1 => "sick",
            _ => "crash",
        }),
        Want::Rollback => Amendment::Rollback {
            number: None,
            allow_irreversible: false,
        },
        Want::Scale => {
            let count = u32::try_from(1 + salt % 3).unwrap_or(1);
            Amendment::Scale([("web".to_owned(), count), ("php-fpm".to_owned(), count)].into())
        }
        Want::Maintenance => Amendment::Maintenance(true),
        Want::Open => Amendment::Maintenance(false),
        Want::Pause => Amendment::Pause,
        Want::Wake => Amendment::Wake,
        Want::Hold => Amendment::Hold(std::time::Duration::from_secs(5)),
        Want::Release => Amendment::Release,
        Want::Rotate => Amendment::Rotate(RotateSecrets {
            names: vec![PASSWORD.to_owned()],
            all: false,
        }),
        _ => update("none"),
    }
}
