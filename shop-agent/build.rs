//! One linker option: relative relocations are packed. A static position-independent binary has tens of thousands of
//! them, which otherwise take two thirds of a megabyte in every store. The C library understands them since 2.36.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
