//! What a message takes in memory is what is reckoned for it, also where two bytes say that there is a sample.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::sync::Arc;

use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_remote::{Memory, WriteError, WriteReceiver};
use cupola_testkit::protobuf::field;
use cupola_tsdb::{Options, Tsdb};

const MIB: usize = 1 << 20;
// What the allocator, the log and the threads of the test take besides.
const BESIDES: usize = 24 * MIB;

// Kilobytes of a line of `/proc/self/status`, as bytes.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

// By how much the process grew at most while `work` ran.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    // Begins to measure anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let done = work();
    (status("VmHWM:").saturating_sub(before), done)
}

// Of each kind, so many that nothing is said of, in one series.
fn hostile() -> [(&'static str, bool, Vec<u8>); 6] {
    let name = field(1, &[field(1, b"__name__"), field(2, b"a")].concat());
    let of = |one: &[u8], count: usize| field(1, &[name.clone(), one.repeat(count)].concat());
    let v2 = |one: &[u8], count: usize| {
        let symbols = [field(4, b""), field(4, b"__name__"), field(4, b"a")].concat();
        [symbols, field(5, &[field(1, &[1, 2]), one.repeat(count)].concat())].concat()
    };
    let second = [8, 1];
    [
        ("samples", false, of(&[0x12, 0], 600_000)),
        ("histograms", false, of(&[0x22, 0], 150_000)),
        ("exemplars", false, of(&[0x1a, 0], 600_000)),
        (
            "families",
            false,
            (0..60_000_u32)
                .flat_map(|n| field(3, &field(2, &n.to_le_bytes())))
                .collect(),
        ),
        ("samples of 2.0", true, v2(&[0x12, 0], 600_000)),
        (
            "symbols",
            true,
            [field(4, b""), [0x22, 0].repeat(1_500_000), field(5, &second)].concat(),
        ),
    ]
}

#[test]
fn two_bytes_that_say_there_is_a_sample_are_reckoned_as_what_they_become() {
    for (what, is_second, message) in hostile() {
        let packed = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(1000));
        let options = Options::new(dir.path().to_path_buf());
        let db = Tsdb::open(options, clock, Arc::new(RealFs), &Registry::default()).unwrap();
        let receiver = WriteReceiver::new(&Registry::default());
        let write = |memory: &mut Memory<'_>| match is_second {
            false => receiver.write(&db, &packed, memory, 1000),
            true => receiver.write_v2(&db, &packed, memory, 1000).1,
        };
        // With less than it takes nothing is written, and no more is taken.
        let (least, mut asked) = (MIB, 0);
        let mut none = |bytes| {
            asked += bytes;
            false
        };
        let (grown, refused) = peak(|| write(&mut Memory::new(64 * MIB, least, &mut none)));
        assert!(
            matches!(refused, Err(WriteError::NoRoom(bytes)) if bytes > least),
            "{what}: {refused:?}"
        );
        assert!(asked > 0 && grown < least + message.len() + BESIDES, "{what}: {grown}");
        assert_eq!(db.head_stats().maxt, i64::MIN, "{what}");
        // With all that is asked for it is written, or refused for what is in it, and takes no more than that.
        let mut all = least;
        let mut more = |bytes| {
            all += bytes;
            true
        };
        let mut memory = Memory::new(64 * MIB, least, &mut more);
        let (grown, written) = peak(|| write(&mut memory));
        let taken = memory.taken();
        assert!(!matches!(written, Err(WriteError::NoRoom(_))), "{what}");
        assert!(
            grown < taken + message.len() + BESIDES,
            "{what}: {} bytes are reckoned as {taken} and took {grown}",
            message.len()
        );
        assert!(
            taken > 8 * message.len(),
            "{what}: {} bytes are reckoned as {taken}",
            message.len()
        );
        db.close();
    }
}
