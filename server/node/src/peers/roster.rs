//! What this node keeps of its mesh: who is admitted, where they are, and open invitations, in one file.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use keepboth_core::handshake::{Claimed, InviteId, Token};
use keepboth_core::ids::{NodeId, hex, unhex};
use keepboth_core::mesh::{About, Grant, Members, Notes};
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};

use crate::atomic;

/// The file in the data folder. It holds secrets of invitations, so its owner alone may read it.
pub const FILE: &str = "mesh.json";
/// Most invitations that are open at once.
pub const INVITES_MAX: usize = 1_000;
/// By how much the counter of what a node says of itself grows with every start: it says less in one life.
const LIFE: u64 = 1 << 20;

/// What stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Saved {
    /// Larger than the counter of anything that this node has said of itself.
    counter: u64,
    grants: Vec<SavedGrant>,
    /// Where members were, last it was heard.
    known: Vec<SavedAbout>,
    invites: Vec<Invite>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedGrant {
    node: NodeId,
    counter: u64,
    admitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Vec<String>>,
    by: NodeId,
    at: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedAbout {
    node: NodeId,
    addresses: Vec<String>,
    namespaces: Vec<String>,
}

/// An invitation that nobody has used yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invite {
    /// Its name, 32 hex characters.
    pub id: String,
    /// What claims are checked with, 64 hex characters.
    key: String,
    /// When it ends, in milliseconds since 1970.
    pub expires: u64,
    /// The namespaces that the new node may have; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
}

/// The members of the mesh and the open invitations, as they are on disk too.
#[derive(Debug)]
pub struct Roster {
    /// The members.
    pub members: Members,
    invites: Vec<Invite>,
    file: PathBuf,
    saved: Saved,
}

