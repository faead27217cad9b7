//! `node …`, `template …`, `status`, `version`.

use std::path::PathBuf;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{Session, trust};
use crate::{
    cli::{NodeCommand, TemplateCommand},
    failure::Failure,
    files,
    output::{Table, ago, bytes, note, or_dash, plain},
    view::{JoinToken, Status, Template},
};

pub(super) async fn node(session: &Session, command: NodeCommand) -> anyhow::Result<()> {
    match command {
        NodeCommand::List => {
            let nodes = session.client().await?.list_nodes().await?;
            let now = Timestamp::now();
            session.printer.list(
                &nodes,
                "No node has joined yet: shopctl node join prints the command for it.",
                |nodes| {
                    let mut table = Table::new(&[
                        "ID",
                        "NAME",
                        "STATUS",
                        "STORES",
                        "MEMORY",
                        "CPU",
                        "DISK FREE",
                        "AGENT",
                        "LAST SEEN",
                        "EDGE",
                    ]);
                    for node in nodes {
                        table.row(vec![
                            node.id.clone(),
                            node.name.clone(),
                            match &node.no_new_stores_until {
                                Some(until) => format!(
                                    "{} (no new stores until {until}: {} failed in a row)",
                                    node.status, node.failures
                                ),
                                None => node.status.clone(),
                            },
                            node.stores.to_string(),
                            format!(
                                "{} of {}",
                                bytes(node.memory_reserved_bytes),
                                bytes(node.memory_bytes)
                            ),
                            format!("{}m of {}m", node.cpu_reserved_millis, node.cpu_millis),
                            format!(
                                "{} of {}",
                                bytes(node.disk_free_bytes),
                                bytes(node.disk_total_bytes)
                            ),
                            or_dash(node.agent_version.as_deref()),
                            node.last_seen_at
                                .as_deref()
                                .map_or_else(|| "never".to_owned(), |seen| ago(seen, now)),
                            or_dash(node.edge_url.as_deref()),
                        ]);
                    }
                    table
                },
            )
        }
        NodeCommand::Join { ttl, token_file } => join(session, ttl, token_file).await,
        NodeCommand::Remove { node, reason } => {
            session.client().await?.remove_node(&node, &reason).await?;
            note(&format!(
                "node `{node}` is forgotten; its certificate opens nothing any more"
            ));
            Ok(())
        }
    }
}

/// What a new node needs. The token is in it only when no file was asked for.
#[derive(Serialize)]
struct Join {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    expires_at: String,
    root_pin: String,
    operator_root_pin: Option<String>,
    enroll_addresses: Vec<String>,
    agent_addresses: Vec<String>,
    command: String,
}

async fn join(session: &Session, ttl: u32, token_file: Option<PathBuf>) -> anyhow::Result<()> {
    let operator_root_pin = trust::known_pin(session)?;
    // Before a token is made: a taken name would waste it.
    if let Some(path) = token_file.as_ref().filter(|path| path.exists()) {
        return Err(Failure::Usage(format!(
            "{} is already there; name a new file",
            path.display()
        ))
        .into());
    }
    let token = session.client().await?.create_join_token(ttl).await?;
    let command = join_command(&token, operator_root_pin.as_deref(), token_file.as_ref());
    if let Some(path) = &token_file {
        files::create_private(
            path,
            format!("{}\n", token.token.expose_secret()).as_bytes(),
        )?;
    }
    if operator_root_pin.is_none() {
        note(
            "No operator root is on this machine, so the node will trust no signer: run `shopctl trust init` first, then join again.",
        );
    }
    let join = Join {
        id: token.id,
        token: token_file
            .is_none()
            .then(|| token.token.expose_secret().to_owned()),
        token_file,
        expires_at: token.expires_at,
        root_pin: token.root_pin,
        operator_root_pin,
        enroll_addresses: token.enroll_addresses,
        agent_addresses: token.agent_addresses,
        command,
    };
    session.printer.result(&join, || {
        format!(
            "Run this as root on the new host before {}; the token works once:\n\n{}\n\
             Where no registry has the images, copy them over first (quickstart left them in \
             /var/lib/shopfleet-quickstart/images) and add --images DIR.\n",
            plain(&join.expires_at),
            join.command
        )
    })
}

/// The token goes in by standard input or a file: arguments are seen by everybody on the host.
fn join_command(
    token: &JoinToken,
    operator_root_pin: Option<&str>,
    token_file: Option<&PathBuf>,
) -> String {
    let mut words = vec!["shop-agent node".to_owned()];
    for address in &token.enroll_addresses {
        words.push(format!("--enroll {}", quoted(address)));
    }
    for address in &token.agent_addresses {
        words.push(format!("--agents {}", quoted(address)));
    }
    if let Some(pin) = operator_root_pin {
        words.push(format!("--operator-root {}", quoted(pin)));
    }
    match token_file {
        Some(path) => {
            words.push(format!(
                "--join-token-file {}",
                quoted(&path.display().to_string())
            ));
            words.join(" \\\n  ") + "\n"
        }
        None => {
            words.push("--join-token-stdin".to_owned());
            format!(
                "{} <<'TOKEN'\n{}\nTOKEN\n",
                words.join(" \\\n  "),
                plain(token.token.expose_secret())
            )
        }
    }
}

