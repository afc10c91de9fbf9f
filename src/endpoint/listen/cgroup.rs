//! Control groups (cgroups(7), version 2): where a process is, for which its user can't stand in.

#[cfg(target_os = "linux")]
use std::fs;
use std::path::{Path, PathBuf};

/// Where the tree of control groups is.
const ROOT: &str = "/sys/fs/cgroup";

/// Groups that are looked at to find one by its id.
#[cfg(target_os = "linux")]
const LOOKED_AT_MAX: usize = 4_000;

/// The control group of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cgroup {
    /// By its path from the root, such as `/system.slice/app.service`.
    Path(String),
    /// By its id, which is the number of its directory.
    Id(u64),
}

impl Cgroup {
    /// Is it the group at `path`, or below it?
    #[must_use]
    pub fn is_within(&self, path: &str) -> bool {
        match self {
            Cgroup::Path(own) => own.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Cgroup::Id(id) => find(&Path::new(ROOT).join(path.trim_start_matches('/')), *id).is_some(),
        }
    }

    /// Its path, where it can be found.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        match self {
            Cgroup::Path(own) => Some(own.clone()),
            Cgroup::Id(id) => {
                let found = find(Path::new(ROOT), *id)?;
                let below = found.strip_prefix(ROOT).ok()?.to_str()?;
                Some(format!("/{below}"))
            }
        }
    }

    /// The service of the system's manager that it belongs to. Not one of a user's own, which may have any name; nor one that was made
    /// for a single command, of which there is no end.
    #[must_use]
    pub fn system_service(&self) -> Option<String> {
        let found = match self {
            Cgroup::Path(own) => own.clone(),
            Cgroup::Id(id) => {
                let found = find(&Path::new(ROOT).join("system.slice"), *id)?;
                format!("/{}", found.strip_prefix(ROOT).ok()?.to_str()?)
            }
        };
        let below = found.strip_prefix("/system.slice/")?;
        let lasts = |part: &&str| part.ends_with(".service") && !part.starts_with("run-");
        below.split('/').find(lasts).map(str::to_owned)
    }

    /// The systemd unit that it belongs to: the last part of its path that is one.
    #[must_use]
    pub fn unit(&self) -> Option<String> {
        let path = self.path()?;
        let is_unit = |part: &&str| [".service", ".scope", ".socket"].iter().any(|kind| part.ends_with(kind));
        path.split('/').rev().find(is_unit).map(str::to_owned)
    }
}

/// The group of that id, at `top` or below it.
#[cfg(target_os = "linux")]
fn find(top: &Path, id: u64) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let mut left = vec![top.to_path_buf()];
    for _ in 0..LOOKED_AT_MAX {
        let group = left.pop()?;
        if fs::metadata(&group).is_ok_and(|found| found.is_dir() && found.ino() == id) {
            return Some(group);
        }
        let below = fs::read_dir(&group).into_iter().flatten().flatten();
        left.extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    None
}

#[cfg(not(target_os = "linux"))]
const fn find(_: &Path, _: u64) -> Option<PathBuf> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_its_whole_path() {
        let at = |path: &str| Cgroup::Path(path.to_owned());
        assert!(at("/system.slice/app.service").is_within("/system.slice/app.service"));
        assert!(at("/system.slice/app.service/worker").is_within("/system.slice/app.service"));
        assert!(!at("/system.slice/app.service2").is_within("/system.slice/app.service"));
        assert!(!at("/user.slice/user-1000.slice/user@1000.service/app.slice/app.service").is_within("/system.slice/app.service"));
        assert_eq!(at("/user.slice/user-1000.slice/user@1000.service/app.slice/app.service").unit().as_deref(), Some("app.service"));
        assert_eq!(at("/").unit(), None);
        let service = |path: &str| at(path).system_service();
        assert_eq!(service("/system.slice/app.service/worker").as_deref(), Some("app.service"));
        assert_eq!(service("/system.slice/system-app.slice/app@1.service").as_deref(), Some("app@1.service"));
        assert_eq!(service("/system.slice/run-u7.service"), None);
        assert_eq!(service("/user.slice/user-1000.slice/user@1000.service/app.slice/app.service"), None);
        assert!(!Cgroup::Id(u64::MAX).is_within("/"));
    }
}