impl Roster {
    /// Reads the file of the data folder, if there is one. `me` is what this node says of itself.
    pub fn load(data: &Path, mut me: About) -> std::io::Result<Roster> {
        let file = data.join(FILE);
        let saved: Saved = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| std::io::Error::new(ErrorKind::InvalidData, e))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Saved::default(),
            Err(error) => return Err(error),
        };
        me.counter = saved.counter.saturating_add(LIFE);
        let mut members = Members::new(me);
        let grants = saved.grants.iter().map(grant).collect::<Result<_, _>>();
        let abouts = saved.known.iter().map(about).collect::<Result<_, _>>();
        let bad = |e: Refusal| std::io::Error::new(ErrorKind::InvalidData, e);
        members.learn(Notes { grants: grants.map_err(bad)?, abouts: abouts.map_err(bad)? });
        let mut roster = Roster { members, invites: saved.invites.clone(), file, saved };
        roster.save()?;
        Ok(roster)
    }

    /// Writes what has changed since it was last written.
    pub fn save(&mut self) -> std::io::Result<()> {
        let now = self.to_save();
        if now != self.saved {
            let text = serde_json::to_vec_pretty(&now)?;
            atomic::write_private(&self.file, &text)?;
            self.saved = now;
        }
        Ok(())
    }

    /// Changes members or invitations and writes that down. What was refused, or cannot be written, was not
    /// done: whoever asks for it again has it done then.
    fn change<T>(
        &mut self,
        act: impl FnOnce(&mut Roster) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let before = (self.members.clone(), self.invites.clone());
        let changed = act(self).and_then(|given| match self.save() {
            Ok(()) => Ok(given),
            Err(error) => {
                let words = format!("{FILE} cannot be written: {error}");
                Err(Refusal::new(Code::StoreFailed, words))
            }
        });
        if changed.is_err() {
            (self.members, self.invites) = before;
        }
        changed
    }

    /// Takes down an operator's word on a node; it is on disk when this returns. Gives the notes that are
    /// to be passed on.
    pub fn decide(
        &mut self,
        node: NodeId,
        admitted: bool,
        namespaces: Option<Vec<Namespace>>,
        now: u64,
    ) -> Result<Notes, Refusal> {
        self.change(|roster| {
            let notes = roster.members.decide(node, admitted, namespaces, now);
            if notes.is_empty() {
                let words = "the mesh has as many members as it may have";
                return Err(Refusal::new(Code::Overloaded, words));
            }
            Ok(notes)
        })
    }

    fn to_save(&self) -> Saved {
        let me = self.members.me();
        let texts = |names: &[Namespace]| names.iter().map(ToString::to_string).collect();
        let grant = |grant: &Grant| SavedGrant {
            node: grant.node,
            counter: grant.counter,
            admitted: grant.admitted,
            namespaces: grant.namespaces.as_deref().map(texts),
            by: grant.by,
            at: grant.at,
        };
        let known = self.members.others().filter_map(|grant| self.members.about(&grant.node));
        let known = known.map(|about| SavedAbout {
            node: about.node,
            addresses: about.addresses.clone(),
            namespaces: texts(&about.namespaces),
        });
        // Of what this life has said only the beginning is kept: the next one begins far above it.
        let counter = self.members.about(&me).map_or(0, |about| about.counter);
        let counter =
            if counter / LIFE == self.saved.counter / LIFE { self.saved.counter } else { counter };
        Saved {
            counter,
            grants: self.members.grants().map(grant).collect(),
            known: known.collect(),
            invites: self.invites.clone(),
        }
    }

    /// Takes up what a node knows of the mesh, and gives what is new. If this node was removed from the
    /// mesh, or may have been while it heard nothing, its open invitations are withdrawn.
    pub fn hear(&mut self, notes: Notes, from: &NodeId) -> Notes {
        let word = |members: &Members| {
            members.grant(&members.me()).map_or((0, true), |grant| (grant.counter, grant.admitted))
        };
        let (before, _) = word(&self.members);
        let new = self.members.hear(notes, from);
        let (now, admitted) = word(&self.members);
        // Every word on a node counts one up: where one is missing, that may have been a removal.
        let removed = now != before && (!admitted || now > before.saturating_add(1));
        if removed && !self.invites.is_empty() {
            let count = self.invites.len();
            tracing::warn!(count, "removed from the mesh: open invitations are withdrawn");
            self.invites.clear();
        }
        new
    }

    /// Keeps an invitation for a token. Invitations that have ended are dropped.
    pub fn invite(
        &mut self,
        token: &Token,
        namespaces: Option<Vec<Namespace>>,
        now: u64,
        expires: u64,
    ) -> Result<(), Refusal> {
        self.invites.retain(|invite| invite.expires > now);
        if self.invites.len() >= INVITES_MAX {
            let words = format!("{INVITES_MAX} invitations are open, which is the limit");
            return Err(Refusal::new(Code::Overloaded, words));
        }
        let names = |names: Vec<Namespace>| names.iter().map(ToString::to_string).collect();
        let invite = Invite {
            id: hex(&token.invite().0),
            key: hex(&token.key()),
            expires,
            namespaces: namespaces.map(names),
        };
        self.change(|roster| {
            roster.invites.push(invite);
            Ok(())
        })
    }

    /// Admits a node that shows an invitation, and ends the invitation; both are on disk when this
    /// returns. Gives the notes that are to be passed on.
    pub fn redeem(&mut self, node: NodeId, claimed: &Claimed, now: u64) -> Result<Notes, Refusal> {
        let refused = || {
            let words = "the invitation is unknown here, used, or has expired";
            Refusal::new(Code::NotAMember, words).hint("ask for a new one: keepboth peer invite")
        };
        let InviteId(id) = claimed.claim.invite;
        let id = hex(&id);
        let at = self.invites.iter().position(|invite| invite.id == id && invite.expires > now);
        let at = at.ok_or_else(refused)?;
        let key = unhex::<32>(&self.invites[at].key).map_err(|_| refused())?;
        if !claimed.holds(&key) {
            return Err(refused());
        }
        self.change(|roster| {
            let invite = roster.invites.remove(at);
            let namespaces = invite.namespaces.map(|names| {
                names.iter().filter_map(|name| Namespace::new(name).ok()).collect::<Vec<_>>()
            });
            Ok(roster.members.decide(node, true, namespaces, now))
        })
    }
}

fn names(texts: &[String]) -> Result<Vec<Namespace>, Refusal> {
    texts.iter().map(|text| Namespace::new(text)).collect()
}

fn grant(saved: &SavedGrant) -> Result<Grant, Refusal> {
    Ok(Grant {
        node: saved.node,
        counter: saved.counter,
        admitted: saved.admitted,
        namespaces: saved.namespaces.as_deref().map(names).transpose()?,
        by: saved.by,
        at: saved.at,
    })
}

/// What a member itself says counts more than this memory.
fn about(saved: &SavedAbout) -> Result<About, Refusal> {
    Ok(About {
        node: saved.node,
        counter: 0,
        agent: String::new(),
        addresses: saved.addresses.clone(),
        namespaces: names(&saved.namespaces)?,
        links: Vec::new(),
        instance: [0; 16],
    })
}

#[cfg(test)]
mod tests {
    use keepboth_core::handshake::{Greet, Proof, Role, Transcript};
    use keepboth_core::identity::NodeKey;
    use tempfile::TempDir;

    use super::*;

    fn me() -> About {
        About {
            node: NodeId([1; 32]),
            counter: 0,
            agent: "test".into(),
            addresses: vec!["ws://a".into()],
            namespaces: Vec::new(),
            links: Vec::new(),
            instance: [1; 16],
        }
    }

