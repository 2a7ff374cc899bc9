//! The program `busbar-bench`; its verbs are in [`busbar_bench::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    busbar_bench::cli::main()
}
