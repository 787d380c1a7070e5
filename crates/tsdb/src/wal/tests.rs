use cupola_env::RealFs;
use cupola_model::MetricType;

use super::*;

fn open(dir: &Path) -> (Wal, Backlog) {
    Wal::open(Arc::new(RealFs), dir, Counter::default(), Summary::new([].into())).unwrap()
}

fn batch(wal: &mut Wal, series: u64, values: std::ops::Range<u32>) -> io::Result<()> {
    let labels = Labels::from_pairs([("__name__", format!("m{series}"))]);
    let samples = values.map(|n| LoggedSample {
        series,
        ts: i64::from(n),
        value: f64::from(n).sqrt(),
    });
    let samples: Vec<LoggedSample> = samples.collect();
    wal.ready()?;
    wal.append(&[(series, labels)], &[Part::Samples(&samples)], &ToldStarts::default())
}

fn read(backlog: &Backlog) -> (Vec<f64>, Vec<(String, Metadata)>) {
    let (mut values, mut told) = (Vec::new(), Vec::new());
    let mut each = |entry: Entry| match entry {
        Entry::Samples(samples) => values.extend(samples.iter().map(|sample| sample.value)),
        Entry::Metadata(all) => told.extend(all),
        _ => {}
    };
    let replayed = backlog.read(&mut each, &|_| {}, &|| true).unwrap();
    assert_eq!(replayed.damage, Vec::new());
    (values, told)
}

// It was acknowledged, and at the next start the log was "damaged" from there on.
#[test]
fn a_batch_too_long_to_be_read_again_is_refused_and_what_comes_after_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = open(dir.path());
    wal.frames.longest = 5000;
    batch(&mut wal, 1, 0..10).unwrap();
    let error = batch(&mut wal, 2, 0..5000).unwrap_err();
    assert!(
        error.to_string().contains("more than 5000 cannot be read again"),
        "{error}"
    );
    // Of the same series: the values that were refused are not what the next ones are told by.
    batch(&mut wal, 1, 10..20).unwrap();
    batch(&mut wal, 2, 20..30).unwrap();
    assert!(wal.sync().is_ok());
    drop(wal);
    let (values, _) = read(&open(dir.path()).1);
    let expected: Vec<f64> = (0..30).map(|n| f64::from(n).sqrt()).collect();
    assert_eq!(values, expected);
}

#[test]
fn long_help_texts_do_not_make_a_checkpoint_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = open(dir.path());
    let mut checkpoint = wal.checkpoint().unwrap();
    checkpoint.frames.longest = 1 << 19;
    let metadata = Metadata {
        kind: MetricType::Counter,
        help: "h".repeat(100_000),
        unit: String::new(),
    };
    let all: Vec<_> = (0..40).map(|n| (format!("m{n}"), metadata.clone())).collect();
    checkpoint.add_metadata(&all).unwrap();
    checkpoint.finish(&Held::Nothing).unwrap();
    assert_eq!(read(&open(dir.path()).1).1, all);
}
