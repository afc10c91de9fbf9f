//! gollmd: see `gollm::daemon`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gollm::daemon::main()
}
