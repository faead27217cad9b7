//! Changes of a live store as clap reads them.

use clap::{Args, Subcommand};

use super::{Wait, key_value};

/// What every change of a live store has.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Only when this is still the store's generation.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub if_generation: u64,
    /// Say what would happen, change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct StoreUpdate {
    /// Name or id.
    pub store: String,
    /// Version of its template, such as refshop@2.
    #[arg(long, default_value = "")]
    pub template: String,
    /// Template parameter; repeat for more.
    #[arg(long = "set", visible_alias = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    pub parameters: Vec<(String, String)>,
    /// Template parameter to put back to its default; repeat for more.
    #[arg(long = "unset", value_name = "KEY")]
    pub unset: Vec<String>,
    /// Template profile, such as web=apache; repeat for more.
    #[arg(long = "profile", value_name = "KEY=VALUE", value_parser = key_value)]
    pub profiles: Vec<(String, String)>,
    /// Limits, such as php-fpm.memory=512M or db.cpu=1.5; repeat for more.
    #[arg(long = "resources", value_name = "SERVICE.LIMIT=VALUE", value_parser = limit)]
    pub resources: Vec<Limit>,
    /// Another image than the template's, which the node's allow-list must hold; without IMAGE the template's again; repeat for more.
    #[arg(long = "image", value_name = "SERVICE=IMAGE", value_parser = key_value)]
    pub images: Vec<(String, String)>,
    /// Seconds that the new revision is watched after the switch; 0 keeps what is set.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub window: u32,
    /// Go on where there is no way back.
    #[arg(long)]
    pub allow_irreversible: bool,
    #[command(flatten)]
    pub change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct StoreRollback {
    /// Name or id.
    pub store: String,
    /// Revision to go back to, such as 3 or r3; the newest before the present one that served when absent.
    #[arg(value_parser = revision)]
    pub revision: Option<u64>,
    /// Go on where there is no way back.
    #[arg(long)]
    pub allow_irreversible: bool,
    #[command(flatten)]
    pub change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct StoreRotate {
    /// Name or id.
    pub store: String,
    /// Secret by name, such as db_password; repeat for more.
    #[arg(
        long = "secret",
        value_name = "SECRET",
        required_unless_present = "all"
    )]
    pub secrets: Vec<String>,
    /// Every secret that can be rotated while the store serves.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct StoreScale {
    /// Name or id.
    pub store: String,
    /// Replicas of a service, 1 to 6, such as web=2.
    #[arg(required = true, value_name = "SERVICE=N", value_parser = replicas)]
    pub replicas: Vec<(String, u32)>,
    #[command(flatten)]
    pub change: Change,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceCommand {
    /// Show the maintenance page.
    On(Plain),
    /// Show the shop again.
    Off(Plain),
}

/// A change that needs no more than a store.
#[derive(Debug, Args)]
pub(crate) struct Plain {
    /// Name or id.
    pub store: String,
    #[command(flatten)]
    pub change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct StoreHold {
    /// Name or id.
    pub store: String,
    /// How long, such as 30m, 1h or 2d; at most 7d.
    #[arg(long = "for", default_value = "1h", value_name = "TIME", value_parser = seconds)]
    pub time: u64,
    #[command(flatten)]
    pub change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct StoreLabel {
    /// Name or id.
    pub store: String,
    /// Labels to set, such as tier=gold, or to remove, such as tier-.
    #[arg(value_name = "KEY=VALUE|KEY-", value_parser = label)]
    pub labels: Vec<(String, Option<String>)>,
    /// A name for people.
    #[arg(long, default_value = "")]
    pub display_name: String,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// A limit of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub service: String,
    pub what: Limited,
}

/// What is limited; 0 takes the template's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    Memory(u64),
    CpuMillis(u32),
}

pub(super) fn limit(text: &str) -> Result<Limit, String> {
    let wrong = || "write it as SERVICE.memory=512M or SERVICE.cpu=1.5".to_owned();
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let (service, what) = key.rsplit_once('.').ok_or_else(wrong)?;
    let what = match what {
        "memory" => Limited::Memory(memory(value).ok_or_else(wrong)?),
        "cpu" => Limited::CpuMillis(cpu(value).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    Ok(Limit {
        service: service.to_owned(),
        what,
    })
}

/// Bytes, or with K, M or G.
fn memory(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "ki" | "kib" => 10,
        "m" | "mi" | "mib" => 20,
        "g" | "gi" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Cores such as 1.5, or thousandths such as 500m.
fn cpu(text: &str) -> Option<u32> {
    if let Some(millis) = text.strip_suffix('m') {
        return millis.parse().ok();
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(part)
}

fn revision(text: &str) -> Result<u64, String> {
    match text.strip_prefix('r').unwrap_or(text).parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write it as 3 or r3; see `shopctl store revisions`".to_owned()),
    }
}

fn replicas(text: &str) -> Result<(String, u32), String> {
    let wrong = || "write it as SERVICE=N, such as web=2".to_owned();
    let (service, count) = text.split_once('=').ok_or_else(wrong)?;
    let count = count.parse().map_err(|_| wrong())?;
    Ok((service.to_owned(), count))
}

fn label(text: &str) -> Result<(String, Option<String>), String> {
    if let Some(key) = text.strip_suffix('-').filter(|key| !key.contains('=')) {
        return Ok((key.to_owned(), None));
    }
    key_value(text)
        .map(|(key, value)| (key, Some(value)))
        .map_err(|_| "write it as KEY=VALUE, or KEY- to remove it".to_owned())
}

/// Seconds of `90`, `90s`, `30m`, `1h` or `2d`.
fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(factor))
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "write it as 30m, 1h or 2d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        let of = |text: &str| limit(text).map(|limit| (limit.service, limit.what));
        let php = |what| Ok(("php-fpm".to_owned(), what));
        assert_eq!(of("php-fpm.memory=512M"), php(Limited::Memory(512 << 20)));
        assert_eq!(of("php-fpm.cpu=1.5"), php(Limited::CpuMillis(1500)));
        assert_eq!(of("php-fpm.cpu=250m"), php(Limited::CpuMillis(250)));
        for bad in [
            "php-fpm=1",
            "php-fpm.disk=1",
            "php-fpm.memory=1T",
            "a.cpu=x",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_labels_and_revisions() {
        assert_eq!(seconds("1h"), Ok(3600));
        assert!(seconds("1w").is_err());
        assert!(seconds("0").is_err());
        assert_eq!(label("a-"), Ok(("a".to_owned(), None)));
        assert_eq!(label("a=b-"), Ok(("a".to_owned(), Some("b-".to_owned()))));
        assert_eq!(revision("r3"), Ok(3));
        assert!(revision("0").is_err());
    }
}
