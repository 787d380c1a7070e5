//! How far a destination is: a small file of its own, `docs/format/remote-write-cursor.md`.
//!
//! Series are spread over lanes by their labels, and each shard sends some of the lanes. A lane's place never depends on
//! how many shards there are, so what was acknowledged is known exactly whenever the process ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_env::{Vfs, VfsFile};
use cupola_storage::LogPosition;
use tracing::warn;

/// How many lanes there are; there are no more shards than that.
pub(super) const LANES: usize = 256;

/// Of one sample: its record and its number there. Nothing lies at the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub segment: u32,
    pub offset: u32,
    pub index: u32,
}

impl Place {
    pub(super) fn of(at: LogPosition, index: u32) -> Self {
        Self {
            segment: u32::try_from(at.segment).unwrap_or(u32::MAX),
            offset: u32::try_from(at.offset).unwrap_or(u32::MAX),
            index,
        }
    }

    pub(super) fn position(self) -> LogPosition {
        LogPosition {
            segment: self.segment.into(),
            offset: self.offset.into(),
        }
    }
}

/// Some of the lanes: those that leave `shard` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub shard: u16,
    pub of: u16,
}

impl Share {
    fn lanes(self) -> impl Iterator<Item = usize> {
        (usize::from(self.shard)..LANES).step_by(usize::from(self.of.max(1)))
    }
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Everything before it was acknowledged, or is not to be sent.
    pub low: LogPosition,
    /// Of each lane the last sample that the destination has taken or refused.
    pub done: Vec<Place>,
    /// Of each lane the last sample that was on its way, and of which shard.
    pub tried: Vec<(Place, u16)>,
    /// How many shards there were.
    pub shards: u16,
}

impl State {
    fn new(low: LogPosition) -> Self {
        Self {
            low,
            done: vec![Place::default(); LANES],
            tried: vec![Default::default(); LANES],
            shards: 0,
        }
    }

    fn apply(&mut self, record: Record) {
        let Record { kind, share, place } = record;
        match kind {
            Kind::Low => self.low = place.position(),
            Kind::Done => share.lanes().for_each(|lane| {
                if let Some(done) = self.done.get_mut(lane) {
                    *done = place.max(*done);
                }
            }),
            Kind::Tried => {
                self.shards = share.of;
                for lane in share.lanes() {
                    if let Some(tried) = self.tried.get_mut(lane)
                        && tried.0 < place
                    {
                        *tried = (place, share.shard);
                    }
                }
            }
        }
    }

    /// No place is after `end`: what lies there is of another log.
    fn clamp(&mut self, end: LogPosition) {
        let end_place = Place::of(end, 0);
        self.low = self.low.min(end);
        for place in self
            .done
            .iter_mut()
            .chain(self.tried.iter_mut().map(|tried| &mut tried.0))
        {
            *place = end_place.min(*place);
        }
    }

    /// The newest place that the file speaks of.
    pub(super) fn newest(&self) -> Place {
        let tried = self.tried.iter().map(|tried| tried.0);
        tried.chain(self.done.iter().copied()).max().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Low = 1,
    Done = 2,
    Tried = 3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    kind: Kind,
    share: Share,
    place: Place,
}

const MAGIC: &[u8; 8] = b"CUPRWC1\n";
const RECORD: usize = 21;
// Written anew once it is longer than this.
const LONGEST: u64 = 256 << 10;

impl Record {
    fn put(self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.push(self.kind as u8);
        out.extend(self.share.shard.to_le_bytes());
        out.extend(self.share.of.to_le_bytes());
        for number in [self.place.segment, self.place.offset, self.place.index] {
            out.extend(number.to_le_bytes());
        }
        let crc = crc32c::crc32c(out.get(begin..).unwrap_or_default());
        out.extend(crc.to_le_bytes());
    }

