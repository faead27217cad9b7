//! The `shopctl` binary: parse, run, exit with what the outcome deserves.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    shopctl::run(shopctl::Cli::parse())
}
