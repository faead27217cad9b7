//! Generates the messages and services from the `.proto` files, without a system `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 7] = [
    "shopfleet/common/v1/common.proto",
    "shopfleet/enrollment/v1/enrollment.proto",
    "shopfleet/agent/v1/agent.proto",
    "shopfleet/node/v1/node.proto",
    "shopfleet/broker/v1/broker.proto",
    "shopfleet/admin/v1/operation.proto",
    "shopfleet/admin/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=shopfleet");
    let wire = env::var_os("CARGO_FEATURE_WIRE").is_some();
    let rpc = env::var_os("CARGO_FEATURE_RPC").is_some();
    if !wire {
        return Ok(());
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    let mut config = tonic_prost_build::Config::new();
    // Maps in a fixed order: two encodings of the same value are the same bytes.
    config.btree_map(["."]);
    tonic_prost_build::configure()
        .build_server(rpc)
        .build_client(rpc)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
