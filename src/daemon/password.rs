//! Takes `GOLLM_MASTER_PASSWORD` out of what `/proc/PID/environ` shows.
//!
//! That is the memory which execve(2) filled, out of the reach of safe code: the process starts itself anew, under the
//! same id, and hands the password to itself through a pipe.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use zeroize::Zeroizing;

use crate::environment::Environment;

/// The variable with the password.
const PASSWORD: &str = "GOLLM_MASTER_PASSWORD";

/// The variable with the number of the pipe's descriptor.
const DESCRIPTOR: &str = "GOLLM_MASTER_PASSWORD_FD";

/// Longest password, in bytes: what every pipe has room for while nobody reads (PIPE_BUF, pipe(7)).
const LONGEST: usize = 4096;

/// The environment of a process that shows no password; where it shows one, this starts it anew and does not return.
///
/// # Errors
/// The password is too long, or the system refuses a pipe or the new start.
pub(super) fn hide(environment: Environment, arguments: &[OsString]) -> io::Result<Environment> {
    match (environment.value(PASSWORD), environment.value(DESCRIPTOR)) {
        (Some(password), _) => Err(start_anew(password, arguments)),
        (None, Some(number)) => {
            let mut password = Zeroizing::new(String::with_capacity(LONGEST));
            File::open(Path::new("/dev/fd").join(number))?.take(LONGEST as u64).read_to_string(&mut password)?;
            Ok(environment.without(DESCRIPTOR).with(PASSWORD, password))
        }
        (None, None) => Ok(environment),
    }
}

/// Returns only with an error.
fn start_anew(password: &str, arguments: &[OsString]) -> io::Error {
    let start = || -> io::Result<io::Error> {
        if password.len() > LONGEST {
            return Err(io::Error::other(format!("it is longer than {LONGEST} bytes")));
        }
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(password.as_bytes())?;
        fcntl_setfd(&reader, FdFlags::empty())?;
        // By its path, so that the process keeps its name; that is gone where the program was replaced meanwhile.
        let path = std::env::current_exe()?;
        let path = if path.exists() { path } else { "/proc/self/exe".into() };
        let number = reader.as_raw_fd().to_string();
        Ok(Command::new(path).args(arguments.iter().skip(1)).env_remove(PASSWORD).env(DESCRIPTOR, number).exec())
    };
    start().unwrap_or_else(|why| why)
}
