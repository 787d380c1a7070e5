//! What stays of the log behind a checkpoint because somebody still reads it.
//!
//! Nothing is moved or marked: replay begins at the newest checkpoint and does not look at what lies before it. To name
//! the series of held segments, the newest checkpoint before them stays, too.

use std::io;
use std::path::Path;

use cupola_env::Vfs;
use cupola_storage::LogPosition;

use super::CHECKPOINT;

/// What is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing.
    Nothing,
    /// All of it: whoever reads has not yet told from where.
    All,
    /// What comes from a place on, and not more than so many bytes of it, the newest.
    From(LogPosition, u64),
}

/// What [`release`] left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Released {
    /// Bytes that are there only because they are held.
    pub held_bytes: u64,
    /// Segments that were held and went all the same, since there were too many bytes.
    pub lost_segments: u64,
}

/// Whether this is a segment or a checkpoint before that number.
pub(super) fn is_before(name: &str, number: u64) -> bool {
    let own = segment_of(name).or_else(|| checkpoint_of(name));
    own.is_some_and(|own| own < number)
}

pub(super) fn segment_of(name: &str) -> Option<u64> {
    name.parse().ok()
}

pub(super) fn checkpoint_of(name: &str) -> Option<u64> {
    name.strip_prefix(CHECKPOINT)?.parse().ok()
}

/// The bytes of what replay reads: the newest checkpoint and what follows it. What lies before is there for others, if it
/// is, and what was damaged or not finished for nobody. What cannot be read counts nothing.
pub(crate) fn replayed_bytes(vfs: &dyn Vfs, dir: &Path) -> u64 {
    let names = vfs.list(dir).unwrap_or_default();
    let newest = names.iter().filter_map(|name| checkpoint_of(name)).max().unwrap_or(0);
    let is_own = |name: &&String| {
        segment_of(name)
            .or_else(|| checkpoint_of(name))
            .is_some_and(|own| own >= newest)
    };
    let own = names.iter().filter(is_own);
    own.filter_map(|name| vfs.len(&dir.join(name)).ok()).sum()
}

/// Removes what the newest checkpoint stands for and nobody holds.
///
/// # Errors
/// What the system says.
pub(crate) fn release(vfs: &dyn Vfs, dir: &Path, held: &Held) -> io::Result<Released> {
    let names = vfs.list(dir)?;
    let Some(number) = names.iter().filter_map(|name| checkpoint_of(name)).max() else {
        return Ok(Released::default());
    };
    let mut old: Vec<(String, u64)> = Vec::new();
    for name in names.into_iter().filter(|name| is_before(name, number)) {
        let bytes = vfs.len(&dir.join(&name))?;
        old.push((name, bytes));
    }
    let (gone, released) = plan(&old, number, held);
    for name in gone {
        vfs.remove_file(&dir.join(name))?;
    }
    Ok(released)
}

// Which files before checkpoint `number` go, given all of them with their bytes.
fn plan<'a>(old: &'a [(String, u64)], number: u64, held: &Held) -> (Vec<&'a str>, Released) {
    let all = || old.iter().map(|(name, _)| name.as_str()).collect();
    let (from, max_bytes) = match held {
        Held::Nothing => return (all(), Released::default()),
        Held::All => {
            let held_bytes = old.iter().map(|(_, bytes)| bytes).sum();
            return (
                Vec::new(),
                Released {
                    held_bytes,
                    lost_segments: 0,
                },
            );
        }
        Held::From(from, max_bytes) => (*from, *max_bytes),
    };
    let mut segments: Vec<(u64, &str, u64)> = old
        .iter()
        .filter_map(|(name, bytes)| Some((segment_of(name)?, name.as_str(), *bytes)))
        .collect();
    segments.sort_unstable();
    // Whoever has read a segment to its end needs the next one.
    let mut needed = from.segment;
    if let Some((_, _, bytes)) = segments.iter().find(|(segment, ..)| *segment == needed)
        && from.offset >= *bytes
    {
        needed += 1;
    }
    let needed = segments
        .iter()
        .map(|(segment, ..)| *segment)
        .find(|segment| *segment >= needed);
    let Some(needed) = needed else {
        return (all(), Released::default());
    };
    let mut checkpoints: Vec<(u64, &str, u64)> = old
        .iter()
        .filter_map(|(name, bytes)| Some((checkpoint_of(name)?, name.as_str(), *bytes)))
        .filter(|(at, ..)| *at < number)
        .collect();
    checkpoints.sort_unstable();
    let base = checkpoints.iter().rfind(|(at, ..)| *at <= needed);
    let begin = base.map_or(0, |(at, ..)| *at);
    // Later ones let go what lies before them once it is read. They stay where they are no longer than what they follow.
    let mut followed = begin;
    let in_between = checkpoints
        .iter()
        .filter(|(at, ..)| *at > begin)
        .filter(|(at, _, bytes)| {
            let before = segments
                .iter()
                .filter(|(segment, ..)| (followed..*at).contains(segment));
            let stays = before.map(|(.., bytes)| bytes).sum::<u64>() >= *bytes;
            if stays {
                followed = *at;
            }
            stays
        });
    let kept_checkpoints: Vec<_> = base.into_iter().chain(in_between).collect();
    let mut held_bytes = kept_checkpoints.iter().map(|(.., bytes)| bytes).sum();
    let mut lost_segments = 0;
    let mut kept: Vec<&str> = kept_checkpoints.iter().map(|(_, name, _)| *name).collect();
    // The newest are kept first.
    for (segment, name, bytes) in segments.iter().rev().filter(|(segment, ..)| *segment >= begin) {
        if lost_segments == 0 && held_bytes + bytes <= max_bytes {
            held_bytes += bytes;
            kept.push(name);
        } else if *segment >= needed {
            lost_segments += 1;
        }
    }
    if kept.len() <= kept_checkpoints.len() {
        return (
            all(),
            Released {
                held_bytes: 0,
                lost_segments,
            },
        );
    }
    let gone = old.iter().map(|(name, _)| name.as_str());
    (
        gone.filter(|name| !kept.contains(name)).collect(),
        Released {
            held_bytes,
            lost_segments,
        },
    )
}

