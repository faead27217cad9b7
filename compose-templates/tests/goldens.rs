//! Every built-in template under every choice of profiles, byte for byte. `UPDATE_GOLDENS=1` writes new ones; a released one never changes.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

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
    // The first version of a template had its name to itself.
    let of_version = match template.version.as_str() {
        "1.0.0" => template.name.clone(),
        later => format!("{}-{later}", template.name),
    };
    let name = format!("{of_version}-{}-v{version}.json", choices.join("-"));
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
    let mut on_disk: Vec<String> = folders(&root)
        .into_iter()
        .flat_map(|folder| {
            let inside = folders(&folder);
            [folder].into_iter().chain(inside)
        })
        .filter(|folder| folder.join("compose.yaml").is_file())
        .map(|folder| fs::read_to_string(folder.join("compose.yaml")).expect("it can be read"))
        .map(|text| {
            let of = |key: &str| {
                let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
                line.expect("a manifest has it").trim().to_owned()
            };
            format!("{}@{}", of("template:"), of("version:"))
        })
        .collect();
    on_disk.sort();
    let built_in: Vec<String> = Catalogue::builtin()
        .iter()
        .map(|template| format!("{}@{}", template.name, template.version))
        .collect();
    assert_eq!(
        built_in, on_disk,
        "each template folder has its line in src/catalogue.rs, in order"
    );
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    fs::read_dir(parent)
        .expect("a folder can be read")
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// A store on either of these is asked for by these digests: a change of template or rendering that moves one moves every such store.
#[test]
fn plans_of_the_first_release_have_not_moved() {
    let released = [
        (
            "refshop@1",
            "none-apache",
            "64bd521a57ebbcf62e3b31083bc7b5f88de3f4f59b2901248b04e36638233dcb",
        ),
        (
            "refshop@1",
            "none-nginx",
            "194c89784f9a944f8732f6fc977fa1bef66f69816d5597d56c3246fd4ec1db47",
        ),
        (
            "refshop@1",
            "sphinx-apache",
            "3d0341d395afb415c5582df7e5695775cf0e7569feb3b4f15b1a1568b09ab036",
        ),
        (
            "refshop@1",
            "sphinx-nginx",
            "5152a62bf974ee854b3082636da04810c3c8789a75f3f9de3f5fae83a1351aaa",
        ),
        (
            "wordpress@1",
            "image-apache",
            "c43f671ef8fc1ffc9fd4ff0cb55db2f26191bc5049611e192e27d1e7d8f3bb43",
        ),
        (
            "wordpress@1",
            "image-nginx",
            "573627975229b148b21f5f8e087db211381d1a50d518e72a9563b62d19af5d9d",
        ),
        (
            "wordpress@1",
            "volume-apache",
            "ae809430cad424e1913d934d6340a90fdc3300f8a1e80531e7bcbd69dd9f8a8a",
        ),
        (
            "wordpress@1",
            "volume-nginx",
            "d16c1bfffabff309b804a6d15811421f475fc8481896ce1ebf7d1c8b884a78a0",
        ),
    ];
    for (reference, choices, digest) in released {
        let template = Catalogue::builtin().find(reference).expect("a template");
        let combinations = template.profile_combinations();
        let of = |profiles: &&BTreeMap<String, String>| {
            let names: Vec<&str> = profiles.values().map(String::as_str).collect();
            names.join("-") == choices
        };
        let profiles = combinations.iter().find(of).expect("a combination");
        assert_eq!(
            plan(template, profiles, 1).digest().to_string(),
            digest,
            "{reference} {choices}"
        );
    }
}
