//! What somebody asks of a target, carried out.

use keepboth_core::limits::figure;
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use serde_json::json;

use super::Lane;
use crate::dead::ROWS_MAX;
use crate::orders::{Ask, Told};
use crate::queue::WAITING_MAX;

impl Lane {
    /// Carries it out.
    pub(super) fn obey(&mut self, order: &Ask) -> Result<Told, Refusal> {
        let table = self.shared.table.clone();
        match order {
            Ask::Targets => {
                let last = self.shared.host.feed(&self.shared.namespace)?.last;
                Ok(Told::item(json!({
                    "target": self.target.name,
                    "url": self.target.declared.url,
                    "at": self.place.sequence,
                    "of": last,
                    "waiting": self.queue.len(),
                    "under_way": self.under_way.len(),
                    "dead": self.dead.count(),
                    "last_error": self.last_error,
                })))
            }
            Ask::Dead { after, limit } => {
                let found = self.dead.list(table.as_ref(), *after, *limit)?;
                let items = found.into_iter().map(|(id, dead)| {
                    json!({"id": id, "target": self.target.name, "key": dead.key,
                        "attempts": dead.attempts, "timestamp": dead.at, "why": dead.why})
                });
                Ok(Told { items: items.collect(), count: 0 })
            }
            Ask::Retry { id } => self.lift(*id, true),
            Ask::Drop { id } => self.lift(*id, false),
        }
    }

    /// Takes one dead event or all out, and has them delivered if there is room for them: of all, as many as
    /// there is room for; one is refused if there is none.
    fn lift(&mut self, only: Option<u64>, retry: bool) -> Result<Told, Refusal> {
        let (table, mut count) = (self.shared.table.clone(), 0);
        loop {
            let found = match only {
                Some(id) => {
                    self.dead.get(table.as_ref(), id)?.map(|dead| (id, dead)).into_iter().collect()
                }
                None => self.dead.list(table.as_ref(), None, ROWS_MAX)?,
            };
            let mut changes = Vec::new();
            for (id, dead) in found {
                if retry {
                    if !self.has_room() {
                        if only.is_some() {
                            return Err(self.no_room());
                        }
                        break;
                    }
                    let key = Key::new(&dead.key)?;
                    let shown = self.shared.host.shown(&self.shared.namespace, &key)?;
                    let sequence = shown.map_or(id, |shown| shown.sequence);
                    let waiting = self.queue.changed(&dead.key, sequence, self.now());
                    changes.push(self.row(&dead.key, Some(waiting)));
                }
                self.dead.lift(id, &mut changes);
                count += 1;
            }
            if changes.is_empty() {
                break;
            }
            self.write(&changes)?;
        }
        self.warn_of_dead();
        self.flush()?;
        Ok(Told { items: Vec::new(), count })
    }

    fn no_room(&self) -> Refusal {
        let (name, most) = (&self.target.name, figure(WAITING_MAX));
        let words = format!("{most} keys wait for the target {name}, no more fit");
        Refusal::new(Code::Overloaded, words).hint("the event stays dead; retry it later")
    }
}
