use super::*;

const HOUR: i64 = 3_600_000;

fn request(matchers: &[(&str, MatchOp, &str)], starts_at: Option<i64>, ends_at: i64) -> SilenceRequest {
    SilenceRequest {
        matchers: matchers
            .iter()
            .map(|(n, op, v)| ((*n).to_owned(), *op, (*v).to_owned()))
            .collect(),
        starts_at,
        ends_at,
        created_by: "me".into(),
        ..SilenceRequest::default()
    }
}

fn simple(starts_at: Option<i64>, ends_at: i64) -> SilenceRequest {
    request(&[("a", MatchOp::Equal, "1")], starts_at, ends_at)
}

fn all() -> Silences {
    Silences::new(HOUR, SilenceLimits::default(), false)
}

fn set(silences: &mut Silences, request: SilenceRequest, now: i64) -> Result<Arc<str>, SilenceError> {
    let (id, changes) = silences.planned(request, now)?;
    silences.change(changes);
    Ok(id)
}

fn expire(silences: &mut Silences, id: &str, now: i64) -> Result<(), SilenceError> {
    let changes = silences.planned_end(id, now)?;
    silences.change(changes);
    Ok(())
}

#[test]
fn ids_are_random_uuids() {
    let (a, b) = (new_uuid(), new_uuid());
    assert_ne!(a, b);
    let parts: Vec<&str> = a.split('-').collect();
    assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(
        parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']),
        "{a}"
    );
}

#[test]
fn an_active_silence_is_changed_in_place_where_its_past_stays_the_same() {
    let mut silences = all();
    let id = set(&mut silences, simple(None, HOUR), 1_000).unwrap();
    // Longer: the same one.
    let mut longer = simple(Some(1_999), 2 * HOUR);
    longer.id = id.to_string();
    assert_eq!(set(&mut silences, longer.clone(), 5_000).unwrap(), id);
    assert_eq!(silences.get(&id).unwrap().ends_at, 2 * HOUR);
    // Another begin or other matchers: a new one, and the old one has ended.
    longer.starts_at = Some(4_000);
    let other = set(&mut silences, longer, 6_000).unwrap();
    assert_ne!(other, id);
    assert_eq!(silences.get(&id).unwrap().state(6_000), SilenceState::Expired);
    assert_eq!(silences.get(&other).unwrap().starts_at, 6_000);
    let mut matchers = request(&[("b", MatchOp::Equal, "1")], Some(6_000), HOUR);
    matchers.id = other.to_string();
    assert_ne!(set(&mut silences, matchers, 7_000).unwrap(), other);
    assert_eq!(silences.get(&other).unwrap().ends_at, 7_000);
    assert_eq!(silences.iter().count(), 3);
}

#[test]
fn a_pending_silence_is_changed_in_place_where_it_stays_pending() {
    let mut silences = all();
    let id = set(&mut silences, simple(Some(HOUR), 2 * HOUR), 1_000).unwrap();
    let again = |starts_at| SilenceRequest {
        id: id.to_string(),
        ..simple(Some(starts_at), 3 * HOUR)
    };
    assert_eq!(set(&mut silences, again(HOUR + 1), 2_000).unwrap(), id);
    let other = set(&mut silences, again(0), 3_000).unwrap();
    assert_ne!(other, id);
    let old = silences.get(&id).unwrap();
    assert_eq!((old.starts_at, old.ends_at), (3_000, 3_000));
    // One that is over is never changed.
    let third = SilenceRequest {
        id: id.to_string(),
        ..simple(None, HOUR)
    };
    assert_ne!(set(&mut silences, third, 4_000).unwrap(), id);
}

#[test]
fn expiring_twice_is_fine_and_an_unknown_id_is_not_found() {
    let mut silences = all();
    let id = set(&mut silences, simple(None, HOUR), 0).unwrap();
    for now in [10, 20] {
        assert_eq!(expire(&mut silences, &id, now), Ok(()));
        assert_eq!(silences.get(&id).unwrap().ends_at, 10);
    }
    let unknown = expire(&mut silences, "nope", 30);
    assert_eq!(unknown, Err(SilenceError::NotFound));
    let unknown = SilenceRequest {
        id: "nope".into(),
        ..simple(None, HOUR)
    };
    assert_eq!(set(&mut silences, unknown, 0), Err(SilenceError::NotFound));
}

#[test]
fn a_silence_of_negative_matchers_alone_was_refused() {
    let negative = &[("a", MatchOp::NotRegex, "b.*"), ("c", MatchOp::NotEqual, "d")];
    assert!(set(&mut all(), request(negative, None, 1), 0).is_ok());
}

