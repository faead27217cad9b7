//! Every target over its kept inputs and some thousand changes of them: what the fuzzer found once is judged at every run of the tests.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use shop_fuzz::{Target, change::Chance, target, targets};

/// Judges an input; one that breaks something is shown as it can be kept.
fn judge(target: &Target, input: &[u8], of: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.judge)(input))) {
        eprintln!("{}, {of}: {}", target.name, input.escape_ascii());
        resume_unwind(panic);
    }
}

fn run(name: &str) {
    let target = target(name).expect("there is such a target");
    let kept = target.kept().expect("its inputs can be read");
    assert!(!kept.is_empty(), "{name} has nothing to begin with");
    for input in &kept {
        judge(&target, input, "a kept input");
    }
    judge(&target, b"", "the empty input");
    let mut chance = Chance::new(20_261_121);
    for number in 0..target.cost.changes() {
        judge(&target, &chance.changed(&kept), &format!("change {number}"));
    }
}

macro_rules! each {
    ($($name:ident)+) => {
        const TESTED: &[&str] = &[$(stringify!($name)),+];
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )+
    };
}

each! {
    names token addresses
    node_session agent_session orders spec broker error_details
    template choices images schedule task_arguments
    roster own_roster key_file sealed sealed_request
    vault_file vault_content ledger credential probes database
    node_state archive access_log kernel_tables visitors resolvers routes docker_answers
    names_file dns dns_stream certificate_asked
    config certificates bodies queries headers
    contexts command_line audit_chain terminal
}

#[test]
fn every_target_is_run_and_every_folder_is_a_target_s() {
    let names: BTreeSet<String> = targets().iter().map(|it| it.name.to_owned()).collect();
    assert_eq!(names.len(), targets().len(), "two targets share a name");
    assert_eq!(names, TESTED.iter().map(|it| (*it).to_owned()).collect());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in fs::read_dir(corpus).expect("the corpus is there") {
        let folder = entry.expect("a folder").file_name();
        let folder = folder.to_string_lossy();
        assert!(names.contains(&*folder), "{folder} is no target's");
    }
}
