//! `time-to-ready`: from request to the first 200 of the deep check; ours, compose at 5 s and 1 s, and the floor, interleaved.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    compose::Compose,
    floor::Floor,
    ours,
    stats::{self, Series},
};

pub(super) const TEMPLATE: &str = "compose-templates/refshop/compose.yaml";
const SECRETS: [(&str, usize); 5] = [
    ("db_password", 32),
    ("db_root_password", 32),
    ("cache_password", 32),
    ("app_key", 64),
    ("admin_password", 20),
];

#[derive(Default)]
struct Figures {
    ours: Series,
    edge: Series,
    compose_5s: Series,
    compose_1s: Series,
    floor: Series,
    restart: Series,
    compose_restart: Series,
}

/// Runs `rounds` rounds and prints the table and the last line.
pub fn run(rounds: u32, root: &Path) -> anyhow::Result<()> {
    let secrets = make_secrets(root)?;
    let mut figures = Figures::default();
    // One unmeasured round warms images and page cache for everybody.
    for round in 0..=rounds {
        let counted = round > 0;
        let started = Instant::now();
        one_round(round, root, &secrets, counted.then_some(&mut figures))?;
        eprintln!(
            "round {round} of {rounds}: {:.0} s",
            started.elapsed().as_secs_f64()
        );
    }
    report(&figures)
}

/// Each round starts with another contender, so that a drift of the machine hits all alike.
fn one_round(
    round: u32,
    root: &Path,
    secrets: &Path,
    mut figures: Option<&mut Figures>,
) -> anyhow::Result<()> {
    for turn in 0..4 {
        match (round + turn) % 4 {
            0 => our_turn(round, figures.as_deref_mut())?,
            1 => {
                let peer =
                    Compose::prepare(Path::new(TEMPLATE), secrets, root, "bench5s", "5s", 1)?;
                let (up, again) = compose_turn(&peer)?;
                if let Some(figures) = figures.as_deref_mut() {
                    figures.compose_5s.push(up);
                    figures.compose_restart.push(again);
                }
            }
            2 => {
                let peer =
                    Compose::prepare(Path::new(TEMPLATE), secrets, root, "bench1s", "1s", 2)?;
                let started = Instant::now();
                let ready = peer.up();
                peer.down()?;
                if let Some(figures) = figures.as_deref_mut() {
                    figures.compose_1s.push(ready? - started);
                }
            }
            _ => {
                let floor = Floor {
                    project: "benchfloor".to_owned(),
                    subnet: 3,
                    secrets,
                };
                let started = Instant::now();
                let ready = floor.up();
                floor.down()?;
                if let Some(figures) = figures.as_deref_mut() {
                    figures.floor.push(ready? - started);
                }
            }
        }
    }
    Ok(())
}

fn our_turn(round: u32, figures: Option<&mut Figures>) -> anyhow::Result<()> {
    let name = format!("bench-{round}");
    let started = Instant::now();
    let ready = ours::create(&name)?;
    ours::stop(&name)?;
    let restarted = Instant::now();
    let again = ours::start(&name)?;
    ours::delete(&name)?;
    if let Some(figures) = figures {
        figures.ours.push(ready.direct - started);
        figures.edge.push(ready.edge - started);
        figures.restart.push(again.direct - restarted);
    }
    Ok(())
}

fn compose_turn(peer: &Compose) -> anyhow::Result<(std::time::Duration, std::time::Duration)> {
    let started = Instant::now();
    let up = peer.up()? - started;
    peer.stop()?;
    let started = Instant::now();
    let again = peer.up()? - started;
    peer.down()?;
    Ok((up, again))
}

pub(super) fn make_secrets(root: &Path) -> anyhow::Result<PathBuf> {
    let directory = root.join("secrets");
    fs::create_dir_all(&directory)?;
    for (name, length) in SECRETS {
        // Throw-away shops on this machine; readable by whatever uid the images run under.
        let text: String = fs::read("/proc/sys/kernel/random/uuid")?
            .into_iter()
            .filter(u8::is_ascii_hexdigit)
            .map(char::from)
            .cycle()
            .take(length)
            .collect();
        fs::write(directory.join(name), text)?;
    }
    Ok(directory)
}

fn report(figures: &Figures) -> anyhow::Result<()> {
    println!("{}", stats::heading());
    println!("{}", figures.ours.row("ours, at the web container"));
    println!("{}", figures.edge.row("ours, through the edge"));
    println!("{}", figures.compose_5s.row("compose, checks every 5 s"));
    println!("{}", figures.compose_1s.row("compose, checks every 1 s"));
    println!("{}", figures.floor.row("floor: raw engine client"));
    println!("{}", figures.restart.row("ours, stop to start"));
    println!(
        "{}",
        figures.compose_restart.row("compose 5 s, stop to start")
    );
    let (ours, floor) = (figures.ours.median(), figures.floor.median());
    let one_second = figures.compose_1s.median();
    anyhow::ensure!(
        floor < one_second,
        "void: the floor client ({floor:.0} ms) did not beat compose at 1 s ({one_second:.0} ms)"
    );
    println!(
        "ready_ms={ours:.0} edge_ready_ms={:.0} vs_compose_5s={:.2} vs_compose_1s={:.2} vs_floor={:.2} restart_ms={:.0} restart_vs_compose_5s={:.2}",
        figures.edge.median(),
        ours / figures.compose_5s.median(),
        ours / one_second,
        ours / floor,
        figures.restart.median(),
        figures.restart.median() / figures.compose_restart.median(),
    );
    Ok(())
}
