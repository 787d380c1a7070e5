//! Silences: who made which, until when, and which alerts they keep quiet (Alertmanager 0.34, `silence`).

mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use cupola_model::{Labels, MatchOp, Matcher, go_quote, is_valid_legacy_label_name, md5};
use thiserror::Error;
use tracing::info;

pub(crate) use wire::{decode, decode_matcher, encode, encode_matcher};

/// Alerts that all matchers of one of its sets match are not told while it is active. Times are milliseconds since the
/// epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Silence {
    /// A UUID.
    pub id: Arc<str>,
    /// The first set, and nearly always the only one. At least one.
    pub matchers: Vec<Matcher>,
    /// Further sets (`matcher_sets` of newer Alertmanagers), none of them empty.
    pub further_sets: Vec<Vec<Matcher>>,
    /// First moment.
    pub starts_at: i64,
    /// First moment after it.
    pub ends_at: i64,
    /// When it was made or changed.
    pub updated_at: i64,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Free texts (0.32).
    pub annotations: BTreeMap<String, String>,
}

/// Where a silence stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SilenceState {
    /// It keeps alerts quiet.
    Active,
    /// It begins later.
    Pending,
    /// It is over.
    Expired,
}

impl SilenceState {
    /// As the API names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

impl Silence {
    /// Where it stands at `now`.
    #[must_use]
    pub fn state(&self, now: i64) -> SilenceState {
        if now < self.starts_at {
            SilenceState::Pending
        } else if now < self.ends_at {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }

    /// All sets of matchers, the first one first.
    pub fn sets(&self) -> impl Iterator<Item = &[Matcher]> {
        let further = self.further_sets.iter().map(Vec::as_slice);
        std::iter::once(self.matchers.as_slice()).chain(further)
    }

    fn matches(&self, labels: &Labels) -> bool {
        self.sets()
            .any(|set| !set.is_empty() && set.iter().all(|m| m.matches_labels(labels)))
    }
}

/// Name, operator and value of a matcher that has not been looked at yet.
pub type RawMatcher = (String, MatchOp, String);

/// What somebody asks for: a new silence, or another shape of one that exists.
#[derive(Debug, Clone, Default)]
pub struct SilenceRequest {
    /// Empty for a new one.
    pub id: String,
    /// The matchers of the first set.
    pub matchers: Vec<RawMatcher>,
    /// Those of further sets.
    pub further_sets: Vec<Vec<RawMatcher>>,
    /// `None` is now, and so is the past.
    pub starts_at: Option<i64>,
    /// When it ends.
    pub ends_at: i64,
    /// Who asks.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Free texts.
    pub annotations: BTreeMap<String, String>,
}

/// Why a silence is refused. Prints as Alertmanager says it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SilenceError {
    /// No silence has this id.
    #[error("silence not found")]
    NotFound,
    /// It contradicts itself.
    #[error("invalid silence: {0}")]
    Invalid(String),
    /// There are as many as `--silences.max-silences` allows.
    #[error("exceeded maximum number of silences: {0} (limit: {1})")]
    TooMany(usize, usize),
    /// It takes more bytes than `--silences.max-silence-size-bytes` allows.
    #[error("silence exceeded maximum size: {0} bytes (limit: {1} bytes)")]
    TooLarge(usize, usize),
    /// It could not be written; nothing has changed.
    #[error("the silence cannot be kept: {0}")]
    Disk(String),
}

/// How many and how large; 0 is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilenceLimits {
    /// `--silences.max-silences`, expired ones included.
    pub count: usize,
    /// `--silences.max-silence-size-bytes`, of one.
    pub bytes: usize,
}

struct Kept {
    silence: Arc<Silence>,
    expires_at: i64,
    version: u64,
}

// Which silences matched an alert when there were those up to `version`.
struct Cached {
    version: u64,
    ids: Box<[Arc<str>]>,
}

/// All silences.
#[derive(Default)]
pub(crate) struct Silences {
    all: HashMap<Arc<str>, Kept>,
    by_version: BTreeMap<u64, Arc<str>>,
    version: u64,
    cache: HashMap<u64, Cached>,
    retention_ms: i64,
    limits: SilenceLimits,
    // Only names that Prometheus 2 knew (`classic-mode`).
    legacy_names: bool,
    // Until when it was told in the log which silences have begun and ended by themselves; `None` where the log is told
    // nothing of silences (`--log.silences`).
    logged_until: Option<i64>,
}

