//! Refresh tokens that a provider is asked about, or was a moment ago, in; what waits for them, within bounds, out.
//!
//! What ends makes room for what comes, the one that was used longest ago first. Each step costs the same however many lie here,
//! for all workers take turns.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::identity::seal::Name;

/// Of one login. One tenant's sessions, which she may seal as she likes, keep out nobody else's.
const PART: usize = 256;
/// Of all.
const MOST: usize = 4_096;
/// Of one login, however many others have under way.
const FEW: usize = 16;

pub(super) struct Table<A> {
    tokens: HashMap<Name, Token<A>>,
    logins: HashMap<Name, OfLogin>,
    ended: BTreeMap<u64, Name>,
    next_turn: u64,
}

struct Token<A> {
    login: Name,
    answer: A,
    /// None while the provider is asked.
    ended: Option<Ended>,
}

#[derive(Clone, Copy)]
struct Ended {
    turn: u64,
    until: Instant,
}

#[derive(Default)]
struct OfLogin {
    count: usize,
    /// The tokens that ended, by their turns, as in the table.
    ended: BTreeMap<u64, Name>,
}

impl<A> Default for Table<A> {
    fn default() -> Self {
        Self {
            tokens: HashMap::new(),
            logins: HashMap::new(),
            ended: BTreeMap::new(),
            next_turn: 0,
        }
    }
}

impl<A: Clone> Table<A> {
    /// What was, or is to be, answered for it.
    pub(super) fn get(&mut self, token: &Name, now: Instant) -> Option<A> {
        let known = self.tokens.get(token)?;
        let answer = known.answer.clone();
        match known.ended {
            Some(Ended { until, .. }) if until <= now => {
                self.remove(token);
                return None;
            }
            // It is used.
            Some(Ended { until, .. }) => self.end(token, until),
            None => {}
        }
        Some(answer)
    }

    /// Whether there was room for one that is not there yet.
    pub(super) fn enter(&mut self, login: Name, token: Name, answer: A, now: Instant) -> bool {
        // Tokens lie here no longer than they are of use.
        while let Some(first) = oldest(&self.ended)
            && self.tokens.get(&first).is_some_and(|token| token.is_over(now))
        {
            self.remove(&first);
        }
        let own = self.logins.get(&login);
        let count = own.map_or(0, |own| own.count);
        let goes = match (count >= PART, self.tokens.len() >= MOST) {
            (true, _) => own.and_then(|own| oldest(&own.ended)),
            (false, true) => oldest(&self.ended),
            (false, false) => None,
        };
        match goes {
            Some(goes) => self.remove(&goes),
            None if count >= PART || self.tokens.len() >= MOST && count >= FEW => return false,
            None => {}
        }
        self.logins.entry(login).or_default().count += 1;
        let entered = Token {
            login,
            answer,
            ended: None,
        };
        self.tokens.insert(token, entered);
        true
    }

    /// The provider has been asked; until then the answer is of use.
    pub(super) fn end(&mut self, token: &Name, until: Instant) {
        let turn = self.next_turn;
        let Some(known) = self.tokens.get_mut(token) else {
            return;
        };
        self.next_turn += 1;
        let before = known.ended.replace(Ended { turn, until });
        let own = &mut self.logins.entry(known.login).or_default().ended;
        for ended in [&mut self.ended, own] {
            if let Some(before) = before {
                ended.remove(&before.turn);
            }
            ended.insert(turn, *token);
        }
    }

    fn remove(&mut self, token: &Name) {
        let Some(Token { login, ended, .. }) = self.tokens.remove(token) else {
            return;
        };
        let Some(own) = self.logins.get_mut(&login) else {
            return;
        };
        if let Some(Ended { turn, .. }) = ended {
            self.ended.remove(&turn);
            own.ended.remove(&turn);
        }
        own.count -= 1;
        if own.count == 0 {
            self.logins.remove(&login);
        }
    }
}

impl<A> Token<A> {
    fn is_over(&self, now: Instant) -> bool {
        self.ended.is_some_and(|ended| ended.until <= now)
    }
}

fn oldest(ended: &BTreeMap<u64, Name>) -> Option<Name> {
    ended.first_key_value().map(|(_, token)| *token)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(number: usize) -> Name {
        let mut name = Name::default();
        name[..8].copy_from_slice(&number.to_be_bytes());
        name
    }

    /// Enters so many tokens of a login, the first of this number.
    fn enter(table: &mut Table<usize>, login: usize, from: usize, count: usize, now: Instant) -> usize {
        let numbers = from..from + count;
        let entered = numbers.filter(|number| table.enter(name(login), name(*number), *number, now));
        entered.count()
    }

    #[test]
    fn a_login_has_its_part_alone_and_what_ended_makes_room() {
        let (mut table, now) = (Table::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        assert_eq!(enter(&mut table, 1, 0, 300, now), PART);
        assert_eq!(enter(&mut table, 2, 1_000, 10, now), 10, "another login");
        for number in [0, 1, 2] {
            table.end(&name(number), later);
        }
        // It is used, so the next goes before.
        assert_eq!(table.get(&name(0), now), Some(0));
        assert_eq!(enter(&mut table, 1, 400, 2, now), 2);
        let known = [0, 1, 2, 3].map(|number| table.get(&name(number), now));
        assert_eq!(known, [Some(0), None, None, Some(3)]);
        assert_eq!(enter(&mut table, 1, 500, 2, now), 1, "only one has ended");
        // What is over is gone, whether it is asked for or not.
        table.end(&name(1_000), later);
        table.end(&name(1_001), later);
        assert_eq!(table.get(&name(1_001), later), None);
        assert_eq!(enter(&mut table, 2, 2_000, 1, later), 1);
        assert!(!table.tokens.contains_key(&name(1_000)));
        assert_eq!((table.tokens.len(), table.ended.len()), (PART + 9, 0));
    }

    #[test]
    fn logins_that_have_all_keep_out_none_that_has_few() {
        let (mut table, now) = (Table::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        for login in 0..MOST / PART {
            assert_eq!(enter(&mut table, login, login * 1_000, PART, now), PART);
        }
        assert_eq!(enter(&mut table, 99, 100_000, 20, now), FEW);
        table.end(&name(7), later);
        // By one that ended, and no more than that.
        assert_eq!(enter(&mut table, 99, 200_000, 2, now), 1);
        assert_eq!(table.get(&name(7), now), None);
        assert_eq!(table.tokens.len(), MOST + FEW);
        for number in (0..PART).chain(100_000..100_020).chain([200_000]) {
            table.end(&name(number), now);
        }
        assert_eq!(enter(&mut table, 99, 300_000, 20, now), 20);
        assert_eq!(table.logins.len(), MOST / PART, "of the first nothing is left");
    }
}
