//! The `steadfast` program: the gateway's daemon and its small tools.

fn main() -> std::process::ExitCode {
    steadfast_shell::cli::main()
}
