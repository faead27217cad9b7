//! Which images may run on this host in place of a template's own: what every node allows, and what its administrator wrote into the file
//! `allowed-images` of the node's state directory. The control plane hears of it and has no way to change it.
//!
//! The file is read anew each time, so a line counts as soon as it is written. One that cannot be read allows nothing.

use std::sync::Arc;

use shop_plan::{AllowedImages, Permission, StorePlan};
use shop_proto::ServiceName;

use super::{
    context::Node,
    docker::EngineError,
    outbox::Reason,
    paths::Paths,
    state::{StoreRecord, files},
    tasks::blocking,
};

/// More than the file of a person has.
const MAX_BYTES: usize = 64 << 10;

/// Why an image does not run in place of the template's.
#[derive(Debug, thiserror::Error)]
pub enum ImageRefused {
    /// No rule fits.
    #[error(
        "this node does not allow image {image}; it allows {allowed}. Its administrator adds a line to {file} on that host"
    )]
    NotAllowed {
        /// Which one.
        image: String,
        /// What is allowed.
        allowed: String,
        /// Where that is written.
        file: String,
    },
    /// A rule fits by name, but what has that name here is something else.
    #[error(
        "this node allows image {0} with other content than it has here; its administrator changes the digest in the allow-list, or the image"
    )]
    OtherContent(String),
    /// The image could not be looked at.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The list as it is now.
pub async fn list(node: &Node) -> AllowedImages {
    let paths = Arc::new(node.paths.clone());
    blocking(&paths, read).await.unwrap_or_default()
}

fn read(paths: &Paths) -> AllowedImages {
    let file = paths.allowed_images_file();
    let text = match files::read(&file) {
        Ok(None) => return AllowedImages::builtin(),
        Ok(Some(bytes)) if bytes.len() > MAX_BYTES => Err("it is too long".to_owned()),
        Ok(Some(bytes)) => String::from_utf8(bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match text.and_then(|text| AllowedImages::read(&text).map_err(|error| error.to_string())) {
        Ok(allowed) => allowed,
        Err(problem) => {
            tracing::error!(file = %file.display(), problem, "the allow-list of images cannot be read; nothing of it counts");
            AllowedImages::builtin()
        }
    }
}

/// Whether an image may run in place of the template's own.
///
/// # Errors
/// When it may not, or nobody can tell.
pub async fn check(node: &Node, own: &str, image: &str) -> Result<(), ImageRefused> {
    let allowed = list(node).await;
    match allowed.permission(own, image) {
        Permission::Granted => Ok(()),
        Permission::Denied => Err(ImageRefused::NotAllowed {
            image: image.to_owned(),
            allowed: allowed.to_string(),
            file: node.paths.allowed_images_file().display().to_string(),
        }),
        Permission::ByContent(wanted) => {
            let here = node.engine.image_digests(image).await?;
            let here = here.ok_or(EngineError::ImageMissing)?;
            if here.iter().any(|digest| wanted.contains(digest)) {
                Ok(())
            } else {
                Err(ImageRefused::OtherContent(image.to_owned()))
            }
        }
    }
}

/// Whether an order's images may run here and are here, so that it is refused as a whole before anything of it is begun. What is in force
/// already is no reason: a store whose image was taken off the list can still be stopped, or updated to another one.
///
/// # Errors
/// With the code that the control plane knows it by.
pub async fn of_order(
    node: &Node,
    record: Option<&StoreRecord>,
    plan: &StorePlan,
) -> Result<(), Reason> {
    for (service, own, image) in plan.overrides() {
        if record.is_some_and(|record| in_force(record, service, image)) {
            continue;
        }
        let refused = match check(node, own, image).await {
            Ok(()) => {
                let missing =
                    record.is_some() && matches!(node.engine.image_id(image).await, Ok(None));
                missing.then_some(ImageRefused::Engine(EngineError::ImageMissing))
            }
            Err(refused) => Some(refused),
        };
        match refused {
            None => {}
            // A store that is new waits for its image like for those of the template; one that serves goes on as it is.
            Some(ImageRefused::Engine(EngineError::ImageMissing)) if record.is_some() => {
                return Err(Reason {
                    code: "image_missing",
                    message: format!(
                        "image {image} of {service} is not on this node; bring it there, then update again"
                    ),
                });
            }
            Some(ImageRefused::Engine(error)) => {
                tracing::debug!(%error, image, "not looked at; its container will tell");
            }
            Some(refused) => {
                return Err(Reason {
                    code: "image_not_allowed",
                    message: format!("{service}: {refused}"),
                });
            }
        }
    }
    Ok(())
}

fn in_force(record: &StoreRecord, service: &ServiceName, image: &str) -> bool {
    let chosen = |accepted: &super::state::Accepted| {
        accepted
            .spec
            .revision
            .images
            .get(service)
            .is_some_and(|chosen| chosen == image)
    };
    record.serving.as_ref().is_some_and(chosen) || chosen(&record.newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "shopfleet/refshop-php-fpm:1";
    const FOREIGN: &str = "example/php:8.2";

    #[test]
    fn the_administrator_s_file_adds_to_what_every_node_allows() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path(), root.path(), &"node01".parse().unwrap());
        let allows = |image| read(&paths).permission(OWN, image) == Permission::Granted;
        assert!(allows("shopfleet/refshop-php-fpm:2") && !allows(FOREIGN));
        std::fs::create_dir_all(paths.state()).unwrap();
        std::fs::write(paths.allowed_images_file(), "example/php:8.*\n").unwrap();
        assert!(allows("shopfleet/refshop-php-fpm:2") && allows(FOREIGN));
    }

    #[test]
    fn a_file_that_cannot_be_read_allows_nothing_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path(), root.path(), &"node01".parse().unwrap());
        std::fs::create_dir_all(paths.state()).unwrap();
        let long = format!("example/php\n{}", "#".repeat(MAX_BYTES));
        for bad in [
            b"example/php\nno rule!" as &[u8],
            b"example/php\n\xff",
            long.as_bytes(),
        ] {
            std::fs::write(paths.allowed_images_file(), bad).unwrap();
            let allowed = read(&paths);
            assert_eq!(allowed, AllowedImages::builtin());
            assert_eq!(allowed.permission(OWN, FOREIGN), Permission::Denied);
        }
    }
}
