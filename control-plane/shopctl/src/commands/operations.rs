//! `operation …`.

use std::time::Duration;

use jiff::Timestamp;

use super::{Session, stores};
use crate::{
    cli::OperationCommand,
    output::{Table, ago, or_dash, plain},
    progress,
};

pub(super) async fn run(session: &Session, command: OperationCommand) -> anyhow::Result<()> {
    let client = session.client().await?;
    match command {
        OperationCommand::List {
            store,
            state,
            limit,
        } => {
            let operations = client.list_operations(&store, &state, limit).await?;
            let now = Timestamp::now();
            session.printer.list(
                &operations,
                "No operation matches; changes to stores show up here.",
                |operations| {
                    let mut table =
                        Table::new(&["ID", "KIND", "STORE", "STATE", "REASON", "AGE", "BY"]);
                    for operation in operations {
                        table.row(vec![
                            operation.id.clone(),
                            operation.kind.clone(),
                            operation.store_name.clone(),
                            operation.state.to_string(),
                            or_dash(operation.reason.as_deref()),
                            ago(&operation.created_at, now),
                            operation.requested_by.clone(),
                        ]);
                    }
                    table
                },
            )
        }
        OperationCommand::Cancel { id, reason, wait } => {
            let operation = client.cancel_operation(&id, &reason).await?;
            stores::finish(session, &client, operation, &wait).await
        }
        OperationCommand::Watch { id, timeout } => {
            let operation = progress::follow(&client, &id, Duration::from_secs(timeout)).await?;
            stores::conclude(session, &operation)?;
            session.printer.result(&operation, || {
                format!(
                    "{} of `{}` {}\n",
                    plain(&operation.kind),
                    plain(&operation.store_name),
                    operation.state
                )
            })
        }
    }
}