    fn read(bytes: &[u8; RECORD]) -> Option<Self> {
        let (told, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(told) != u32::from_le_bytes(*crc) {
            return None;
        }
        let short = |at: usize| Some(u16::from_le_bytes(told.get(at..at + 2)?.try_into().ok()?));
        let long = |at: usize| Some(u32::from_le_bytes(told.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            kind: match told.first()? {
                1 => Kind::Low,
                2 => Kind::Done,
                3 => Kind::Tried,
                _ => return None,
            },
            share: Share {
                shard: short(1)?,
                of: short(3)?,
            },
            place: Place {
                segment: long(5)?,
                offset: long(9)?,
                index: long(13)?,
            },
        })
    }
}

// `None` where these are not the bytes of such a file. What follows a torn record is not read.
fn parse(bytes: &[u8]) -> Option<State> {
    let (records, _) = bytes.strip_prefix(MAGIC)?.as_chunks::<RECORD>();
    let mut state = State::new(LogPosition::default());
    for record in records.iter().map_while(Record::read) {
        state.apply(record);
    }
    Some(state)
}

fn image(state: &State) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let of = LANES as u16;
    let mut put = |kind, share, place| Record { kind, share, place }.put(&mut out);
    put(Kind::Low, Share { shard: 0, of }, Place::of(state.low, 0));
    for (lane, place) in (0..).zip(&state.done) {
        put(Kind::Done, Share { shard: lane, of }, *place);
    }
    // What was tried is of interest only as far as it was not done: by shards where their lanes agree, else by lanes.
    let undone = |lane: usize| {
        let (tried, shard) = *state.tried.get(lane)?;
        (Some(&tried) > state.done.get(lane)).then_some((tried, shard))
    };
    let mut by_shard = Vec::new();
    for shard in 0..state.shards {
        let share = Share {
            shard,
            of: state.shards,
        };
        let mut all = share.lanes().filter_map(undone);
        let Some((place, _)) = all.next().filter(|(_, of)| *of == shard) else {
            continue;
        };
        let agrees = |lane: usize| match undone(lane) {
            Some(told) => told == (place, shard),
            None => Some(&place) <= state.done.get(lane),
        };
        if share.lanes().all(agrees) {
            by_shard.push((share, place));
        }
    }
    for lane in 0..LANES {
        let is_told = by_shard
            .iter()
            .any(|(share, _)| share.lanes().any(|other| other == lane));
        if let (false, Some((place, _))) = (is_told, undone(lane)) {
            let shard = lane as u16;
            put(Kind::Tried, Share { shard, of }, place);
        }
    }
    for (share, place) in by_shard {
        put(Kind::Tried, share, place);
    }
    if state.shards > 0 {
        let share = Share {
            shard: 0,
            of: state.shards,
        };
        put(Kind::Tried, share, Place::default());
    }
    out
}

/// The file of one destination, and what it says.
pub(super) struct Cursor {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    state: State,
    file: Option<Box<dyn VfsFile>>,
    len: u64,
    is_dirty: bool,
    is_failing: bool,
}

impl Cursor {
    /// Reads the file where it is there; its places are none of this process's log, which begins at `begin`. Where there is
    /// no file, the cursor stands at `end`, where that log ends by now.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(vfs: Arc<dyn Vfs>, path: &Path, begin: LogPosition, end: LogPosition) -> io::Result<Self> {
        let state = match vfs.read(path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let state = match state {
            Some(mut state) => {
                state.clamp(begin);
                state
            }
            None => State::new(end),
        };
        let mut cursor = Self {
            vfs,
            path: path.to_path_buf(),
            state,
            file: None,
            len: 0,
            is_dirty: false,
            is_failing: false,
        };
        cursor.rewrite()?;
        Ok(cursor)
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    // Whole, on the device, in the place of what is there.
    fn rewrite(&mut self) -> io::Result<()> {
        let tmp = self.path.with_extension("tmp");
        if self.vfs.len(&tmp).is_ok() {
            self.vfs.remove_file(&tmp)?;
        }
        let bytes = image(&self.state);
        let mut file = self.vfs.create_new(&tmp)?;
        file.append(&bytes)?;
        file.sync()?;
        drop(file);
        self.file = None;
        self.vfs.rename(&tmp, &self.path)?;
        self.file = Some(self.vfs.open_append(&self.path)?);
        self.len = bytes.len() as u64;
        self.is_dirty = false;
        Ok(())
    }

    fn note(&mut self, record: Record) {
        self.state.apply(record);
        let mut bytes = Vec::with_capacity(RECORD);
        record.put(&mut bytes);
        let written = match &mut self.file {
            Some(file) => file.append(&bytes).inspect_err(|_| self.file = None),
            None => self.rewrite(),
        };
        match written {
            Ok(()) => {
                self.len += RECORD as u64;
                self.is_dirty = true;
                self.is_failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    warn!(file = %self.path.display(), %error, "cannot note how far remote write is; after a restart samples may be sent again");
                }
            }
        }
    }

    /// A shard is about to send its samples up to this one.
    pub(super) fn tried(&mut self, share: Share, place: Place) {
        let kind = Kind::Tried;
        self.note(Record { kind, share, place });
    }

    /// A shard's samples up to this one need not be sent any more.
    pub(super) fn done(&mut self, share: Share, place: Place) {
        let kind = Kind::Done;
        self.note(Record { kind, share, place });
    }

    /// Nothing before this place needs to be read any more.
    pub(super) fn low(&mut self, low: LogPosition) {
        if low > self.state.low {
            let (kind, share) = (Kind::Low, Share { shard: 0, of: 1 });
            let place = Place::of(low, 0);
            self.note(Record { kind, share, place });
        }
    }

    /// Makes the file short again where it is long. The path, where something is not on the device yet.
    pub(super) fn tidy(&mut self) -> Option<PathBuf> {
        if self.len > LONGEST
            && let Err(error) = self.rewrite()
        {
            warn!(file = %self.path.display(), %error, "cannot write anew how far remote write is; it is tried again");
        }
        std::mem::take(&mut self.is_dirty).then(|| self.path.clone())
    }
}

#[cfg(test)]
mod tests {
    use cupola_env::RealFs;

    use super::*;

    fn at(segment: u64, offset: u64) -> LogPosition {
        LogPosition { segment, offset }
    }

    fn place(segment: u64, offset: u64, index: u32) -> Place {
        Place::of(at(segment, offset), index)
    }