impl Silences {
    pub(crate) fn new(retention_ms: i64, limits: SilenceLimits, legacy_names: bool) -> Self {
        Self {
            retention_ms,
            limits,
            legacy_names,
            ..Self::default()
        }
    }

    /// From now on what becomes of silences is told in the log.
    pub(crate) fn log_changes(&mut self, now: i64) {
        self.logged_until = Some(now);
    }

    /// Tells in the log which silences have begun or ended by themselves since the last call.
    pub(crate) fn log_passing(&mut self, now: i64) {
        let Some(since) = self.logged_until else { return };
        self.logged_until = Some(now);
        for silence in self.iter() {
            let (before, after) = (silence.state(since.max(silence.updated_at)), silence.state(now));
            if before != after {
                log(
                    silence,
                    after,
                    match after {
                        SilenceState::Active => "begins",
                        _ => "ends",
                    },
                );
            }
        }
    }

    /// What making or changing a silence comes to: its id, which is a new one where the old one could not simply be changed,
    /// and the silences that change.
    pub(crate) fn planned(&self, request: SilenceRequest, now: i64) -> Result<(Arc<str>, Vec<Silence>), SilenceError> {
        let mut silence = self.checked(request, now)?;
        let old = match &*silence.id {
            "" => None,
            id => Some(self.all.get(id).ok_or(SilenceError::NotFound)?.silence.clone()),
        };
        if let Some(old) = &old
            && can_update(old, &silence, now)
        {
            // Changes of one millisecond have an order, too: the younger one stays where two meet.
            silence.updated_at = now.max(old.updated_at + 1);
            self.check_size(&silence)?;
            return Ok((silence.id.clone(), vec![silence]));
        }
        self.check_count()?;
        let mut changes = Vec::new();
        // What it was until now stays to be seen, expired.
        if let Some(old) = old.filter(|old| old.state(now) != SilenceState::Expired) {
            changes.push(expired(&old, now));
        }
        silence.id = new_uuid().into();
        silence.starts_at = silence.starts_at.max(now);
        silence.updated_at = now;
        self.check_size(&silence)?;
        let id = silence.id.clone();
        changes.push(silence);
        Ok((id, changes))
    }

    /// What taking a silence comes to whose id says what it was made of; one that is there already, in whatever state, stays
    /// as it is.
    pub(crate) fn planned_making(&self, silence: Silence) -> Result<Vec<Silence>, SilenceError> {
        if self.all.contains_key(&silence.id) {
            return Ok(Vec::new());
        }
        self.check_count()?;
        self.check_size(&silence)?;
        Ok(vec![silence])
    }

    /// What ending a silence now comes to. One that is over stays as it is.
    pub(crate) fn planned_end(&self, id: &str, now: i64) -> Result<Vec<Silence>, SilenceError> {
        let old = &self.all.get(id).ok_or(SilenceError::NotFound)?.silence;
        Ok(match old.state(now) {
            SilenceState::Expired => Vec::new(),
            _ => vec![expired(old, now)],
        })
    }

    fn check_count(&self) -> Result<(), SilenceError> {
        let count = self.all.len();
        if self.limits.count > 0 && count >= self.limits.count {
            return Err(SilenceError::TooMany(count, self.limits.count));
        }
        Ok(())
    }

    /// Planned changes as they are written.
    pub(crate) fn encoded(&self, changes: &[Silence]) -> Vec<Vec<u8>> {
        changes.iter().map(|s| encode(s, self.expires_at(s))).collect()
    }