#[test]
fn what_makes_no_sense_is_refused_in_alertmanagers_words() {
    let check = |request: SilenceRequest, expected: &str| {
        assert_eq!(set(&mut all(), request, 0).unwrap_err().to_string(), expected);
    };
    let nothing = "invalid silence: at least one matcher must not match the empty string";
    check(request(&[], None, 1), "invalid silence: at least one matcher required");
    check(request(&[("a", MatchOp::Equal, "")], None, 1), nothing);
    check(request(&[("a", MatchOp::Regex, ".*")], None, 1), nothing);
    check(
        request(&[("a", MatchOp::Regex, "(")], None, 1),
        "invalid silence: invalid label matcher 0: invalid regular expression \"(\": \
         error parsing regexp: missing closing ): `^(?:()$`",
    );
    check(
        request(&[("a", MatchOp::Equal, "b"), ("", MatchOp::Equal, "b")], None, 1),
        "invalid silence: invalid label matcher 1: invalid label name \"\"",
    );
    check(
        simple(Some(5), 4),
        "invalid silence: end time must not be before start time",
    );
    let mut classic = Silences::new(HOUR, SilenceLimits::default(), true);
    let dashed = request(&[("bad-name", MatchOp::Equal, "b")], None, 1);
    assert_eq!(
        set(&mut classic, dashed.clone(), 0).unwrap_err().to_string(),
        "invalid silence: invalid label matcher 0: invalid label name \"bad-name\""
    );
    assert!(set(&mut all(), dashed, 0).is_ok(), "fine since 0.27");
}

fn matcher(text: &str) -> Matcher {
    let (name, value) = text.split_once('=').unwrap();
    Matcher::new_no_newline(name, MatchOp::Equal, value).unwrap()
}

// Of two sets: `a=1,b=2` or `c=3`.
fn of_two_sets() -> SilenceRequest {
    let mut request = request(&[("a", MatchOp::Equal, "1"), ("b", MatchOp::Equal, "2")], None, HOUR);
    request.further_sets = vec![vec![("c".into(), MatchOp::Equal, "3".into())]];
    request
}

#[test]
fn alerts_that_any_of_several_sets_matches_are_silenced() {
    let mut silences = all();
    let id = set(&mut silences, of_two_sets(), 0).unwrap();
    for (labels, is_silenced) in [
        (&[("a", "1"), ("b", "2")][..], true),
        (&[("c", "3")], true),
        (&[("a", "1"), ("c", "3")], true),
        (&[("a", "1")], false),
        (&[("b", "2"), ("c", "4")], false),
    ] {
        let labels = Labels::from_pairs(labels.iter().copied());
        let by = silences.silencing(labels.fingerprint(), &labels, 1);
        assert_eq!(!by.is_empty(), is_silenced, "{labels:?}");
    }
    // Longer, with the same sets, it stays the same; without one of them it is another.
    let mut longer = of_two_sets();
    (longer.id, longer.starts_at, longer.ends_at) = (id.to_string(), Some(0), 2 * HOUR);
    assert_eq!(set(&mut silences, longer.clone(), 5).unwrap(), id);
    longer.further_sets.clear();
    assert_ne!(set(&mut silences, longer, 6).unwrap(), id);
    let mut wrong = of_two_sets();
    wrong.further_sets.push(vec![("d".into(), MatchOp::Regex, ".*".into())]);
    assert_eq!(
        set(&mut silences, wrong, 0).unwrap_err().to_string(),
        "invalid silence: matcher set 2: at least one matcher must not match the empty string"
    );
}

#[test]
fn sets_are_read_as_newer_alertmanagers_write_them_and_written_as_they_and_older_ones_read_them() {
    let mut silences = all();
    let id = set(&mut silences, of_two_sets(), 0).unwrap();
    let silence = silences.get(&id).unwrap();
    let written = encode(&silence, HOUR);
    let (raw, expires_at) = decode(&written).unwrap();
    assert_eq!((raw.silence().as_ref(), expires_at), (Ok(&*silence), HOUR));
    // To disk they write the sets alone, also one set: field 11, and no field 2.
    let of = |sets: &[&[&str]]| -> Silence {
        let mut inner = cupola_wire::Message::default();
        inner.bytes(1, b"id");
        for set in sets {
            let mut message = cupola_wire::Message::default();
            for text in *set {
                message.message(1, &encode_matcher(&matcher(text)));
            }
            inner.message(11, &message.0);
        }
        inner.time(4, HOUR);
        let mut outer = cupola_wire::Message::default();
        outer.message(1, &inner.0);
        decode(&outer.0).unwrap().0.silence().unwrap()
    };
    let one = of(&[&["a=1", "b=2"]]);
    assert_eq!((&one.matchers, one.further_sets.len()), (&silence.matchers, 0));
    let two = of(&[&["a=1", "b=2"], &["c=3"]]);
    assert_eq!(
        (&two.matchers, &two.further_sets),
        (&silence.matchers, &silence.further_sets)
    );
    let (empty, rest) = (of(&[&[], &["c=3"]]), of(&[&[]]));
    assert_eq!(empty.matchers, [matcher("c=3")], "an empty set would mute everything");
    assert!(!rest.matches(&Labels::from_pairs([("c", "3")])));
    // Those who do not know sets find the first one where they look for it.
    let mut old = cupola_wire::Fields(&written);
    let inner = old.next().unwrap().unwrap().1.bytes(1).unwrap();
    let listed = cupola_wire::Fields(inner).flatten().filter(|(number, _)| *number == 2);
    assert_eq!(listed.count(), 2);
}

