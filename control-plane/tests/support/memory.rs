//! Where a database is that lives as long as its test.

use tempfile::TempDir;

/// In memory, where there is such a place. On a disk that stands still for some seconds, because others write to it, the control plane rightly
/// refuses requests (`database_busy`), and that is not what the tests are about.
pub fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}
