//! The `smolq` command.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    smolq::cli::main(std::env::args_os())
}
