//! `basic_auth_users`: names and passwords that bcrypt has hashed.
//!
//! Checking one password costs tens of milliseconds on purpose. So what was found is remembered, one is checked at a time
//! and off the threads that serve, and only so many wait for it: whoever guesses passwords takes one core at most, and
//! slows down nobody who is known.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cupola_config::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

// Guesses never drive out what is right, which is why the two are kept apart.
const REMEMBERED_RIGHT: usize = 1000;
const REMEMBERED_WRONG: usize = 100;
const MOST_WAITING: usize = 100;

/// What a request says about who sends it.
pub(super) struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Credentials {
    /// Reads `Authorization: Basic`; `None` where there is none that can be read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(AUTHORIZATION)?.as_bytes();
        let (scheme, rest) = value.split_at_checked("Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let plain = STANDARD.decode(rest).ok()?;
        let colon = plain.iter().position(|byte| *byte == b':')?;
        let (user, password) = plain.split_at(colon);
        Some(Self {
            user: user.to_vec(),
            password: password.get(1..)?.to_vec(),
        })
    }
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Welcome,
    /// 401
    Stranger,
    /// Too many wait already.
    Busy,
}

/// What was found about passwords.
pub(super) struct Passwords {
    right: Mutex<Recent>,
    wrong: Mutex<Recent>,
    // One check at a time, as upstream.
    place: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            right: Mutex::new(Recent::new(REMEMBERED_RIGHT)),
            wrong: Mutex::new(Recent::new(REMEMBERED_WRONG)),
            place: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Passwords {
    /// Whether `given` is one of `users` with the right password.
    pub(super) async fn check(&self, users: &BTreeMap<String, Secret>, given: Credentials) -> Verdict {
        let name = std::str::from_utf8(&given.user).ok();
        let known = name.and_then(|name| users.get(name));
        // A name that is not known takes as long as one that is: its password is compared with somebody's.
        let Some(hash) = known.or_else(|| costliest(users)) else {
            return Verdict::Stranger;
        };
        let key = Key::of(&given, hash);
        if let Some(verdict) = self.remembered(&key) {
            return verdict;
        }
        let Some(_waiting) = Waiting::begin(&self.waiting) else {
            return Verdict::Busy;
        };
        let Ok(place) = self.place.clone().acquire_owned().await else {
            return Verdict::Stranger;
        };
        // A page asks for much at once: the first of its requests has found it out.
        if let Some(verdict) = self.remembered(&key) {
            return verdict;
        }
        let (hash, password) = (hash.clone(), given.password);
        let checking = tokio::task::spawn_blocking(move || {
            // A client that hangs up does not end the check, nor does it free the place.
            let _place = place;
            bcrypt::verify(&password, hash.expose())
        });
        let is_right = matches!(checking.await, Ok(Ok(true))) && known.is_some();
        let (found, verdict) = match is_right {
            true => (&self.right, Verdict::Welcome),
            false => (&self.wrong, Verdict::Stranger),
        };
        found.lock().add(key);
        verdict
    }

    fn remembered(&self, key: &Key) -> Option<Verdict> {
        if self.right.lock().has(key) {
            return Some(Verdict::Welcome);
        }
        self.wrong.lock().has(key).then_some(Verdict::Stranger)
    }
}

fn costliest(users: &BTreeMap<String, Secret>) -> Option<&Secret> {
    // `$2y$10$`
    let cost = |hash: &&Secret| hash.expose().get(4..6).map(str::to_owned);
    users.values().max_by_key(cost)
}

// Name, hash and password in one digest, each with its length, so that no two triples look alike. The hash is in it:
// another password in the file makes what was remembered of the old one void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key([u8; 32]);

impl Key {
    fn of(given: &Credentials, hash: &Secret) -> Self {
        let mut digest = Sha256::new();
        for part in [&given.user, hash.expose().as_bytes(), &given.password] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

// The newest so many.
struct Recent {
    most: usize,
    keys: HashSet<Key>,
    order: VecDeque<Key>,
}

impl Recent {
    fn new(most: usize) -> Self {
        Self {
            most,
            keys: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    fn has(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    fn add(&mut self, key: Key) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::AcqRel) < MOST_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn users(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        let hash = |password: &str| Secret::new(bcrypt::hash(password, 4).unwrap());
        pairs
            .iter()
            .map(|(name, password)| ((*name).to_owned(), hash(password)))
            .collect()
    }

    fn given(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.into(),
            password: password.into(),
        }
    }

    fn read(value: &str) -> Option<(String, String)> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Credentials::of(&headers).map(|given| (text(given.user), text(given.password)))
    }

    #[test]
    fn credentials_are_read_as_go_reads_them() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        // alice:pass:word, with the first colon ending the name
        assert_eq!(read("Basic YWxpY2U6cGFzczp3b3Jk"), pair("alice", "pass:word"));
        assert_eq!(read("bASIC Og=="), pair("", ""));
        for none in [
            "",
            "Basic",
            "Basic YWxpY2U=",
            "Basic !!",
            "Bearer YWxpY2U6cGFzczp3b3Jk",
            "Basic  Og==",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        assert!(Credentials::of(&HeaderMap::new()).is_none());
    }

    #[test]
    fn no_header_makes_it_panic() {
        let corpus = [&b"Basic YWxpY2U6cGFzczp3b3Jk"[..], b"basic Og==", b"Bearer x"].map(<[u8]>::to_vec);
        cupola_testkit::fuzz(5_000, &corpus, &["Basic ", "=", ":", " "], |bytes| {
            let Ok(value) = HeaderValue::from_bytes(bytes) else {
                return;
            };
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            if let Some(given) = Credentials::of(&headers) {
                assert!(!given.user.contains(&b':'), "the first colon ends the name");
            }
        });
    }

    #[tokio::test]
    async fn the_right_password_is_welcome_and_checked_once() {
        let users = users(&[("alice", "one"), ("bob", "two")]);
        let passwords = Passwords::default();
        assert_eq!(passwords.check(&users, given("alice", "one")).await, Verdict::Welcome);
        // Nobody can check any more: what is known is known without.
        passwords.place.close();
        assert_eq!(passwords.check(&users, given("alice", "one")).await, Verdict::Welcome);
        assert_eq!(passwords.check(&users, given("bob", "two")).await, Verdict::Stranger);
    }

    #[tokio::test]
    async fn wrong_passwords_and_names_are_strangers() {
        let users = users(&[("alice", "one"), ("bob", "two")]);
        let passwords = Passwords::default();
        for (user, password) in [
            ("alice", "two"),
            ("alice", ""),
            ("carol", "one"),
            ("carol", "two"),
            ("", ""),
            ("alice", "one\0"),
        ] {
            assert_eq!(
                passwords.check(&users, given(user, password)).await,
                Verdict::Stranger,
                "{user}"
            );
        }
        assert_eq!(
            passwords.check(&BTreeMap::new(), given("alice", "one")).await,
            Verdict::Stranger
        );
        let strange = Credentials {
            user: vec![0xff],
            password: b"one".to_vec(),
        };
        assert_eq!(passwords.check(&users, strange).await, Verdict::Stranger);
    }

    #[tokio::test]
    async fn another_password_in_the_file_counts_at_once() {
        let passwords = Passwords::default();
        let old = users(&[("alice", "one")]);
        assert_eq!(passwords.check(&old, given("alice", "one")).await, Verdict::Welcome);
        let new = users(&[("alice", "two")]);
        assert_eq!(passwords.check(&new, given("alice", "one")).await, Verdict::Stranger);
        assert_eq!(passwords.check(&new, given("alice", "two")).await, Verdict::Welcome);
    }

    #[tokio::test]
    async fn guesses_wait_in_a_line_that_ends_and_drive_out_nobody() {
        let users = users(&[("alice", "one")]);
        let passwords = Passwords::default();
        assert_eq!(passwords.check(&users, given("alice", "one")).await, Verdict::Welcome);
        for guess in 0..2 * REMEMBERED_WRONG {
            passwords
                .wrong
                .lock()
                .add(Key::of(&given("alice", &guess.to_string()), &users["alice"]));
        }
        assert_eq!(passwords.wrong.lock().keys.len(), REMEMBERED_WRONG);
        let busy = passwords.place.acquire().await.unwrap();
        passwords.waiting.store(MOST_WAITING, Ordering::Release);
        assert_eq!(passwords.check(&users, given("alice", "guess")).await, Verdict::Busy);
        assert_eq!(passwords.check(&users, given("alice", "one")).await, Verdict::Welcome);
        // Who was refused does not count.
        assert_eq!(passwords.waiting.load(Ordering::Acquire), MOST_WAITING);
        drop(busy);
    }

    #[test]
    fn a_name_that_is_not_known_costs_as_much_as_the_costliest() {
        let cheap = Secret::new(bcrypt::hash("x", 4).unwrap());
        let costly = Secret::new(bcrypt::hash("x", 5).unwrap());
        let users = BTreeMap::from([("a".to_owned(), costly.clone()), ("b".to_owned(), cheap)]);
        assert_eq!(costliest(&users).unwrap().expose(), costly.expose());
    }
}
