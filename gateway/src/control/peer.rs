//! Who may use the control socket.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// The owner of the socket (and root), and the members of one group.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub(super) owner: Uid,
    pub(super) group: Gid,
}

impl Access {
    /// Whether a peer with these credentials is admitted. May block on the user database.
    ///
    /// The kernel checked the peer's own groups when it connected, but hands on only the first of them
    /// (SO_PEERCRED). The others are taken from the user database.
    pub(super) fn admits(&self, uid: Uid, gid: Gid) -> bool {
        uid.is_root() || uid == self.owner || gid == self.group || self.has_member(uid, gid)
    }

    fn has_member(&self, uid: Uid, gid: Gid) -> bool {
        let Ok(Some(user)) = User::from_uid(uid) else { return false };
        let Ok(name) = CString::new(user.name) else { return false };
        getgrouplist(&name, gid).is_ok_and(|groups| groups.contains(&self.group))
    }
}

/// Who a peer is, for the ledger: its user's name, or its number. May block on the user database.
pub(super) fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Uid = Uid::from_raw(4_000_001);
    const GROUP: Gid = Gid::from_raw(4_000_002);
    const STRANGER: Uid = Uid::from_raw(4_000_003);
    const STRANGERS: Gid = Gid::from_raw(4_000_004);
    const ACCESS: Access = Access { owner: OWNER, group: GROUP };

    #[test]
    fn root_owner_and_group_are_admitted() {
        assert!(ACCESS.admits(Uid::from_raw(0), STRANGERS));
        assert!(ACCESS.admits(OWNER, STRANGERS));
        assert!(ACCESS.admits(STRANGER, GROUP));
    }

    #[test]
    fn nobody_else_is() {
        assert!(!ACCESS.admits(STRANGER, STRANGERS));
        assert!(!ACCESS.admits(STRANGER, Gid::from_raw(0)));
    }

    #[test]
    fn peers_have_names() {
        assert_eq!(name_of(Uid::from_raw(0)), "root");
        assert_eq!(name_of(STRANGER), "uid 4000003");
    }

    #[test]
    fn members_by_the_user_database_are_admitted() {
        // Root's own first group, by way of the database and not by the shortcut for root.
        let access = Access { owner: OWNER, group: Gid::from_raw(0) };
        assert!(access.has_member(Uid::from_raw(0), Gid::from_raw(0)));
        assert!(!ACCESS.has_member(Uid::from_raw(0), Gid::from_raw(0)));
    }
}
