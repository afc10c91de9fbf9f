//! May this caller use a provider, do this admin's act? Unless a rule says so, no.

mod names;

use std::fmt;
use std::sync::Arc;

use crate::endpoint::listen::{Audience, Peer};
use crate::id::{ProviderName, Uid, UnitName};
use crate::limits::Limits;
use crate::policy::{AccessPolicy, ClientRule, Who};
use crate::protocol::reply::Role;
use crate::protocol::request::Op;

pub use names::{Account, Names};

/// Who may do what. Names of users and groups are numbers here: a process is never known by a name.
#[derive(Debug, Clone)]
pub struct Access {
    served: Served,
    admin_users: Vec<Uid>,
    admin_groups: Vec<u32>,
    clients: Vec<Client>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Root, this user, which is the daemon's own, and whom the rules name.
    Own(Uid),
    /// Everybody who could connect.
    Connected,
}

/// A rule for clients.
#[derive(Debug, Clone)]
struct Client {
    user: Option<User>,
    group: Option<u32>,
    unit: Option<String>,
    grants: Arc<Grants>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    Any,
    Only(Uid),
}

/// Is a rule for a process?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// What it asks for is not known of the process.
    Unknown,
}

/// What a rule lets its callers do.
#[derive(Debug, PartialEq)]
pub struct Grants {
    /// The rule, in words.
    pub rule: String,
    /// Providers whose keys may be used; none: all.
    pub providers: Option<Vec<ProviderName>>,
    /// Limits of each of its callers by itself.
    pub limits: Limits,
    /// May it see a key?
    pub reveal: bool,
}

/// A caller and what it may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// Its user id, from the kernel.
    pub uid: Uid,
    /// The system's unit that its process is in, where it is in one and the kernel says so.
    pub unit: Option<UnitName>,
    /// What it may do.
    pub role: Role,
    /// The rule that made it so.
    pub grants: Arc<Grants>,
}

impl Grants {
    /// Of a rule that limits nothing.
    fn whole(rule: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { rule: rule.into(), providers: None, limits: Limits::default(), reveal: true })
    }
}

impl Access {
    /// The rules of a daemon that runs as user `own`; without any, the members of the group that its socket was made for are clients. Names that the system does not know fit nobody; what is to be said of them comes
    /// beside.
    #[must_use]
    pub fn of(own: Uid, policy: Option<&AccessPolicy>, socket_group: Option<u32>, names: &dyn Names) -> (Self, Vec<String>) {
        let mut access = Self { served: Served::Own(own), admin_users: Vec::new(), admin_groups: Vec::new(), clients: Vec::new() };
        let mut warnings = Vec::new();
        let Some(policy) = policy else {
            let members = |group| Client { user: None, group: Some(group), unit: None, grants: Grants::whole("a member of the socket's group") };
            access.clients.extend(socket_group.map(members));
            return (access, warnings);
        };
        let mut user = |who: &Who| found(names.user(&who.0), "user", who, &mut warnings).map(Uid);
        access.admin_users = policy.admin_users.iter().filter_map(&mut user).collect();
        let users: Vec<Option<Uid>> = policy.clients.iter().map(|rule| rule.user.as_ref().filter(|who| who.0 != "*").and_then(&mut user)).collect();
        let mut group = |who: &Who| found(names.group(&who.0), "group", who, &mut warnings);
        access.admin_groups = policy.admin_groups.iter().filter_map(&mut group).collect();
        for ((number, rule), user) in policy.clients.iter().enumerate().zip(users) {
            access.clients.extend(client(number, rule, user, &mut group));
        }
        (access, warnings)
    }

    /// The rules where callers have no user ids: a pipe that only its owner, administrators and SYSTEM can open has decided.
    #[must_use]
    pub const fn of_all_who_connect() -> Self {
        Self { served: Served::Connected, admin_users: Vec::new(), admin_groups: Vec::new(), clients: Vec::new() }
    }

    /// Who must be able to connect. What they may do there is decided for each by itself.
    #[must_use]
    pub fn audience(&self) -> Audience {
        let named = !self.admin_users.is_empty() || !self.admin_groups.is_empty();
        let groups: Vec<u32> = self.clients.iter().filter_map(|client| client.group.filter(|_| client.user.is_none())).collect();
        match groups.as_slice() {
            [] if !named && self.clients.is_empty() => Audience::Owner,
            [one, rest @ ..] if !named && groups.len() == self.clients.len() && rest.iter().all(|other| other == one) => Audience::Group(*one),
            _ => Audience::Everyone,
        }
    }