    fn claim(token: &Token) -> (NodeId, Claimed) {
        let key = NodeKey::from_seed(&[9; 32]);
        let (dialler, answerer) = (Greet::new([1; 32]), Greet::new([2; 32]));
        let there = Transcript { dialler, answerer, binding: [0; 32] };
        let proof = Proof::new(&key, [3; 16], &there, Role::Dialler, None, Some(token));
        let statement = there.statement(Role::Dialler, &proof.who, None);
        (key.id(), Claimed { claim: proof.claim.expect("a claim"), statement })
    }

    #[test]
    fn an_invitation_admits_once_until_it_expires_and_all_is_there_after_a_restart() {
        let folder = TempDir::new().expect("a folder");
        let mut roster = Roster::load(folder.path(), me()).expect("a roster");
        let token = Token::new(NodeId([1; 32]), [7; 32]);
        let notes = Namespace::new("notes").expect("a name");
        roster.invite(&token, Some(vec![notes.clone()]), 1_000, 2_000).expect("an invitation");
        let (node, claimed) = claim(&token);

        let mut roster = Roster::load(folder.path(), me()).expect("a roster");
        let late = roster.redeem(node, &claimed, 2_000).expect_err("expired");
        assert_eq!(late.code, Code::NotAMember);
        let forged = Claimed { statement: [0; 32], ..claimed.clone() };
        assert!(roster.redeem(node, &forged, 1_500).is_err());
        let told = roster.redeem(node, &claimed, 1_500).expect("admitted");
        assert_eq!(told.grants[0].namespaces, Some(vec![notes]));
        assert!(roster.redeem(node, &claimed, 1_500).is_err(), "it is used up");

        let again = Roster::load(folder.path(), me()).expect("a roster");
        assert_eq!(again.members.grant(&node), roster.members.grant(&node));
        let counter = |roster: &Roster| roster.members.about(&NodeId([1; 32])).map(|a| a.counter);
        assert!(counter(&again) > counter(&roster));
    }

    #[test]
    fn the_invitations_of_a_node_that_was_removed_are_withdrawn() {
        let (me, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let word = |counter, admitted| {
            let grant = Grant { node: me, counter, admitted, namespaces: None, by: other, at: 0 };
            Notes { grants: vec![grant], abouts: Vec::new() }
        };
        // What is heard after an invitation was made, and whether that still admits.
        for (heard, holds) in [
            (vec![word(1, true)], true),
            (vec![word(1, true), word(2, true)], true),
            (vec![word(1, true), word(2, false)], false),
            (vec![word(1, true), word(2, false), word(3, true)], false),
            (vec![word(1, true), word(3, true)], false),
        ] {
            let folder = TempDir::new().expect("a folder");
            let mut roster = Roster::load(folder.path(), self::me()).expect("a roster");
            let token = Token::new(me, [7; 32]);
            roster.invite(&token, None, 1_000, 9_000).expect("an invitation");
            for notes in heard.clone() {
                roster.hear(notes, &other);
            }
            roster.save().expect("saved");
            let mut roster = Roster::load(folder.path(), self::me()).expect("a roster");
            let (node, claimed) = claim(&token);
            assert_eq!(roster.redeem(node, &claimed, 2_000).is_ok(), holds, "{heard:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_was_not_done_and_is_done_when_it_is_asked_for_again() {
        let folder = TempDir::new().expect("a folder");
        let mut roster = Roster::load(folder.path(), me()).expect("a roster");
        let (token, other) = (Token::new(NodeId([1; 32]), [7; 32]), NodeId([2; 32]));
        let (node, claimed) = claim(&token);
        roster.invite(&token, None, 1_000, 9_000).expect("an invitation");
        roster.decide(other, true, None, 1_000).expect("admitted");
        let unwritable = |unwritable: bool| {
            let file = folder.path().join(FILE);
            match unwritable {
                true => fs::remove_file(&file).and_then(|()| fs::create_dir(&file)),
                false => fs::remove_dir(&file),
            }
        };
        let before = (roster.members.notes(), roster.invites.clone());
        unwritable(true).expect("a folder in its place");
        let failed = roster.decide(other, false, None, 2_000).expect_err("unwritable");
        assert_eq!(failed.code, Code::StoreFailed);
        assert!(roster.redeem(node, &claimed, 2_000).is_err());
        assert!(roster.invite(&Token::new(other, [8; 32]), None, 2_000, 9_000).is_err());
        assert_eq!((roster.members.notes(), roster.invites.clone()), before);

        unwritable(false).expect("the folder is gone");
        roster.decide(other, false, None, 2_000).expect("removed");
        roster.redeem(node, &claimed, 2_000).expect("admitted");
        let again = Roster::load(folder.path(), me()).expect("a roster");
        let admitted = |node| again.members.grant(node).map(|grant| grant.admitted);
        assert_eq!((admitted(&other), admitted(&node)), (Some(false), Some(true)));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_an_empty_mesh() {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join(FILE), "{\"counter\":").expect("written");
        assert!(Roster::load(folder.path(), me()).is_err());
    }
}
