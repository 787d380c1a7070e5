use std::path::Path;

use cupola_env::RealFs;
use cupola_model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;

use crate::chunks::ChunkMeta;
use crate::file::Window;
use crate::index::matching::candidates;
use crate::index::read::Index;
use crate::index::series::{Record, put_chunks};
use crate::index::symbols::Symbols;
use crate::index::table::PostingsTable;
use crate::index::write::write_index;

type Written = Vec<(Labels, Vec<ChunkMeta>)>;

fn open(path: &Path) -> Index {
    Index::open(&RealFs, path, "test".into()).unwrap()
}

fn series() -> impl Strategy<Value = Written> {
    let label = (
        prop::sample::select(vec!["__name__", "a", "b", "instance", "é"]),
        "(|x|y|z|xy|[a-e]{1,3}|é{100})",
    );
    let labels = prop::collection::vec(label, 1..5).prop_map(Labels::from_pairs::<&str, String>);
    let chunk = (0_i64..100, 0_i64..1000, 0_u64..100_000);
    let chunks = (-5000_i64..5000, prop::collection::vec(chunk, 1..5)).prop_map(|(start, chunks)| {
        let (mut ts, mut at) = (start, 8);
        let mut out = Vec::new();
        for (gap, len, size) in chunks {
            let mint = ts + gap + 1;
            out.push(ChunkMeta {
                mint,
                maxt: mint + len,
                chunk_ref: at,
            });
            (ts, at) = (mint + len, at + size);
        }
        out
    });
    prop::collection::btree_map(labels, chunks, 0..40)
        .prop_map(|map| map.into_iter().filter(|(labels, _)| !labels.is_empty()).collect())
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let name = prop::sample::select(vec!["__name__", "a", "b", "instance", "é", "absent", ""]);
    let op = prop::sample::select(vec![
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ]);
    let value = prop::sample::select(vec![
        "",
        "x",
        "y",
        "xy",
        "nothing",
        "x|y",
        "x|",
        "(x|xy|nothing)",
        ".*",
        ".+",
        "x.*",
        "a.*",
        ".*y",
        "[xy]",
        "[a-c]+",
        "x?",
        "é.*",
    ]);
    (name, op, value).prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_index_gives_what_was_written_and_matches_as_labels_do(
        written in series(),
        queries in prop::collection::vec(prop::collection::vec(matcher(), 0..4), 1..12),
        at_once in 1_u64..50,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        write_index(&path, &written, at_once).unwrap();
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is removed");
        let index = open(&path);

        let (mut window, mut record) = (Window::default(), Record::default());
        let mut read = Vec::new();
        let refs = index.all_series().unwrap();
        for series in &refs {
            index.series(*series, &mut window, &mut record).unwrap();
            read.push((index.labels(&record), record.chunks.clone()));
        }
        prop_assert_eq!(&read, &written);

        for matchers in queries {
            let found = candidates(&index, &matchers).unwrap();
            let expected = refs.iter().zip(&written)
                .filter(|(_, (labels, _))| matchers.iter().all(|m| m.matches_labels(labels)))
                .map(|(series, _)| *series)
                .collect::<Vec<_>>();
            let mut kept = Vec::new();
            for series in found.series {
                index.series(series, &mut window, &mut record).unwrap();
                let labels = index.labels(&record);
                if found.deferred.iter().all(|m| m.matches_labels(&labels)) {
                    kept.push(series);
                }
            }
            prop_assert_eq!(kept, expected, "{:?}", matchers);
        }
    }
}