/// Quotes a word for a POSIX shell when it needs that: what the control plane says is pasted into a root shell.
fn quoted(word: &str) -> String {
    let word = plain(word);
    let safe = |b: u8| b.is_ascii_alphanumeric() || b".:-_/@[]".contains(&b);
    if !word.is_empty() && word.bytes().all(safe) && !word.contains('[') {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

pub(super) async fn template(session: &Session, command: TemplateCommand) -> anyhow::Result<()> {
    let client = session.client().await?;
    match command {
        TemplateCommand::List => {
            let templates = client.list_templates().await?;
            session.printer.list(
                &templates,
                "This control plane has no templates.",
                |templates| {
                    let mut table =
                        Table::new(&["TEMPLATE", "CHANNEL", "TITLE", "MATURITY", "PROFILES"]);
                    for template in templates {
                        let profiles: Vec<String> = template
                            .profiles
                            .iter()
                            .map(|profile| {
                                format!("{}={}", profile.name, profile.choices.join("|"))
                            })
                            .collect();
                        table.row(vec![
                            format!("{}@{}", template.name, template.version),
                            channel(template),
                            template.title.clone(),
                            template.maturity.clone(),
                            or_dash(Some(&profiles.join(" "))),
                        ]);
                    }
                    table
                },
            )
        }
        TemplateCommand::Show { template } => {
            let template = client.get_template(&template).await?;
            session.printer.result(&template, || describe(&template))
        }
    }
}

/// `stable, default` is what the bare name means.
fn channel(template: &Template) -> String {
    let default = if template.is_default { ", default" } else { "" };
    format!("{}{default}", template.channel)
}

fn describe(template: &Template) -> String {
    let mut text = format!(
        "{}@{}  {}\n{}\n\ndigest    {}\nmaturity  {}\nchannel   {}\nservices  {}\ntasks     {}\n",
        plain(&template.name),
        plain(&template.version),
        plain(&template.title),
        plain(&template.summary),
        plain(&template.digest),
        plain(&template.maturity),
        plain(&channel(template)),
        plain(&template.services.join(" ")),
        plain(&template.tasks.join(" ")),
    );
    if !template.profiles.is_empty() {
        let mut table = Table::new(&["PROFILE", "CHOICES", "DEFAULT"]);
        for profile in &template.profiles {
            table.row(vec![
                profile.name.clone(),
                profile.choices.join(" "),
                or_dash(profile.default.as_deref()),
            ]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    if !template.parameters.is_empty() {
        let mut table = Table::new(&["PARAMETER", "TYPE", "DEFAULT", "RANGE", "DESCRIPTION"]);
        for parameter in &template.parameters {
            let range = match (parameter.min, parameter.max) {
                (Some(min), Some(max)) => format!("{min} to {max}"),
                _ => parameter.choices.join(" "),
            };
            let default = if parameter.required {
                "(required)".to_owned()
            } else {
                or_dash(parameter.default.as_deref())
            };
            table.row(vec![
                parameter.name.clone(),
                parameter.kind.clone(),
                default,
                or_dash(Some(&range)),
                parameter.description.clone(),
            ]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    text
}

pub(super) async fn status(session: &Session) -> anyhow::Result<()> {
    let status = session.client().await?.status().await?;
    session.printer.result(&status, || at_a_glance(&status))
}

fn at_a_glance(status: &Status) -> String {
    let stores: Vec<String> = status
        .stores_by_status
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    let stores = if stores.is_empty() {
        "none yet".to_owned()
    } else {
        stores.join(", ")
    };
    let mut text = format!(
        "control plane  {} on {}, up {}\nnodes          {} of {} ready\nstores         {}\noperations     {} running, {} waiting\nbase domain    {}\n",
        plain(&status.version),
        plain(&status.database),
        ago(&status.started_at, Timestamp::now()),
        status.nodes_ready,
        status.nodes_total,
        plain(&stores),
        status.operations_running,
        status.operations_pending,
        plain(&status.base_domain),
    );
    for warning in &status.warnings {
        text.push_str(&format!("warning        {}\n", plain(warning)));
    }
    if status.nodes_total == 0 {
        text.push_str("\nNext: shopctl node join prints the command that makes a host a node.\n");
    }
    text
}

#[derive(Serialize)]
struct Versions {
    shopctl: &'static str,
    control_plane: Option<String>,
}

/// Works without a control plane.
pub(super) async fn version(session: &Session) -> anyhow::Result<()> {
    let control_plane = match session.client().await {
        Ok(client) => client.status().await.ok().map(|status| status.version),
        Err(_) => None,
    };
    let versions = Versions {
        shopctl: env!("CARGO_PKG_VERSION"),
        control_plane,
    };
    session.printer.result(&versions, || {
        format!(
            "shopctl        {}\ncontrol plane  {}\n",
            versions.shopctl,
            versions
                .control_plane
                .as_deref()
                .map_or_else(|| "not reached".into(), plain)
        )
    })
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn token(address: &str) -> JoinToken {
        JoinToken {
            id: "a".to_owned(),
            token: SecretString::from("sfj1_x".to_owned()),
            expires_at: String::new(),
            root_pin: String::new(),
            enroll_addresses: vec![address.to_owned()],
            agent_addresses: vec!["10.0.0.1:7443".to_owned()],
        }
    }

    #[test]
    fn the_token_is_never_an_argument() {
        let command = join_command(&token("10.0.0.1:7442"), Some("sha256:ab"), None);
        assert_eq!(
            command,
            "shop-agent node \\\n  --enroll 10.0.0.1:7442 \\\n  --agents 10.0.0.1:7443 \\\n  --operator-root sha256:ab \\\n  --join-token-stdin <<'TOKEN'\nsfj1_x\nTOKEN\n"
        );
        let command = join_command(
            &token("10.0.0.1:7442"),
            None,
            Some(&PathBuf::from("/root/t")),
        );
        assert!(!command.contains("sfj1_x"), "{command}");
    }

    #[test]
    fn a_lying_control_plane_reaches_no_shell() {
        let command = join_command(&token("x; rm -rf / '$(id)'"), None, None);
        assert!(
            command.contains(r"--enroll 'x; rm -rf / '\''$(id)'\'''"),
            "{command}"
        );
    }
}
