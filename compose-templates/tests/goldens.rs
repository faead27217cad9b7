//! Every built-in template under every choice of profiles, byte for byte. `UPDATE_GOLDENS=1` writes new ones; a released one never changes.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use shop_plan::{Catalogue, Choices, RENDER_VERSIONS, StorePlan, Template, lint, render};
use shop_proto::Isolation;

fn plan(template: &Template, profiles: &BTreeMap<String, String>, version: u32) -> StorePlan {
    let choices = Choices {
        parameters: template.examples(),
        profiles: profiles.clone(),
        ..Choices::default()
    };
    let revision = template
        .revision(1, &choices, Isolation::Standard)
        .expect("a declared choice fits");
    let store = "k3v9q2m8x1aa".parse().expect("a store id");
    render(&store, &revision, template, version).expect("a declared choice renders")
}

fn golden(template: &Template, profiles: &BTreeMap<String, String>, version: u32) -> PathBuf {
    let choices: Vec<&str> = profiles.values().map(String::as_str).collect();
    let name = format!("{}-{}-v{version}.json", template.name, choices.join("-"));
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens")
        .join(name)
}

#[test]
fn renderings_are_frozen() {
    let update = env::var_os("UPDATE_GOLDENS").is_some();
    for template in Catalogue::builtin().iter() {
        for profiles in template.profile_combinations() {
            for version in RENDER_VERSIONS {
                let plan = plan(template, &profiles, *version);
                assert_eq!(lint(&plan), Vec::new());
                let text = serde_json::to_string_pretty(&plan).expect("a plan serialises") + "\n";
                let path = golden(template, &profiles, *version);
                if update {
                    fs::create_dir_all(path.parent().expect("goldens are in a folder"))
                        .expect("the folder can be made");
                    fs::write(&path, &text).expect("the golden can be written");
                }
                let frozen = fs::read_to_string(&path).unwrap_or_default();
                assert!(frozen == text, "{} differs; now:\n{text}", path.display());
                let read: StorePlan = serde_json::from_str(&frozen).expect("a golden reads back");
                assert_eq!(read.digest(), plan.digest());
            }
        }
    }
}

#[test]
fn every_folder_on_disk_is_built_in() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut on_disk: Vec<String> = fs::read_dir(&root)
        .expect("the crate's folder can be read")
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("compose.yaml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    on_disk.sort();
    let built_in: Vec<String> = Catalogue::builtin()
        .iter()
        .map(|template| template.name.clone())
        .collect();
    assert_eq!(
        built_in, on_disk,
        "each template folder has its line in src/catalogue.rs, in order"
    );
}