/// An index, the ranges of its parts and their parsers, so that damage gets past the checksums.
#[test]
fn no_bytes_make_the_parsers_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let labels = |i: u32| Labels::from_pairs([("__name__", "up"), ("instance", &format!("host{i}"))]);
    let chunk = |i: i64| ChunkMeta {
        mint: i,
        maxt: i + 5,
        chunk_ref: i as u64,
    };
    let written: Written = (0..40)
        .map(|i| (labels(i), vec![chunk(i.into()), chunk(i64::from(i) + 10)]))
        .collect();
    write_index(&path, &written, 1000).unwrap();
    let bytes = std::fs::read(&path).unwrap();

    let toc = &bytes[bytes.len() - 52..];
    let offset = |i: usize| u64::from_be_bytes(toc[i * 8..i * 8 + 8].try_into().unwrap()) as usize;
    let section = |at: usize| {
        let len = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        bytes[at + 4..at + 4 + len].to_vec()
    };
    let symbols_body = section(offset(0));
    let symbols = Symbols::parse(&symbols_body, 0).unwrap();
    assert_eq!(symbols.len(), 1 + 3 + 40);

    cupola_testkit::fuzz(3_000, std::slice::from_ref(&symbols_body), &["\0", "\u{1}"], |bytes| {
        if let Ok(symbols) = Symbols::parse(bytes, 0) {
            for id in 0..symbols.len() as u32 + 1 {
                assert_eq!(
                    symbols.get(id).and_then(|s| symbols.find(s)),
                    symbols.get(id).map(|_| id)
                );
            }
        }
    });
    cupola_testkit::fuzz(3_000, &[section(offset(5))], &["\u{2}", "up"], |bytes| {
        if let Ok(table) = PostingsTable::parse(bytes, 0, &symbols) {
            for name in table.names() {
                let values: Vec<_> = table.values(name, &symbols).iter().collect();
                assert!(values.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    });
    let mut entry = vec![2, 1, 2, 3, 4];
    put_chunks(&mut entry, &[chunk(1), chunk(900)]);
    let mut record = Record::default();
    cupola_testkit::fuzz(3_000, &[entry], &["\u{7f}"], |bytes| drop(record.parse(bytes, 0)));

    // The whole file, mostly to see that lengths and offsets are checked before they are believed.
    let damaged = dir.path().join("damaged");
    let mut window = Window::default();
    cupola_testkit::fuzz(1_000, &[bytes], &["\0\0\0\0", "\u{7f}"], |bytes| {
        // Repairs the table of contents, so that wrong offsets are followed.
        let mut bytes = bytes.to_vec();
        if let Some(at) = bytes.len().checked_sub(52) {
            let crc = crc32c::crc32c(&bytes[at..at + 48]).to_be_bytes();
            bytes[at + 48..].copy_from_slice(&crc);
        }
        std::fs::write(&damaged, &bytes).unwrap();
        let Ok(index) = Index::open(&RealFs, &damaged, "test".into()) else {
            return;
        };
        window.clear();
        for series in index.all_series().unwrap_or_default() {
            let _ = index.series(series, &mut window, &mut record);
            let _ = index.labels(&record);
        }
        let matchers = [Matcher::new("instance", MatchOp::Regex, ".+1").unwrap()];
        let _ = candidates(&index, &matchers);
    });
}

#[test]
fn errors_name_block_section_and_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let written = vec![(
        Labels::from_pairs([("a", "b")]),
        vec![ChunkMeta {
            mint: 1,
            maxt: 2,
            chunk_ref: 8,
        }],
    )];
    write_index(&path, &written, 10).unwrap();
    let good = std::fs::read(&path).unwrap();
    let check = |at: usize, expected: &str| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = Index::open(&RealFs, &path, "01J".into())
            .map(|index| index.all_series().err())
            .unwrap_or_else(Some);
        assert_eq!(error.map(|e| e.to_string()).as_deref(), Some(expected));
    };
    check(0, "block 01J: index section \"header\": not an index file at byte 0");
    check(
        4,
        "block 01J: index section \"header\": version 3 is not supported at byte 4",
    );
    check(14, "block 01J: index section \"symbols\": checksum mismatch at byte 5");
    let toc = good.len() - 52;
    check(
        toc + 3,
        &format!("block 01J: index section \"table of contents\": checksum mismatch at byte {toc}"),
    );
    let at = |i: usize| u64::from_be_bytes(good[toc + i * 8..toc + i * 8 + 8].try_into().unwrap());
    let (postings, table) = (at(4).next_multiple_of(4), at(5));
    let mismatch =
        |section: &str, at: u64| format!("block 01J: index section {section:?}: checksum mismatch at byte {at}");
    check(postings as usize + 8, &mismatch("postings", postings));
    check(table as usize + 8, &mismatch("postings offset table", table));
    std::fs::write(&path, &good[..20]).unwrap();
    assert_eq!(
        Index::open(&RealFs, &path, "01J".into()).unwrap_err().to_string(),
        "block 01J: index section \"table of contents\": 52 bytes expected, but the file has 20 at byte 0"
    );
}
