//! `fairway`: the command line.

fn main() -> std::process::ExitCode {
    gateway::cli::main()
}
