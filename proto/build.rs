//! Compiles `proto/*.proto` with `protox`, a protobuf compiler in Rust, so that no `protoc` has to be installed.

use std::error::Error;

const FILES: &[&str] = &["proto/vault.proto", "proto/access.proto", "proto/job.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(FILES, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    Ok(())
}
