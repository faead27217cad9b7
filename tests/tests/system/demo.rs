//! The drill that people run by hand (`deploy/demo chaos`), with its buttons pressed for them.

use std::time::Duration;

use shop_tests::process;
use shop_tests::repository::root;

const DRILL: Duration = Duration::from_secs(400);

#[test]
fn orders_go_on_while_buttons_are_pressed() -> anyhow::Result<()> {
    let program = root().join("deploy/demo");
    let args = [
        "chaos", "--press", "1,2,3,6", "--gap", "6", "--window", "10",
    ];
    let said = process::run(&program.to_string_lossy(), &args, DRILL)?.ok()?;
    let last = said
        .lines()
        .find(|line| line.starts_with("orders="))
        .unwrap_or_default();
    let figure = |name: &str| {
        last.split(' ').find_map(|pair| {
            pair.strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<u64>()
                .ok()
        })
    };
    println!("{last}");
    assert!(figure("orders") > Some(10), "{said}");
    assert_eq!(figure("failed_requests"), Some(0), "{said}");
    assert_eq!(figure("lost_carts"), Some(0), "{said}");
    for killed in ["the control plane", "the node agent", "the shop agent"] {
        assert!(said.contains(&format!("--- killed {killed}")), "{said}");
    }
    Ok(())
}
