//! Who is there. No input and output, no clock of its own: the same calls give the same table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::outbox::Outbox;
use crate::wire::{Hello, MOST_MEMBERS, Peer};

/// Why a connection does not become a member's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("it leads to this member itself")]
    Itself,
    #[error(
        "the name {name:?} is taken by the member at {by}; every member needs a --cluster.peer-name of its own, or none"
    )]
    NameTaken { name: String, by: SocketAddr },
    #[error(
        "this member's --cluster.label is {ours:?}, the other's {theirs:?}; only members of one label talk to each other"
    )]
    Label { ours: String, theirs: String },
    #[error("there are {0} members already")]
    TooMany(usize),
    #[error("this member is leaving the cluster")]
    Leaving,
}

/// One connection to a member.
#[derive(Debug)]
struct Link {
    id: u64,
    outbox: Arc<Outbox>,
    // All that the member had has come.
    is_synced: bool,
}

#[derive(Debug)]
struct Member {
    instance: u64,
    address: SocketAddr,
    links: Vec<Link>,
    heard: Instant,
    failed_at: Option<Instant>,
}

/// An address where a member is or was.
#[derive(Debug)]
struct Candidate {
    is_named: bool,
    is_itself: bool,
    // The member that answered there last.
    member: Option<String>,
    // Why it could not be reached the last time.
    error: Option<String>,
    useful: Instant,
}

/// A connection that has become a member's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub link: u64,
    /// Whether the member was not there before.
    pub is_new: bool,
    /// Whether it was there before and had failed.
    pub is_back: bool,
}

/// All members that are known, and where they may be.
#[derive(Debug)]
pub(crate) struct Table {
    pub own: Peer,
    pub instance: u64,
    label: String,
    members: BTreeMap<String, Member>,
    candidates: HashMap<SocketAddr, Candidate>,
    // Where a task looks for a member: until it notices that the candidate is gone it needs no second one beside it.
    dialled: HashSet<SocketAddr>,
    // Members in whose place another one came.
    replaced: Vec<String>,
    next_link: u64,
    /// Whether the named peers have been looked up.
    pub is_resolved: bool,
}

impl Table {
    pub(crate) fn new(own: Peer, instance: u64, label: String) -> Self {
        Self {
            own,
            instance,
            label,
            members: BTreeMap::new(),
            candidates: HashMap::new(),
            dialled: HashSet::new(),
            replaced: Vec::new(),
            next_link: 0,
            is_resolved: false,
        }
    }

