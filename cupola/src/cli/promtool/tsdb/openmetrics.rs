//! `promtool tsdb create-blocks-from openmetrics`.
//!
//! The file is read once for its oldest and newest sample, and then once for each block that gets samples, so that
//! those of one block at a time are held, compressed.

use std::collections::HashMap;

use cupola_block::Block;
use cupola_env::RealFs;
use cupola_exposition::{LabelPairs, SampleEntry};
use cupola_model::Labels;

use super::super::Io;
use super::build::{Gathered, block_ms};
use super::list::table;
use super::walk::Input;
use super::{CreateArgs, Failure, OpenMetricsArgs, io_text};

/// Reads the file and writes its blocks; prints each as `list` does.
pub(super) fn create(args: &CreateArgs, source: &OpenMetricsArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let mut input = Input::open(&source.input)?;
    std::fs::create_dir_all(&source.output)
        .map_err(|error| Failure::Told(format!("create output dir: {}", io_text(&error))))?;
    let Some((oldest, newest)) = range(&mut input)? else {
        return Ok(());
    };
    let block_ms = block_ms(args.max_block_duration);
    let mut has_header = true;
    let mut next = Some(oldest);
    while let Some(ts) = next.filter(|ts| *ts <= newest) {
        let begin = ts.div_euclid(block_ms).saturating_mul(block_ms);
        let (gathered, later) = gather(&mut input, &source.labels, begin, block_ms)?;
        next = later;
        if gathered.left_out() > 0 {
            let count = gathered.left_out();
            writeln!(
                io.err,
                "WARNING: {count} samples are left out: they are not newer than the sample before them in their series"
            )?;
        }
        let failed = |error| Failure::Told(format!("block creation: process blocks: flush: {error}"));
        let Some(meta) = gathered.write(&source.output).map_err(failed)? else {
            continue;
        };
        if !args.quiet {
            let block = Block::open(&RealFs::shared(), &source.output.join(meta.ulid.to_string()))?;
            table(&[block], has_header, args.human_readable, io.out)?;
            has_header = false;
        }
    }
    Ok(())
}

// The times of the oldest and the newest sample; none where there are no samples.
fn range(input: &mut Input) -> Result<Option<(i64, i64)>, Failure> {
    let mut range: Option<(i64, i64)> = None;
    let doing = "getting min and max timestamp";
    input.samples(&format!("{doing}: next"), |sample| {
        let Some(ts) = sample.timestamp_ms else {
            let series = String::from_utf8_lossy(sample.series.raw());
            let text = format!("{doing}: expected timestamp for series got none ({series})");
            return Err(Failure::Told(text));
        };
        let (oldest, newest) = range.unwrap_or((ts, ts));
        range = Some((oldest.min(ts), newest.max(ts)));
        Ok(())
    })?;
    Ok(range)
}

// The samples of the block from `begin` on, and the time of the oldest sample behind it.
fn gather(
    input: &mut Input,
    added: &[(String, String)],
    begin: i64,
    block_ms: i64,
) -> Result<(Gathered, Option<i64>), Failure> {
    let end = begin.saturating_add(block_ms);
    let mut gathered = Gathered::new(block_ms);
    let mut known = Known::default();
    let mut later: Option<i64> = None;
    input.samples("block creation: process blocks: parse", |sample| {
        // The file has changed since its range was read.
        let Some(ts) = sample.timestamp_ms else {
            return Err(Failure::new(
                "block creation: process blocks: expected timestamp for series got none",
            ));
        };
        if ts < begin {
            return Ok(());
        }
        if ts >= end {
            later = Some(later.map_or(ts, |later| later.min(ts)));
            return Ok(());
        }
        let refused = |text: &str| {
            let series = String::from_utf8_lossy(sample.series.raw());
            Failure::Told(format!(
                "block creation: process blocks: add sample: {text} ({series} at {ts} ms)"
            ))
        };
        let series = known
            .number(sample, added, &mut gathered)
            .map_err(|text| refused(&text))?;
        gathered
            .add(series, ts, sample.value)
            .map_err(|why| refused(why.text()))
    })?;
    Ok((gathered, later))
}

/// Series by their text in the file, so that a line's labels are taken apart once.
#[derive(Default)]
struct Known {
    by_text: HashMap<Vec<u8>, usize>,
    // The kinds that the texts were read with matter, too: it says whether `le` is a number.
    kind: cupola_exposition::MetricType,
}

impl Known {
    fn number(
        &mut self,
        sample: &SampleEntry<'_>,
        added: &[(String, String)],
        gathered: &mut Gathered,
    ) -> Result<usize, String> {
        if self.kind != sample.series.kind() {
            self.kind = sample.series.kind();
            self.by_text.clear();
        }
        if let Some(number) = self.by_text.get(sample.series.raw()) {
            return Ok(*number);
        }
        let number = gathered.series(&labels(sample, added)?);
        self.by_text.insert(sample.series.raw().to_vec(), number);
        Ok(number)
    }
}

// The labels of a sample with those that are added; the added ones win.
fn labels(sample: &SampleEntry<'_>, added: &[(String, String)]) -> Result<Labels, String> {
    let mut pairs = LabelPairs::new();
    sample.series.labels_into(true, &mut pairs);
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|two| two.first() == two.last()) {
        let name = twice.first().copied().unwrap_or_default();
        return Err(format!("label name \"{name}\" is not unique: invalid sample"));
    }
    let mut builder = Labels::from_pairs(pairs).to_builder();
    for (name, value) in added {
        builder.set(name, value);
    }
    Ok(builder.build())
}
