//! Which step comes next for the two edges of a node. Pure: it follows from what runs and from which side is meant, so a node agent that was
//! cut off at any step goes on where it was.

use super::side::Side;

/// What is on a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No container.
    Absent,
    /// A container that does not run.
    Ended(Make),
    /// It runs.
    Running(Make),
}

/// What a container was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// The image and the rendering of now.
    Current,
    /// Others.
    Other,
}

/// Both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Where new connections go.
    pub meant: Side,
    /// What is there.
    pub here: Seen,
    /// What is on the other side.
    pub there: Seen,
    /// The edge of the other side was told to send its visitors over, and none is left, or it had time enough.
    pub left: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All is as it should be.
    Rest,
    /// Make the current edge on this side, or start it.
    Start(Side),
    /// Send new connections to this side, once its edge answers.
    Switch(Side),
    /// The edge of this side sends its visitors over; wait for that.
    Drain(Side),
    /// End the edge of this side.
    Remove(Side),
}

/// The next step. Whoever is meant and runs is never ended or restarted.
#[must_use]
pub const fn next(view: View) -> Step {
    let View {
        meant, here, there, ..
    } = view;
    match here {
        Seen::Running(Make::Current) => match there {
            Seen::Absent => Step::Rest,
            Seen::Running(_) | Seen::Ended(_) => clear(view),
        },
        Seen::Running(Make::Other) => match there {
            Seen::Absent | Seen::Ended(Make::Current) => Step::Start(meant.other()),
            Seen::Running(Make::Current) => Step::Switch(meant.other()),
            // Of a release before the last; its visitors are still there.
            Seen::Running(Make::Other) | Seen::Ended(Make::Other) => clear(view),
        },
        // Nobody serves: the shortest way.
        Seen::Absent | Seen::Ended(Make::Current) => Step::Start(meant),
        Seen::Ended(Make::Other) => Step::Remove(meant),
    }
}

const fn clear(view: View) -> Step {
    let other = view.meant.other();
    if matches!(view.there, Seen::Running(_)) && !view.left {
        Step::Drain(other)
    } else {
        Step::Remove(other)
    }
}

#[cfg(test)]
mod tests;