    /// Takes planned changes, which have been written.
    pub(crate) fn change(&mut self, changes: Vec<Silence>) {
        for silence in changes {
            let expires_at = self.expires_at(&silence);
            self.put(silence, expires_at, "set");
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Silence>> {
        self.all.get(id).map(|kept| kept.silence.clone())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.all.values().map(|kept| &kept.silence)
    }

    /// The active silences that match an alert, ids ascending. What was found is remembered, so that asking again costs
    /// only a look at silences that are newer.
    pub(crate) fn silencing(&mut self, fingerprint: u64, labels: &Labels, now: i64) -> Vec<Arc<str>> {
        let (seen, known) = match self.cache.get(&fingerprint) {
            Some(cached) => (cached.version, &*cached.ids),
            None => (0, &[][..]),
        };
        let is_active = |id: &Arc<str>| {
            let kept = self.all.get(id);
            kept.is_some_and(|kept| kept.silence.state(now) == SilenceState::Active)
        };
        if seen == self.version {
            return known.iter().filter(|id| is_active(id)).cloned().collect();
        }
        let mut ids: Vec<Arc<str>> = known.iter().filter(|id| self.all.contains_key(*id)).cloned().collect();
        for id in self.by_version.range(seen + 1..).map(|(_, id)| id) {
            let Some(kept) = self.all.get(id) else { continue };
            // An id's matchers never change, so one that is known needs no second look.
            if kept.silence.state(now) != SilenceState::Expired && !ids.contains(id) && kept.silence.matches(labels) {
                ids.push(id.clone());
            }
        }
        ids.sort_unstable();
        let active = ids.iter().filter(|id| is_active(id)).cloned().collect();
        let version = self.version;
        self.cache.insert(
            fingerprint,
            Cached {
                version,
                ids: ids.into(),
            },
        );
        active
    }

    /// Forgets what was remembered of alerts that are gone.
    pub(crate) fn forget_alerts(&mut self, is_known: impl Fn(u64) -> bool) {
        self.cache.retain(|fingerprint, _| is_known(*fingerprint));
    }

    /// Whether a silence of this id in that shape takes the place of what is known of it: it was changed later, or in the
    /// same millisecond and ends earlier, so that all members of a cluster choose the same.
    pub(crate) fn is_younger(&self, id: &str, updated_at: i64, starts_at: i64, ends_at: i64) -> bool {
        let rank = |updated_at, ends_at, starts_at| (updated_at, Reverse(ends_at), Reverse(starts_at));
        let known = self.all.get(id).map(|kept| &kept.silence);
        known.is_none_or(|known| {
            rank(updated_at, ends_at, starts_at) > rank(known.updated_at, known.ends_at, known.starts_at)
        })
    }

    /// Takes a silence from elsewhere: from disk, or from another member of a cluster. The younger one stays. Returns
    /// whether it is news.
    pub(crate) fn merge(&mut self, silence: Silence, expires_at: i64, now: i64) -> bool {
        if expires_at <= now {
            return false;
        }
        if !self.is_younger(&silence.id, silence.updated_at, silence.starts_at, silence.ends_at) {
            return false;
        }
        self.put(silence, expires_at, "received");
        true
    }

    /// Forgets silences that ended more than the retention ago. Returns how many.
    pub(crate) fn collect_garbage(&mut self, now: i64) -> usize {
        let before = self.all.len();
        let by_version = &mut self.by_version;
        self.all.retain(|_, kept| {
            let stays = kept.expires_at > now;
            if !stays {
                by_version.remove(&kept.version);
            }
            stays
        });
        before - self.all.len()
    }

    /// All of them as Alertmanager's file holds them.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        let all = self.all.values();
        all.map(|kept| encode(&kept.silence, kept.expires_at)).collect()
    }

    fn expires_at(&self, silence: &Silence) -> i64 {
        silence.ends_at.saturating_add(self.retention_ms)
    }

    pub(crate) fn check_size(&self, silence: &Silence) -> Result<(), SilenceError> {
        let bytes = encode(silence, self.expires_at(silence)).len();
        if self.limits.bytes > 0 && bytes > self.limits.bytes {
            return Err(SilenceError::TooLarge(bytes, self.limits.bytes));
        }
        Ok(())
    }

    fn put(&mut self, silence: Silence, expires_at: i64, how: &'static str) {
        if self.logged_until.is_some() {
            log(&silence, silence.state(silence.updated_at), how);
        }
        self.version += 1;
        let version = self.version;
        let id = silence.id.clone();
        self.by_version.insert(version, id.clone());
        let kept = Kept {
            silence: Arc::new(silence),
            expires_at,
            version,
        };
        if let Some(old) = self.all.insert(id, kept) {
            self.by_version.remove(&old.version);
        }
    }

    /// What is asked for as a silence, where it is one.
    pub(crate) fn checked(&self, request: SilenceRequest, now: i64) -> Result<Silence, SilenceError> {
        let refuse = |reason: String| Err(SilenceError::Invalid(reason));
        let matchers = match self.checked_set(request.matchers) {
            Ok(matchers) => matchers,
            Err(reason) => return refuse(reason),
        };
        let mut further_sets = Vec::with_capacity(request.further_sets.len());
        for (index, set) in request.further_sets.into_iter().enumerate() {
            match self.checked_set(set) {
                Ok(set) => further_sets.push(set),
                Err(reason) => return refuse(format!("matcher set {}: {reason}", index + 1)),
            }
        }
        let starts_at = request.starts_at.unwrap_or(now);
        if request.ends_at < starts_at {
            return refuse("end time must not be before start time".to_owned());
        }
        Ok(Silence {
            id: request.id.into(),
            matchers,
            further_sets,
            starts_at,
            ends_at: request.ends_at,
            updated_at: now,
            created_by: request.created_by,
            comment: request.comment,
            annotations: request.annotations,
        })
    }

    // The matchers of one set, or why they are none of a silence.
    fn checked_set(&self, set: Vec<RawMatcher>) -> Result<Vec<Matcher>, String> {
        if set.is_empty() {
            return Err("at least one matcher required".to_owned());
        }
        let mut matchers = Vec::with_capacity(set.len());
        for (index, (name, op, value)) in set.into_iter().enumerate() {
            if name.is_empty() || (self.legacy_names && !is_valid_legacy_label_name(&name)) {
                return Err(format!(
                    "invalid label matcher {index}: invalid label name {}",
                    go_quote(&name)
                ));
            }
            let quoted = go_quote(&value);
            let matcher = Matcher::new_no_newline(name, op, value).map_err(|error| {
                format!("invalid label matcher {index}: invalid regular expression {quoted}: {error}")
            });
            matchers.push(matcher?);
        }
        // A negative matcher is taken for narrow enough even where it matches a label that is not there.
        let is_wide = |matcher: &Matcher| match matcher.op() {
            MatchOp::Equal | MatchOp::Regex => matcher.matches_empty(),
            MatchOp::NotEqual | MatchOp::NotRegex => false,
        };
        if matchers.iter().all(is_wide) {
            return Err("at least one matcher must not match the empty string".to_owned());
        }
        Ok(matchers)
    }
}

// One line of the log about a silence: who keeps what quiet, and since which event.
fn log(silence: &Silence, state: SilenceState, event: &str) {
    let sets = silence.sets().map(|set| {
        let matchers: Vec<String> = set.iter().map(ToString::to_string).collect();
        format!("{{{}}}", matchers.join(", "))
    });
    let time = |ms| jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string());
    info!(
        id = %silence.id,
        event,
        state = state.as_str(),
        matchers = sets.collect::<Vec<_>>().join(" or "),
        starts_at = time(silence.starts_at),
        ends_at = time(silence.ends_at),
        created_by = silence.created_by,
        comment = silence.comment,
        "silence"
    );
}

