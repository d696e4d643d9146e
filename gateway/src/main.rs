//! `fairway`: the command line.

/// Keeps values of one size together, so that tenants read one after the other lie one after the other. The
/// system's allocator strews them over what parsing left behind: checking and compiling 100,000 tenants takes
/// two to four times as long then, most of it misses of caches (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    gateway::cli::main()
}
