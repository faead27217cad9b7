//! Messages about why a store is as it is.

use shop_proto::wire::admin::v1 as api;

use crate::domain::explain::{Cause, Explanation, Next};

pub(super) fn explanation(explanation: Explanation) -> api::Explanation {
    let Explanation {
        store,
        status,
        summary,
        well,
        causes,
        next,
    } = explanation;
    api::Explanation {
        store: store.to_string(),
        status: status.to_string(),
        summary,
        well,
        causes: causes.into_iter().map(cause).collect(),
        next: next.into_iter().map(command).collect(),
    }
}

fn cause(cause: Cause) -> api::Cause {
    let Cause {
        code,
        what,
        evidence,
    } = cause;
    api::Cause {
        code: code.to_owned(),
        what,
        evidence,
    }
}

fn command(next: Next) -> api::NextCommand {
    let Next { command, why } = next;
    api::NextCommand { command, why }
}