    /// What this member says of itself.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            label: self.label.clone(),
            instance: self.instance,
            own: self.own.clone(),
            members: self.others(),
        }
    }

    /// Takes a connection in over which `hello` came; `from` is where the other side is seen.
    pub(crate) fn join(
        &mut self,
        hello: &Hello,
        from: SocketAddr,
        outbox: Arc<Outbox>,
        now: Instant,
    ) -> Result<Joined, Refusal> {
        if hello.label != self.label {
            return Err(Refusal::Label {
                ours: self.label.clone(),
                theirs: hello.label.clone(),
            });
        }
        if hello.instance == self.instance {
            return Err(Refusal::Itself);
        }
        let (name, address) = (hello.own.name.clone(), seen(hello.own.address, from));
        let taken = |by| Refusal::NameTaken { name: name.clone(), by };
        if name == self.own.name {
            return Err(taken(self.own.address));
        }
        let old = self.members.get(&name);
        if old.is_none() && self.members.len() >= MOST_MEMBERS {
            return Err(Refusal::TooMany(self.members.len()));
        }
        let mut was = (old.is_some(), old.is_some_and(|old| old.failed_at.is_some()));
        if let Some(old) = old
            && old.instance != hello.instance
        {
            // At the same address it is the process after the one that was known.
            if !old.links.is_empty() && old.address != address {
                return Err(taken(old.address));
            }
            was = (false, was.1);
            for link in &old.links {
                link.outbox.close(None);
            }
            self.members.remove(&name);
        }
        // So it is where a member of another name has been and is no more.
        let replaced = &mut self.replaced;
        self.members.retain(|other, old| {
            let stays = *other == name || old.address != address || !old.links.is_empty();
            if !stays {
                replaced.push(other.clone());
            }
            stays
        });
        self.next_link += 1;
        let link = self.next_link;
        let member = self.members.entry(name).or_insert_with(|| Member {
            instance: hello.instance,
            address,
            links: Vec::new(),
            heard: now,
            failed_at: None,
        });
        member.address = address;
        member.heard = now;
        member.failed_at = None;
        member.links.push(Link {
            id: link,
            outbox,
            is_synced: false,
        });
        Ok(Joined {
            link,
            is_new: !was.0 || was.1,
            is_back: was.1,
        })
    }

    /// A connection has ended. Where another one to the same member is left, it sends everything: what was on its way
    /// may be lost.
    pub(crate) fn unlink(&mut self, name: &str, link: u64) {
        let Some(member) = self.members.get_mut(name) else {
            return;
        };
        let before = member.links.len();
        member.links.retain(|l| l.id != link);
        if member.links.len() < before
            && let Some(other) = member.links.first()
        {
            other.outbox.push_all();
        }
    }

    /// A member leaves, as it says itself. Returns whether it was there.
    pub(crate) fn leave(&mut self, name: &str, link: u64) -> bool {
        let has_link = |member: &Member| member.links.iter().any(|l| l.id == link);
        if !self.members.get(name).is_some_and(has_link) {
            return false;
        }
        let Some(member) = self.members.remove(name) else {
            return false;
        };
        for link in &member.links {
            link.outbox.close(None);
        }
        // Where nobody named it, nobody needs to look for it.
        self.candidates
            .retain(|address, c| c.is_named || *address != member.address);
        true
    }

    /// Something came from a member.
    pub(crate) fn heard(&mut self, name: &str, link: u64, now: Instant) {
        if let Some(member) = self.members.get_mut(name)
            && member.links.iter().any(|l| l.id == link)
        {
            member.heard = now;
        }
    }

    /// Everything that a member has has come.
    pub(crate) fn synced(&mut self, name: &str, link: u64) {
        let links = self.members.get_mut(name).map(|member| &mut member.links);
        for one in links.into_iter().flatten().filter(|l| l.id == link) {
            one.is_synced = true;
        }
    }

    /// Members that have not been heard of for `patience` fail; those that failed longer than `forget_after` ago are
    /// forgotten (zero: never), and so are addresses that nobody named and where nobody is. Returns who has failed.
    pub(crate) fn sweep(&mut self, now: Instant, patience: Duration, forget_after: Duration) -> Vec<String> {
        let mut failed = Vec::new();
        for (name, member) in &mut self.members {
            let is_silent = member.links.is_empty() && now.saturating_duration_since(member.heard) >= patience;
            if is_silent && member.failed_at.is_none() {
                member.failed_at = Some(now);
                failed.push(name.clone());
            }
        }
        if !forget_after.is_zero() {
            let is_old = |since: Instant| now.saturating_duration_since(since) >= forget_after;
            self.members.retain(|_, m| !m.failed_at.is_some_and(is_old));
            let members = &self.members;
            self.candidates.retain(|address, candidate| {
                let is_used = members.values().any(|m| m.address == *address && m.failed_at.is_none());
                if is_used {
                    candidate.useful = now;
                }
                candidate.is_named || !is_old(candidate.useful)
            });
        }
        failed
    }

    fn others(&self) -> Vec<Peer> {
        let alive = self.members.iter().filter(|(_, m)| m.failed_at.is_none());
        let peers = alive.map(|(name, m)| Peer {
            name: name.clone(),
            address: m.address,
        });
        peers.collect()
    }

    /// The members that are there, this one included, ascending by name.
    pub(crate) fn alive(&self) -> Vec<Peer> {
        let mut all = self.others();
        all.push(self.own.clone());
        all.sort();
        all
    }

    /// How many of them come before this one.
    pub(crate) fn position(&self) -> usize {
        let before = self.members.iter().take_while(|(name, _)| **name < self.own.name);
        before.filter(|(_, m)| m.failed_at.is_none()).count()
    }

    /// How many members have failed, and named addresses where nobody was found.
    pub(crate) fn failed(&self) -> usize {
        let failed = self.members.values().filter(|m| m.failed_at.is_some());
        let unknown = |address: &SocketAddr| !self.members.values().any(|m| m.address == *address);
        let absent = self.candidates.iter().filter(|(address, c)| {
            let is_absent = c.is_named && !c.is_itself && c.member.is_none() && c.error.is_some();
            is_absent && unknown(address)
        });
        failed.count() + absent.count()
    }

    /// How many of those that are there have no connection at the moment.
    pub(crate) fn unlinked(&self) -> usize {
        let alive = self.members.values().filter(|m| m.failed_at.is_none());
        alive.filter(|m| m.links.is_empty()).count()
    }

    /// One queue for each member that has a connection, but for that of `except`.
    pub(crate) fn outboxes_but<'a>(&'a self, except: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Outbox>> {
        let others = self
            .members
            .iter()
            .filter(move |(name, _)| Some(name.as_str()) != except);
        others.filter_map(|(_, member)| member.links.first().map(|link| &link.outbox))
    }

    /// One queue for each member that has a connection.
    pub(crate) fn outboxes(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        self.outboxes_but(None)
    }

    /// All queues, also where a member has several.
    pub(crate) fn all_outboxes(&self) -> impl Iterator<Item = &Arc<Outbox>> {
        self.members.values().flat_map(|m| &m.links).map(|l| &l.outbox)
    }

    /// Whether that connection is the one over which its member is told what changes.
    pub(crate) fn is_first_link(&self, name: &str, link: u64) -> bool {
        let member = self.members.get(name);
        member.is_some_and(|m| m.links.first().is_some_and(|l| l.id == link))
    }

    /// Notes an address where a member may be. Returns whether it is new, so that somebody has to look after it.
    pub(crate) fn add_candidate(&mut self, address: SocketAddr, is_named: bool, now: Instant) -> bool {
        if address.port() == 0 || address.ip().is_unspecified() || address == self.own.address {
            return false;
        }
        if let Some(candidate) = self.candidates.get_mut(&address) {
            candidate.is_named |= is_named;
            candidate.useful = now;
            return false;
        }
        if self.candidates.len() >= MOST_MEMBERS {
            return false;
        }
        self.candidates.insert(
            address,
            Candidate {
                is_named,
                is_itself: false,
                member: None,
                error: None,
                useful: now,
            },
        );
        self.dialled.insert(address)
    }

    /// Only these addresses are named from now on.
    pub(crate) fn set_named(&mut self, named: &[SocketAddr]) {
        for (address, candidate) in &mut self.candidates {
            candidate.is_named = named.contains(address);
        }
    }

    /// Whether a task that looks for a member at this address goes on. Where not, the next one may begin.
    pub(crate) fn is_dialled(&mut self, address: SocketAddr) -> bool {
        let goes_on = self.candidates.contains_key(&address);
        if !goes_on {
            self.dialled.remove(&address);
        }
        goes_on
    }

    /// Members that are no more because another one came in their place, once each.
    pub(crate) fn take_replaced(&mut self) -> Vec<String> {
        std::mem::take(&mut self.replaced)
    }

    /// Whether somebody still has to look after an address.
    pub(crate) fn is_candidate(&self, address: SocketAddr) -> bool {
        self.candidates.contains_key(&address)
    }

    /// Whether an address needs no connection: this member is there itself, or there is one already.
    pub(crate) fn is_reached(&self, address: SocketAddr) -> bool {
        self.candidates.get(&address).is_some_and(|c| c.is_itself) || self.link_at(address, false)
    }

    fn link_at(&self, address: SocketAddr, synced: bool) -> bool {
        let has_link = |m: &Member| m.links.iter().any(|l| l.is_synced || !synced);
        let by_address = self.members.values().any(|m| m.address == address && has_link(m));
        let name = self.candidates.get(&address).and_then(|c| c.member.as_deref());
        by_address || name.and_then(|name| self.members.get(name)).is_some_and(has_link)
    }

    /// What became of an attempt to reach an address. Returns whether that is news.
    pub(crate) fn tried(&mut self, address: SocketAddr, outcome: Result<String, String>) -> bool {
        let Some(candidate) = self.candidates.get_mut(&address) else {
            return false;
        };
        match outcome {
            Ok(name) => {
                candidate.member = Some(name);
                candidate.error.take().is_some()
            }
            Err(error) => {
                let is_news = candidate.error.as_ref() != Some(&error);
                candidate.member = None;
                candidate.error = Some(error);
                is_news
            }
        }
    }

    /// This member itself answers at that address.
    pub(crate) fn is_itself(&mut self, address: SocketAddr) {
        if let Some(candidate) = self.candidates.get_mut(&address) {
            candidate.is_itself = true;
            candidate.error = None;
        }
    }

    /// Addresses may lead elsewhere by now.
    pub(crate) fn look_again(&mut self) {
        for candidate in self.candidates.values_mut() {
            candidate.is_itself = false;
        }
    }

    /// Whether every peer that was named is connected and has sent what it has.
    pub(crate) fn is_complete(&self) -> bool {
        let named = || self.candidates.iter().filter(|(_, c)| c.is_named);
        let is_there = |(address, c): (&SocketAddr, &Candidate)| c.is_itself || self.link_at(*address, true);
        self.is_resolved && named().next().is_some() && named().all(is_there)
    }

    /// Forgets all connections and returns their queues, which are to be closed. Members that were there get the time to
    /// come back that they would have had from now on.
    pub(crate) fn begin_anew(&mut self, now: Instant) -> Vec<Arc<Outbox>> {
        let boxes = self.all_outboxes().cloned().collect();
        for member in self.members.values_mut().filter(|m| m.failed_at.is_none()) {
            member.links.clear();
            member.heard = now;
        }
        boxes
    }

    /// Whether all members that are there are connected and have sent what they have.
    pub(crate) fn is_whole(&self) -> bool {
        let mut alive = self.members.values().filter(|m| m.failed_at.is_none());
        alive.all(|m| m.links.iter().any(|l| l.is_synced))
    }

    /// Whether all connections have brought what the other side has.
    pub(crate) fn is_synced(&self) -> bool {
        let mut linked = self.members.values().filter(|m| !m.links.is_empty());
        linked.all(|m| m.links.iter().any(|l| l.is_synced))
    }
}

