//! `store explain`: why a store is as it is, and what to type next.

use super::Session;
use crate::{output::plain, view::Explanation};

pub(super) async fn explain(session: &Session, store: &str) -> anyhow::Result<()> {
    let explanation = session.client().await?.explain_store(store).await?;
    session
        .printer
        .result(&explanation, || describe(&explanation))
}

/// Each cause stands under what it causes.
fn describe(explanation: &Explanation) -> String {
    let mut text = format!("{}\n", plain(&explanation.summary));
    for (depth, cause) in explanation.causes.iter().enumerate() {
        let indent = "  ".repeat(depth);
        text.push_str(&format!("  {indent}← {}\n", plain(&cause.what)));
        for evidence in &cause.evidence {
            text.push_str(&format!("  {indent}    {}\n", plain(evidence)));
        }
    }
    if !explanation.next.is_empty() {
        text.push_str("\nNext\n");
        let width = explanation
            .next
            .iter()
            .map(|next| next.command.chars().count())
            .max()
            .unwrap_or(0);
        for next in &explanation.next {
            text.push_str(&format!(
                "  {:width$}  {}\n",
                plain(&next.command),
                plain(&next.why)
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Cause, NextCommand};

    #[test]
    fn a_chain_reads_from_the_outside_in() {
        let cause = |what: &str, evidence: &[&str]| Cause {
            code: "x".to_owned(),
            what: what.to_owned(),
            evidence: evidence.iter().map(|line| (*line).to_owned()).collect(),
        };
        let explanation = Explanation {
            store: "demo".to_owned(),
            status: "degraded".to_owned(),
            summary: "store `demo` is degraded".to_owned(),
            well: false,
            causes: vec![
                cause("web (a-0) is not ready", &[]),
                cause("php-fpm (a-0) was killed", &["exit code 137"]),
            ],
            next: vec![NextCommand {
                command: "shopctl store logs demo php-fpm".to_owned(),
                why: "what it said last".to_owned(),
            }],
        };
        assert_eq!(
            describe(&explanation),
            "store `demo` is degraded\n  ← web (a-0) is not ready\n    ← php-fpm (a-0) was killed\n        exit code 137\n\n\
             Next\n  shopctl store logs demo php-fpm  what it said last\n"
        );
    }
}