    /// What a process may do. In which unit it is, whoever asks adds: finding that may take a look at the disk.
    #[must_use]
    pub fn admit(&self, peer: &Peer) -> Caller {
        let uid = peer.uid;
        let admin = |rule: &str| Caller { uid, unit: None, role: Role::Admin, grants: Grants::whole(rule) };
        match self.served {
            Served::Connected => return admin("whoever can open the pipe"),
            Served::Own(own) if uid == own => return admin("the daemon's own user"),
            Served::Own(_) if uid == Uid(0) => return admin("root"),
            Served::Own(_) => {}
        }
        if self.admin_users.contains(&uid) {
            return admin("access.admins.users");
        }
        if self.admin_groups.iter().any(|group| peer.is_in(*group)) {
            return admin("access.admins.groups");
        }
        let nobody = |why: &str| Caller { uid, unit: None, role: Role::None, grants: Grants::whole(why) };
        for client in &self.clients {
            match client.fits(peer) {
                Fit::Yes => return Caller { uid, unit: None, role: Role::Client, grants: Arc::clone(&client.grants) },
                Fit::No => {}
                // A rule that may be meant for it must not be passed over for a wider one.
                Fit::Unknown => return nobody("the kernel does not say in which unit it is, and a rule asks for one"),
            }
        }
        nobody("no rule")
    }
}

/// The number that a name stands for.
fn found(number: Option<u32>, what: &str, who: &Who, warnings: &mut Vec<String>) -> Option<u32> {
    if number.is_none() {
        warnings.push(format!("access: there is no {what} `{}` on this machine: what is written for it holds for nobody", who.0));
    }
    number
}

/// A rule, unless it is for somebody who is not there.
fn client(number: usize, rule: &ClientRule, user: Option<Uid>, group: &mut impl FnMut(&Who) -> Option<u32>) -> Option<Client> {
    let user = match &rule.user {
        None => None,
        Some(who) if who.0 == "*" => Some(User::Any),
        Some(_) => Some(User::Only(user?)),
    };
    let group = match &rule.group {
        None => None,
        Some(who) => Some(group(who)?),
    };
    let grants = Grants {
        rule: format!("access.clients[{number}], {}", Words(rule)),
        providers: rule.providers.clone(),
        limits: Limits { rate: rule.rate_limit, cost: rule.cost_limit },
        reveal: rule.reveal,
    };
    Some(Client { user, group, unit: rule.unit.as_deref().map(whole_path), grants: Arc::new(grants) })
}

/// A unit of the system's manager by its control group; never by its name alone, which every user can give to a unit of its own.
#[must_use]
pub fn whole_path(unit: &str) -> String {
    match unit.split_once('@') {
        _ if unit.starts_with('/') => unit.to_owned(),
        // systemd puts the instances of a template into a slice of their own, in whose name a dash is a level.
        Some((template, _)) => format!("/system.slice/system-{}.slice/{unit}", template.replace('-', "\\x2d")),
        None => format!("/system.slice/{unit}"),
    }
}

/// What a rule asks for.
struct Words<'a>(&'a ClientRule);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientRule { user, group, unit, .. } = self.0;
        let parts =
            [("user", user.as_ref().map(|who| who.0.as_str())), ("group", group.as_ref().map(|who| who.0.as_str())), ("unit", unit.as_deref())];
        let parts: Vec<String> = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
        f.write_str(&parts.join(" and "))
    }
}

impl Client {
    fn fits(&self, peer: &Peer) -> Fit {
        let user = self.user.is_none_or(|user| user == User::Any || user == User::Only(peer.uid));
        let group = self.group.is_none_or(|group| peer.is_in(group));
        match (&self.unit, &peer.cgroup) {
            _ if !user || !group => Fit::No,
            (None, _) => Fit::Yes,
            (Some(_), None) => Fit::Unknown,
            (Some(unit), Some(cgroup)) if cgroup.is_within(unit) => Fit::Yes,
            (Some(_), Some(_)) => Fit::No,
        }
    }
}