fn expired(old: &Silence, now: i64) -> Silence {
    Silence {
        starts_at: old.starts_at.min(now),
        ends_at: now,
        updated_at: now.max(old.updated_at + 1),
        ..old.clone()
    }
}

// Whether `new` may stand in the place of `old` without that anybody would have to be told that the past has changed.
fn can_update(old: &Silence, new: &Silence, now: i64) -> bool {
    if !old.sets().eq(new.sets()) {
        return false;
    }
    match old.state(now) {
        SilenceState::Active => new.starts_at.div_euclid(1000) == old.starts_at.div_euclid(1000) && new.ends_at >= now,
        SilenceState::Pending => new.starts_at >= now,
        SilenceState::Expired => false,
    }
}

/// A random (version 4) UUID.
pub(crate) fn new_uuid() -> String {
    // The hasher's keys are the system's randomness.
    let random = || u128::from(RandomState::new().hash_one(0_u8));
    uuid(random() << 64 | random(), 4)
}

/// The UUID (version 3) that belongs to a name.
pub(crate) fn named_uuid(name: &str) -> String {
    uuid(u128::from_be_bytes(md5(name.as_bytes())), 3)
}

fn uuid(mut bits: u128, version: u128) -> String {
    bits = bits & !(0xf << 76) | version << 76;
    bits = bits & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("");
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests;
