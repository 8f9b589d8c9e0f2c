//! Who may do what: grants, each for a namespace and the keys that begin alike.

use crate::name::Namespace;
use crate::refusal::{Code, Refusal};

/// What a client may do, one grant after the other; any of them is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(pub Vec<Grant>);

/// Rights on the keys of a namespace that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The namespace; None is all of them.
    pub namespace: Option<Namespace>,
    /// What the keys begin with; empty for all keys.
    pub prefix: String,
    /// What may be done with them.
    pub rights: Rights,
}

/// What may be done with keys. The requests that need each right stand at [`Right`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// [`Right::Read`].
    pub read: bool,
    /// [`Right::Write`].
    pub write: bool,
    /// [`Right::Delete`].
    pub delete: bool,
    /// [`Right::Resolve`].
    pub resolve: bool,
    /// [`Right::Admin`]. It includes no other right.
    pub admin: bool,
}

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// get, list, history, get_version, conflicts, conflict, trash, watch, schema_report, acks.
    Read,
    /// put, revert, restore.
    Write,
    /// delete.
    Delete,
    /// resolve.
    Resolve,
    /// purge and judge of a key; quarantine, quarantine_retry, hook_log, ns_add and ns_rm of a whole
    /// namespace; reload, peers, peer_invite, peer_add, peer_rm and the metrics of the whole server.
    Admin,
}

impl Rights {
    /// All of them.
    pub const ALL: Rights =
        Rights { read: true, write: true, delete: true, resolve: true, admin: true };

    /// True if this right is among them.
    pub fn has(&self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::Write => self.write,
            Right::Delete => self.delete,
            Right::Resolve => self.resolve,
            Right::Admin => self.admin,
        }
    }
}

impl Right {
    /// All rights.
    pub const ALL: [Right; 5] =
        [Right::Read, Right::Write, Right::Delete, Right::Resolve, Right::Admin];

    /// Its name in messages and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::Delete => "delete",
            Right::Resolve => "resolve",
            Right::Admin => "admin",
        }
    }
}

impl Grants {
    /// Everything.
    pub fn all() -> Grants {
        Grants(vec![Grant { namespace: None, prefix: String::new(), rights: Rights::ALL }])
    }

    /// True if one grant covers every key of the namespace that begins so. A key is the prefix of
    /// itself.
    pub fn allow(&self, namespace: &Namespace, prefix: &str, right: Right) -> bool {
        self.of(namespace)
            .any(|grant| grant.rights.has(right) && prefix.starts_with(grant.prefix.as_str()))
    }

    /// True if one grant gives the right on the whole server.
    pub fn allow_all(&self, right: Right) -> bool {
        let whole = |grant: &&Grant| grant.namespace.is_none() && grant.prefix.is_empty();
        self.0.iter().filter(whole).any(|grant| grant.rights.has(right))
    }

    /// True if anything of the namespace is granted: then it may be known that it is there.
    pub fn know(&self, namespace: &Namespace) -> bool {
        self.of(namespace).any(|grant| grant.rights != Rights::default())
    }

    /// True if there is nothing that is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|grant| grant.rights == Rights::default())
    }

    /// As [`Grants::allow`], with the refusal that names what would be needed.
    pub fn need(&self, namespace: &Namespace, prefix: &str, right: Right) -> Result<(), Refusal> {
        match self.allow(namespace, prefix, right) {
            true => Ok(()),
            false if prefix.is_empty() => Err(forbidden(format!(
                "this needs the right {} on all keys of the namespace {namespace}",
                right.as_str()
            ))),
            false => Err(forbidden(format!(
                "this needs the right {} on {prefix:?} in the namespace {namespace}",
                right.as_str()
            ))),
        }
    }

    /// As [`Grants::allow_all`], with the refusal that names what would be needed.
    pub fn need_all(&self, right: Right) -> Result<(), Refusal> {
        match self.allow_all(right) {
            true => Ok(()),
            false => Err(forbidden(format!(
                "this needs the right {} on the whole server",
                right.as_str()
            ))),
        }
    }

    fn of(&self, namespace: &Namespace) -> impl Iterator<Item = &Grant> {
        let here =
            move |grant: &&Grant| grant.namespace.as_ref().is_none_or(|name| name == namespace);
        self.0.iter().filter(here)
    }
}

fn forbidden(words: String) -> Refusal {
    Refusal::new(Code::Forbidden, words).hint("an operator grants it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Namespace {
        Namespace::new(text).expect("a namespace")
    }

    fn read_only(namespace: Option<&str>, prefix: &str) -> Grant {
        let rights = Rights { read: true, ..Rights::default() };
        Grant { namespace: namespace.map(name), prefix: prefix.to_owned(), rights }
    }

    #[test]
    fn a_grant_covers_what_begins_with_its_prefix_and_nothing_else() {
        let grants = Grants(vec![read_only(Some("notes"), "a/"), read_only(None, "all/")]);
        let notes = name("notes");
        for (prefix, yes) in
            [("a/", true), ("a/b", true), ("a", false), ("", false), ("all/x", true)]
        {
            assert_eq!(grants.allow(&notes, prefix, Right::Read), yes, "{prefix:?}");
            assert!(!grants.allow(&notes, prefix, Right::Write), "{prefix:?}");
        }
        assert!(!grants.allow(&name("other"), "a/b", Right::Read));
        assert!(grants.allow(&name("other"), "all/b", Right::Read));
        assert!(!grants.allow_all(Right::Read) && grants.know(&notes));
        assert!(Grants::all().allow_all(Right::Admin));
    }

    #[test]
    fn two_grants_side_by_side_do_not_make_a_wider_one() {
        let grants = Grants(vec![read_only(Some("notes"), "a"), read_only(Some("notes"), "b")]);
        let refusal = grants.need(&name("notes"), "", Right::Read).expect_err("refused");
        assert_eq!(refusal.code, Code::Forbidden);
        assert_eq!(refusal.message, "this needs the right read on all keys of the namespace notes");
        let refusal = grants.need(&name("notes"), "c", Right::Write).expect_err("refused");
        assert_eq!(refusal.message, "this needs the right write on \"c\" in the namespace notes");
    }

    #[test]
    fn a_grant_without_rights_is_none() {
        let nothing = Grants(vec![Grant { rights: Rights::default(), ..read_only(None, "") }]);
        assert!(nothing.is_empty() && !nothing.know(&name("notes")));
        assert!(nothing.need_all(Right::Admin).is_err());
        for right in Right::ALL {
            assert!(Rights::ALL.has(right) && !Rights::default().has(right));
        }
    }
}