// The address that a member tells, with the IP where it is seen if it knows none itself.
fn seen(told: SocketAddr, from: SocketAddr) -> SocketAddr {
    if told.ip().is_unspecified() {
        return SocketAddr::new(from.ip(), told.port());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const FORGET: Duration = Duration::from_secs(60);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn hello(name: &str, instance: u64, address: &str) -> Hello {
        Hello {
            label: "l".to_owned(),
            instance,
            own: Peer {
                name: name.to_owned(),
                address: at(address),
            },
            members: Vec::new(),
        }
    }

    fn table() -> Table {
        let own = hello("m", 1, "10.0.0.1:9094").own;
        Table::new(own, 1, "l".to_owned())
    }

    fn names(table: &Table) -> Vec<String> {
        table.alive().into_iter().map(|p| p.name).collect()
    }

    const FROM: &str = "10.0.0.9:40000";

    #[tokio::test(start_paused = true)]
    async fn members_come_fail_come_back_and_are_forgotten() {
        let (mut table, begin) = (table(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        let join = |table: &mut Table, who: &Hello, now| table.join(who, at(FROM), Arc::default(), now);
        let (a, z) = (hello("a", 2, "10.0.0.2:9094"), hello("z", 3, "0.0.0.0:9094"));
        let joined = join(&mut table, &a, begin).unwrap();
        assert!(joined.is_new && !joined.is_back);
        join(&mut table, &z, begin).unwrap();
        assert_eq!(
            (names(&table), table.position()),
            (vec!["a".into(), "m".into(), "z".into()], 1)
        );
        // Where it knows no address of its own, the one where it was seen counts.
        assert_eq!(table.alive()[2].address, at("10.0.0.9:9094"));

        // A connection that breaks is no failure; silence is.
        table.unlink("a", joined.link);
        assert_eq!((table.unlinked(), table.position()), (1, 1));
        assert!(table.sweep(after(4), PATIENCE, FORGET).is_empty());
        assert_eq!(table.sweep(after(5), PATIENCE, FORGET), ["a"]);
        assert!(table.sweep(after(6), PATIENCE, FORGET).is_empty(), "once");
        assert_eq!((table.position(), table.failed()), (0, 1));
        let again = join(&mut table, &a, after(10)).unwrap();
        assert!(again.is_new && again.is_back);
        assert_eq!((table.position(), table.failed()), (1, 0));

        // One that says so is gone at once.
        assert!(table.leave("a", again.link));
        assert_eq!((table.position(), table.failed()), (0, 0));
        // One that fails for good is forgotten.
        let joined = join(&mut table, &a, after(20)).unwrap();
        table.unlink("a", joined.link);
        assert_eq!(table.sweep(after(30), PATIENCE, FORGET), ["a"]);
        assert_eq!(table.failed(), 1);
        table.sweep(after(90), PATIENCE, FORGET);
        assert_eq!(table.failed(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_goes_and_comes_back_is_looked_for_by_one_task_only() {
        let (mut table, now) = (table(), Instant::now());
        let a = at("10.0.0.2:9094");
        assert!(table.add_candidate(a, false, now));
        let who = hello("a", 2, "10.0.0.2:9094");
        let joined = table.join(&who, at(FROM), Arc::default(), now).unwrap();
        assert!(table.leave("a", joined.link) && !table.is_candidate(a));
        // The task of before has not noticed yet, and goes on.
        assert!(!table.add_candidate(a, false, now));
        assert!(table.is_dialled(a));
        // Where it has, there is another one.
        let joined = table.join(&who, at(FROM), Arc::default(), now).unwrap();
        assert!(table.leave("a", joined.link) && !table.is_dialled(a));
        assert!(table.add_candidate(a, false, now));
        // Of one that comes back under another name the old one's is told, so that its series end.
        let joined = table.join(&who, at(FROM), Arc::default(), now).unwrap();
        table.unlink("a", joined.link);
        assert!(table.take_replaced().is_empty());
        table
            .join(&hello("b", 3, "10.0.0.2:9094"), at(FROM), Arc::default(), now)
            .unwrap();
        assert_eq!(table.take_replaced(), ["a"]);
        assert!(table.take_replaced().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_belong_is_refused() {
        let (mut table, now) = (table(), Instant::now());
        let mut join = |who: &Hello| table.join(who, at(FROM), Arc::default(), now);
        assert_eq!(join(&hello("m", 1, "10.0.0.1:9094")), Err(Refusal::Itself));
        let taken = join(&hello("m", 2, "10.0.0.2:9094")).unwrap_err().to_string();
        assert!(
            taken.starts_with("the name \"m\" is taken by the member at 10.0.0.1:9094"),
            "{taken}"
        );
        let mut other = hello("b", 3, "10.0.0.3:9094");
        other.label = "x".to_owned();
        assert!(matches!(join(&other), Err(Refusal::Label { .. })));
        join(&hello("a", 4, "10.0.0.4:9094")).unwrap();
        let elsewhere = join(&hello("a", 5, "10.0.0.5:9094"));
        assert!(matches!(elsewhere, Err(Refusal::NameTaken { .. })), "{elsewhere:?}");
        // At its old address it is the next process, whose predecessor is not waited for.
        let next = join(&hello("a", 6, "10.0.0.4:9094")).unwrap();
        assert!(next.is_new && !next.is_back);
        assert_eq!(names(&table), ["a", "m"]);
        assert_eq!(table.all_outboxes().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restarted_member_takes_the_place_of_the_name_it_had() {
        let (mut table, now) = (table(), Instant::now());
        let joined = table.join(&hello("a1", 2, "10.0.0.2:9094"), at(FROM), Arc::default(), now);
        table.unlink("a1", joined.unwrap().link);
        table
            .join(&hello("a2", 3, "10.0.0.2:9094"), at(FROM), Arc::default(), now)
            .unwrap();
        assert_eq!(names(&table), ["a2", "m"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_on_a_broken_connection_comes_over_the_other_one() {
        let (mut table, now) = (table(), Instant::now());
        let boxes = [Arc::new(Outbox::default()), Arc::new(Outbox::default())];
        let links = boxes.each_ref().map(|outbox| {
            let who = hello("a", 2, "10.0.0.2:9094");
            table.join(&who, at(FROM), outbox.clone(), now).unwrap().link
        });
        assert!(table.is_first_link("a", links[0]) && !table.is_first_link("a", links[1]));
        assert_eq!(
            (table.outboxes().count(), table.outboxes_but(Some("a")).count()),
            (1, 0)
        );
        table.unlink("a", links[0]);
        assert_eq!(boxes[1].next().await, crate::outbox::Work::Full);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_looked_after_once_and_settled_when_all_have_answered() {
        let (mut table, now) = (table(), Instant::now());
        let (a, b) = (at("10.0.0.2:9094"), at("10.0.0.3:9094"));
        assert!(!table.add_candidate(at("10.0.0.1:9094"), true, now), "itself");
        assert!(!table.add_candidate(at("0.0.0.0:9094"), true, now));
        assert!(table.add_candidate(a, true, now) && table.add_candidate(b, true, now));
        assert!(!table.add_candidate(a, false, now));
        table.is_resolved = true;
        assert!(!table.is_complete() && !table.is_reached(a));
        // It answers under another address than the one that was dialled.
        let joined = table
            .join(&hello("a", 2, "10.9.9.9:9094"), at(FROM), Arc::default(), now)
            .unwrap();
        assert!(table.tried(b, Err("refused".into())));
        assert!(!table.tried(b, Err("refused".into())), "told once");
        assert_eq!(table.failed(), 1);
        table.tried(a, Ok("a".into()));
        assert!(table.is_reached(a) && !table.is_complete());
        table.is_itself(b);
        assert!(!table.is_complete() && !table.is_synced(), "a's state has not come");
        table.synced("a", joined.link);
        assert!(table.is_complete() && table.is_synced());
        // What nobody names any more goes with its time.
        table.look_again();
        table.set_named(&[a]);
        table.sweep(now + FORGET, PATIENCE, FORGET);
        assert!(table.is_candidate(a) && !table.is_candidate(b));
    }
}
