//! `rollout …` as clap reads it.

use clap::{Args, Subcommand};

use super::key_value;

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Update many stores: canaries first, then batch after batch; halts by itself.
    Start(Box<RolloutStart>),
    /// List rollouts, newest first.
    List,
    /// Show a rollout and how far each store is.
    Get {
        /// Its id.
        id: String,
    },
    /// Follow a rollout until it has ended or halted.
    Watch {
        /// Its id.
        id: String,
        /// How long to follow, in seconds.
        #[arg(long, default_value_t = 86_400, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
        timeout: u64,
    },
    /// Begin no further store; those under way come to their end.
    Pause(RolloutAct),
    /// Go on, also after a halt: what failed until then is forgiven.
    Resume(RolloutAct),
    /// End it; updated stores stay so unless --rollback.
    Abort {
        #[command(flatten)]
        act: RolloutAct,
        /// Stores that were updated go back to the revision they had.
        #[arg(long)]
        rollback: bool,
    },
}

/// How many stores of a wave may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failures {
    Count(u32),
    /// 1 to 100 of the wave.
    Percent(u32),
}

fn failures(text: &str) -> Result<Failures, String> {
    let (number, share) = match text.strip_suffix('%') {
        Some(number) => (number, true),
        None => (text, false),
    };
    match (number.parse(), share) {
        (Ok(0), _) => Ok(Failures::Count(0)),
        (Ok(share @ 1..=100), true) => Ok(Failures::Percent(share)),
        (Ok(count), false) => Ok(Failures::Count(count)),
        _ => Err("a number such as 2, or a share of the wave such as 10%".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct RolloutAct {
    /// Its id.
    pub id: String,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct RolloutStart {
    /// Which stores, by labels, such as env=prod,tier!=test; all when empty.
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// Template to go to, such as refshop@2.
    #[arg(long, default_value = "")]
    pub template: String,
    /// Template parameter to set; repeat for more.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub parameters: Vec<(String, String)>,
    /// Template parameter to put back to its default; repeat for more.
    #[arg(long = "unset", value_name = "KEY")]
    pub unset: Vec<String>,
    /// Template profile, such as web=nginx; repeat for more.
    #[arg(long = "profile", value_name = "KEY=VALUE", value_parser = key_value)]
    pub profiles: Vec<(String, String)>,
    /// Stores in the first wave.
    #[arg(long, default_value_t = 1)]
    pub canary: u32,
    /// Stores in each wave after it: a share such as 10%, or a number.
    #[arg(long, default_value = "10%")]
    pub batch: String,
    /// Stores of a wave that may fail, as a number or a share such as 10%; one more halts it. Of the canaries none may.
    #[arg(long, default_value = "0", value_name = "NUMBER|SHARE", value_parser = failures)]
    pub max_failures: Failures,
    /// Go on where there is no way back.
    #[arg(long)]
    pub allow_irreversible: bool,
    /// Seconds that each store is watched after its switch; 0 keeps each store's setting.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub window: u32,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Say which stores are reached in which wave, change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Makes a repeated command answer as the first did.
    #[arg(long, value_name = "KEY", default_value = "")]
    pub idempotency_key: String,
    /// Follow it until it has ended or halted.
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_a_number_or_a_share() {
        assert_eq!(failures("2"), Ok(Failures::Count(2)));
        assert_eq!(failures("10%"), Ok(Failures::Percent(10)));
        assert_eq!(failures("0%"), Ok(Failures::Count(0)));
        for wrong in ["", "%", "101%", "-1", "two"] {
            assert!(failures(wrong).is_err(), "{wrong}");
        }
    }
}