    #[test]
    fn what_was_noted_is_there_again_for_any_number_of_shards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let vfs: Arc<dyn Vfs> = Arc::new(RealFs);
        let mut cursor = Cursor::open(vfs.clone(), &path, at(1, 0), at(3, 7)).unwrap();
        assert_eq!(cursor.state().low, at(3, 7));
        let three = |shard| Share { shard, of: 3 };
        cursor.low(at(4, 0));
        cursor.tried(three(1), place(4, 10, 2));
        cursor.done(three(1), place(4, 10, 2));
        cursor.tried(three(2), place(4, 10, 5));
        cursor.done(Share { shard: 1, of: 2 }, place(4, 9, 0));
        let expected = cursor.state().clone();
        assert_eq!(expected.done[1], place(4, 10, 2));
        assert_eq!(expected.done[3], place(4, 9, 0));
        assert_eq!(expected.tried[5], (place(4, 10, 5), 2));
        drop(cursor);
        for _ in 0..2 {
            let cursor = Cursor::open(vfs.clone(), &path, at(9, 0), at(9, 0)).unwrap();
            let state = cursor.state();
            assert_eq!((state.low, &state.done, state.shards), (at(4, 0), &expected.done, 3));
            assert_eq!(state.tried[5], (place(4, 10, 5), 2));
            assert_eq!(state.newest(), place(4, 10, 5));
        }
    }

    #[test]
    fn what_was_on_its_way_when_the_number_of_shards_changed_stays_in_doubt() {
        let mut state = State::new(at(1, 0));
        let mut note = |kind, shard, of, place| {
            let share = Share { shard, of };
            state.apply(Record { kind, share, place });
        };
        note(Kind::Tried, 1, 4, place(1, 50, 1));
        note(Kind::Tried, 2, 4, place(1, 50, 2));
        note(Kind::Done, 2, 4, place(1, 50, 2));
        note(Kind::Tried, 0, 3, place(1, 60, 1));
        let back = parse(&image(&state)).unwrap();
        assert_eq!((back.low, &back.done, back.shards), (state.low, &state.done, 3));
        for lane in 0..LANES {
            let is_undone = |state: &State| (state.tried[lane].0 > state.done[lane]).then_some(state.tried[lane].0);
            assert_eq!(is_undone(&back), is_undone(&state), "{lane}");
        }
        // What was on its way together is still told apart from the rest.
        assert_ne!(back.tried[1].1, back.tried[3].1);
        assert_eq!(back.tried[3].1, back.tried[6].1);
    }

    #[test]
    fn places_of_another_log_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let vfs: Arc<dyn Vfs> = Arc::new(RealFs);
        let mut cursor = Cursor::open(vfs.clone(), &path, at(1, 0), at(8, 7)).unwrap();
        cursor.done(Share { shard: 0, of: 1 }, place(8, 90, 2));
        drop(cursor);
        let cursor = Cursor::open(vfs, &path, at(3, 0), at(3, 50)).unwrap();
        assert_eq!(cursor.state().low, at(3, 0));
        assert!(cursor.state().done.iter().all(|done| *done == place(3, 0, 0)));
    }

    #[test]
    fn a_long_file_is_made_short_and_a_torn_one_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let vfs: Arc<dyn Vfs> = Arc::new(RealFs);
        let mut cursor = Cursor::open(vfs.clone(), &path, at(1, 0), at(1, 0)).unwrap();
        for n in 0..20_000 {
            cursor.done(Share { shard: 0, of: 1 }, place(1, n, 0));
        }
        let long = std::fs::metadata(&path).unwrap().len();
        assert!(cursor.tidy().is_none());
        cursor.low(at(1, 5));
        assert_eq!(cursor.tidy().as_deref(), Some(&*path));
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() as u64 * 10 < long);
        assert_eq!(parse(&bytes[..bytes.len() - 1]).unwrap().low, at(1, 0));
        assert_eq!(parse(&bytes).unwrap().low, at(1, 5));
        assert_eq!(parse(b"something"), None);
    }

    #[test]
    fn a_full_disk_is_made_up_for_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let disk = cupola_env::FaultyFs::default();
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let mut cursor = Cursor::open(vfs.clone(), &path, at(1, 0), at(1, 0)).unwrap();
        let all = Share { shard: 0, of: 1 };
        disk.set_budget(Some(30));
        for n in 1..9 {
            cursor.done(all, place(1, n, 0));
        }
        // What is there is what was written before.
        assert_eq!(parse(&std::fs::read(&path).unwrap()).unwrap().done[0], place(1, 1, 0));
        disk.set_budget(None);
        cursor.done(all, place(1, 9, 0));
        assert_eq!(parse(&std::fs::read(&path).unwrap()).unwrap().done[0], place(1, 9, 0));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = State::new(at(1, 2));
        state.shards = 7;
        cupola_testkit::fuzz(2_000, &[image(&state), MAGIC.to_vec()], &[], |bytes| {
            if let Some(state) = parse(bytes) {
                let again = parse(&image(&state)).unwrap();
                assert_eq!((again.low, again.done), (state.low, state.done));
            }
        });
    }
}