#[test]
fn limits_hold_and_a_plan_changes_nothing() {
    let limits = SilenceLimits { count: 1, bytes: 120 };
    let mut silences = Silences::new(HOUR, limits, false);
    let mut large = simple(None, HOUR);
    large.comment = "x".repeat(200);
    assert!(matches!(
        set(&mut silences, large, 0),
        Err(SilenceError::TooLarge(200.., 120))
    ));
    assert!(silences.planned(simple(None, HOUR), 0).is_ok());
    assert_eq!(silences.iter().count(), 0);
    let id = set(&mut silences, simple(None, HOUR), 0).unwrap();
    assert_eq!(
        set(&mut silences, simple(None, HOUR), 0).unwrap_err().to_string(),
        "exceeded maximum number of silences: 1 (limit: 1)"
    );
    // Changing the one that is there is no further one.
    let longer = SilenceRequest {
        id: id.to_string(),
        ..simple(Some(0), 2 * HOUR)
    };
    assert_eq!(set(&mut silences, longer, 0), Ok(id));
}

#[test]
fn an_alert_is_silenced_from_the_begin_to_the_end() {
    let mut silences = all();
    let labels = Labels::from_pairs([("a", "1")]);
    let id = set(&mut silences, simple(Some(100), 200), 0).unwrap();
    let mut by = |now| silences.silencing(7, &labels, now).len();
    assert_eq!([0, 99, 100, 199, 200].map(&mut by), [0, 0, 1, 1, 0]);
    // A later one is seen although the first look was remembered, and so is one that is gone.
    let second = set(&mut silences, simple(None, 500), 150).unwrap();
    let mut both = vec![id.clone(), second.clone()];
    both.sort();
    assert_eq!(silences.silencing(7, &labels, 150), both);
    expire(&mut silences, &second, 160).unwrap();
    assert_eq!(silences.silencing(7, &labels, 160), [id]);
    assert_eq!(silences.collect_garbage(160 + HOUR), 1);
    assert_eq!(silences.collect_garbage(200 + HOUR), 1);
    assert!(silences.silencing(7, &labels, 170).is_empty());
    assert!(silences.by_version.is_empty());
}

#[test]
fn the_younger_of_two_silences_stays() {
    let mut silences = all();
    let id = set(&mut silences, simple(None, HOUR), 10).unwrap();
    let mut other = Silence::clone(&silences.get(&id).unwrap());
    assert!(!silences.merge(other.clone(), 9 * HOUR, 10), "no news, so gossip ends");
    other.updated_at = 11;
    other.ends_at = 20;
    assert!(silences.merge(other.clone(), 9 * HOUR, 10));
    assert_eq!(silences.get(&id).unwrap().ends_at, 20);
    other.updated_at = 99;
    assert!(!silences.merge(other, 50, 50), "past its time");
}

#[test]
fn shared_silence_cases() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/silences") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("cases.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&text).unwrap();
    let labels = |json: &serde_json::Value| -> Labels {
        let pairs = json.as_object().unwrap().iter();
        pairs
            .map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()))
            .collect()
    };
    let mut checked = 0;
    for case in cases["cases"].as_array().unwrap() {
        let matchers = case["matchers"].as_array().unwrap().iter().map(|m| {
            let text = |name: &str| m[name].as_str().unwrap().to_owned();
            let op = match (m["isRegex"].as_bool().unwrap(), m["isEqual"].as_bool().unwrap()) {
                (false, true) => MatchOp::Equal,
                (false, false) => MatchOp::NotEqual,
                (true, true) => MatchOp::Regex,
                (true, false) => MatchOp::NotRegex,
            };
            (text("name"), op, text("value"))
        });
        let mut silences = all();
        let request = SilenceRequest {
            matchers: matchers.collect(),
            ends_at: HOUR,
            ..SilenceRequest::default()
        };
        set(&mut silences, request, 0).unwrap();
        let mut got: Vec<Labels> = case["alerts"].as_array().unwrap().iter().map(labels).collect();
        got.retain(|l| !silences.silencing(l.fingerprint(), l, 1).is_empty());
        got.sort();
        let mut want: Vec<Labels> = case["silenced"].as_array().unwrap().iter().map(labels).collect();
        want.sort();
        assert_eq!(got, want, "{case}");
        checked += 1;
    }
    assert!(checked >= 5, "only {checked} cases");
}