#[cfg(test)]
mod tests {
    use cupola_env::RealFs;

    use super::*;

    fn files(names: &[&str]) -> Vec<(String, u64)> {
        names.iter().map(|name| ((*name).to_owned(), 10)).collect()
    }

    fn gone_of(old: &[(String, u64)]) -> Vec<&str> {
        plan(old, 7, &from(3, 0)).0
    }

    fn from(segment: u64, offset: u64) -> Held {
        Held::From(LogPosition { segment, offset }, 45)
    }

    #[test]
    fn what_is_read_stays_with_the_checkpoint_that_names_its_series() {
        let old = files(&["00000003", "00000004", "00000005", "00000006", "checkpoint-00000004"]);
        let gone = |held: Held| plan(&old, 7, &held).0;
        assert_eq!(gone(Held::Nothing).len(), 5);
        assert!(gone(Held::All).is_empty());
        assert!(gone(from(4, 3)).iter().eq(&["00000003"]));
        assert!(gone(from(5, 3)).iter().eq(&["00000003"]));
        // Read to its end, all of them.
        assert_eq!(gone(from(6, 10)).len(), 5);
        assert_eq!(gone(from(7, 0)).len(), 5);
        assert_eq!(gone(from(9, 0)).len(), 5);
        // Before the checkpoint nothing names the series but the log itself. It stays for later.
        assert!(
            plan(&old, 7, &Held::From(LogPosition { segment: 3, offset: 0 }, 99))
                .0
                .is_empty()
        );
        let long = [
            files(&["00000003", "00000004"]),
            vec![("checkpoint-00000004".to_owned(), 11)],
        ]
        .concat();
        assert!(gone_of(&long).iter().eq(&["checkpoint-00000004"]));
    }

    #[test]
    fn only_what_is_replayed_counts_as_what_is_not_in_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let check = |more: &[&str], expected: u64| {
            for (at, name) in more.iter().enumerate() {
                std::fs::write(dir.path().join(name), vec![0; 10 * (at + 1)]).unwrap();
            }
            assert_eq!(replayed_bytes(&RealFs, dir.path()), expected, "{more:?}");
        };
        check(&["00000001", "00000002"], 30);
        check(&["damaged-00000000", "checkpoint.tmp", "in-doubt", "imported"], 30);
        check(&["checkpoint-00000002", "00000003"], 10 + 20 + 20);
        assert_eq!(replayed_bytes(&RealFs, &dir.path().join("none")), 0);
    }

    #[test]
    fn the_oldest_go_where_too_much_is_held() {
        let old = files(&[
            "00000001", "00000002", "00000003", "00000004", "00000005", "00000006", "00000007",
        ]);
        let (gone, released) = plan(&old, 8, &from(2, 5));
        assert!(gone.iter().eq(&["00000001", "00000002", "00000003"]));
        assert_eq!(
            released,
            Released {
                held_bytes: 40,
                lost_segments: 2
            }
        );
        // What only names series goes without a loss.
        let (gone, released) = plan(&old, 8, &from(5, 5));
        assert_eq!((gone.len(), released.lost_segments), (3, 0));
        let (gone, released) = plan(&old, 8, &Held::From(LogPosition::default(), 5));
        assert_eq!((gone.len(), released.lost_segments, released.held_bytes), (7, 7, 0));
    }
}