impl Caller {
    /// May it ask for `op`?
    #[must_use]
    pub fn may(&self, op: &Op) -> bool {
        self.role >= needed(op) && (self.grants.reveal || !matches!(op, Op::Select(_) | Op::Renew(_) | Op::Record(_)))
    }

    /// May it use keys of a provider, and see what becomes of them?
    #[must_use]
    pub fn may_use(&self, provider: &ProviderName) -> bool {
        self.role == Role::Admin || self.grants.providers.as_ref().is_none_or(|providers| providers.contains(provider))
    }

    /// May it settle a lease of `owner`?
    #[must_use]
    pub fn may_settle(&self, owner: Uid) -> bool {
        self.role == Role::Admin || (self.role == Role::Client && self.uid == owner)
    }
}

const fn needed(op: &Op) -> Role {
    match op {
        Op::Whoami => Role::None,
        Op::Select(_)
        | Op::Explain(_)
        | Op::Report(_)
        | Op::Renew(_)
        | Op::Record(_)
        | Op::Status
        | Op::Keys(_)
        | Op::Statistics(_)
        | Op::Health
        | Op::Subscribe(_)
        | Op::Alerts => Role::Client,
        Op::Lock
        | Op::Unlock(_)
        | Op::ChangePassword(_)
        | Op::Slots
        | Op::SlotAdd(_)
        | Op::SlotRemove(_)
        | Op::Audit(_)
        | Op::Rekey
        | Op::AlertTest
        | Op::Export
        | Op::Backup(_)
        | Op::BackupPart(_)
        | Op::RestorePart(_)
        | Op::Restore(_)
        | Op::Access(_)
        | Op::Validate(_)
        | Op::KeySet(_)
        | Op::KeyRemove(_)
        | Op::KeyEnable(_)
        | Op::KeyDisable(_)
        | Op::Reload => Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::listen::Cgroup;
    use std::collections::BTreeMap;

    struct Known(BTreeMap<&'static str, u32>);

    impl Names for Known {
        fn user(&self, name: &str) -> Option<u32> {
            self.0.get(name).copied()
        }

        fn group(&self, name: &str) -> Option<u32> {
            self.0.get(name).copied()
        }
    }

    fn peer(uid: u32, gid: u32, groups: &[u32], cgroup: Option<&str>) -> Peer {
        Peer { uid: Uid(uid), gid, groups: groups.into(), pid: None, cgroup: cgroup.map(|path| Cgroup::Path(path.to_owned())) }
    }

    fn who(name: &str) -> Option<Who> {
        Some(Who(name.to_owned()))
    }

    fn access(policy: Option<AccessPolicy>) -> (Access, Vec<String>) {
        let known = Known([("alice", 1001), ("bob", 1002), ("ops", 500), ("staff", 501)].into());
        Access::of(Uid(900), policy.as_ref(), None, &known)
    }

    fn rules() -> AccessPolicy {
        let rule = |rule: ClientRule| ClientRule { reveal: true, ..rule };
        AccessPolicy {
            admin_users: who("alice").into_iter().collect(),
            admin_groups: who("ops").into_iter().collect(),
            clients: vec![
                rule(ClientRule { unit: Some("app.service".to_owned()), user: who("*"), rate_limit: Some(1), ..ClientRule::default() }),
                rule(ClientRule { user: who("nobody-here"), ..ClientRule::default() }),
                ClientRule { user: who("bob"), providers: Some(vec!["openai".parse().unwrap()]), reveal: false, ..ClientRule::default() },
                rule(ClientRule { group: who("staff"), ..ClientRule::default() }),
            ],
        }
    }

    #[test]
    fn without_rules_root_and_the_daemons_user_are_served_and_nobody_else() {
        let (access, warnings) = access(None);
        for (uid, role) in [(0, Role::Admin), (900, Role::Admin), (1001, Role::None)] {
            assert_eq!(access.admit(&peer(uid, 0, &[], None)).role, role, "{uid}");
        }
        assert_eq!((access.audience(), warnings), (Audience::Owner, Vec::new()));
        let stranger = access.admit(&peer(1001, 1001, &[], None));
        assert!(stranger.may(&Op::Whoami) && !stranger.may(&Op::Status) && !stranger.may(&Op::Reload) && !stranger.may_settle(Uid(1001)));
    }

    #[test]
    fn a_socket_that_was_made_for_a_group_is_for_its_members_where_no_rule_says_more() {
        let known = Known(BTreeMap::new());
        let role = |policy: Option<&AccessPolicy>| Access::of(Uid(900), policy, Some(77), &known).0.admit(&peer(7, 1, &[77], None)).role;
        assert_eq!((role(None), role(Some(&AccessPolicy::default()))), (Role::Client, Role::None));
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_all_of_it_must() {
        let (access, warnings) = access(Some(rules()));
        assert_eq!(warnings, ["access: there is no user `nobody-here` on this machine: what is written for it holds for nobody"]);
        let rule = |uid, gid, groups: &[u32], cgroup| {
            let caller = access.admit(&peer(uid, gid, groups, cgroup));
            (caller.role, caller.grants.rule.clone())
        };
        assert_eq!(rule(1001, 1, &[], None).0, Role::Admin);
        assert_eq!(rule(7, 1, &[9, 500], None), (Role::Admin, "access.admins.groups".to_owned()));
        assert_eq!(rule(7, 1, &[501], Some("/")), (Role::Client, "access.clients[3], group staff".to_owned()));
        assert_eq!(rule(1002, 501, &[], Some("/")), (Role::Client, "access.clients[2], user bob".to_owned()));
        assert_eq!(rule(1002, 501, &[], Some("/system.slice/app.service/x")).1, "access.clients[0], user * and unit app.service");
        // A unit of a user's own has the name, and is another.
        assert_eq!(rule(7, 1, &[], Some("/user.slice/user-7.slice/user@7.service/app.slice/app.service")).0, Role::None);
        assert_eq!(rule(7, 1, &[], Some("/")), (Role::None, "no rule".to_owned()));
        // Of whom the kernel does not say where it is, a rule that may be for it is not passed over.
        assert_eq!(rule(1002, 501, &[], None).0, Role::None);
        // A rule for somebody who is not there lets nobody in, not everybody.
        assert_eq!(access.clients.len(), 3);
        assert_eq!(access.audience(), Audience::Everyone);
    }

    #[test]
    fn a_client_uses_its_own_providers_and_sees_no_key_where_its_rule_says_so() {
        let (access, _) = access(Some(rules()));
        let bob = access.admit(&peer(1002, 1002, &[], Some("/")));
        let select = Op::Select(crate::protocol::request::Select::any("openai".parse().unwrap()));
        assert!(bob.may(&Op::Status) && !bob.may(&select) && !bob.may(&Op::Reload));
        assert!(bob.may_use(&"openai".parse().unwrap()) && !bob.may_use(&"gemini".parse().unwrap()));
        assert!(bob.may_settle(Uid(1002)) && !bob.may_settle(Uid(1001)));
        let root = access.admit(&peer(0, 0, &[], None));
        assert!(root.may(&select) && root.may_use(&"gemini".parse().unwrap()) && root.may_settle(Uid(5)));
    }

    #[test]
    fn a_units_control_group_is_where_systemd_puts_it() {
        assert_eq!(whole_path("app.service"), "/system.slice/app.service");
        assert_eq!(whole_path("web-app@one.service"), "/system.slice/system-web\\x2dapp.slice/web-app@one.service");
        assert_eq!(whole_path("/a.slice/b"), "/a.slice/b");
    }

    #[test]
    fn a_socket_is_open_to_a_group_where_that_is_enough() {
        let group = ClientRule { group: who("staff"), ..ClientRule::default() };
        let only = AccessPolicy { clients: vec![group.clone(), ClientRule { reveal: false, ..group.clone() }], ..AccessPolicy::default() };
        assert_eq!(access(Some(only)).0.audience(), Audience::Group(501));
        let more = AccessPolicy { clients: vec![group, ClientRule { user: who("*"), ..ClientRule::default() }], ..AccessPolicy::default() };
        assert_eq!(access(Some(more)).0.audience(), Audience::Everyone);
        assert_eq!(access(Some(AccessPolicy::default())).0.audience(), Audience::Owner);
    }

    #[test]
    fn where_the_system_decided_who_connects_each_of_them_may_do_everything() {
        let caller = Access::of_all_who_connect().admit(&peer(0, 0, &[], None));
        assert!(caller.may(&Op::Reload) && caller.may_settle(Uid(0)));
        assert_eq!(caller.grants.rule, "whoever can open the pipe");
    }
}
