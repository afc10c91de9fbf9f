//! gollmctl: see `gollm::ctl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gollm::ctl::main()
}
