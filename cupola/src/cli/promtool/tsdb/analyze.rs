//! `promtool tsdb analyze`: what the series of a block are made of.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use cupola_block::{Block, BlockFormat, ChunkReader, StoredChunk, list_blocks};
use cupola_chunk::{ChunkError, Encoding};
use cupola_env::RealFs;
use cupola_model::{Labels, METRIC_NAME, SeriesRef};

use super::super::Io;
use super::list::duration;
use super::{AnalyzeArgs, Failure, open_blocks, selector};

/// Prints the block's figures and the largest of its names, labels and pairs. Of those that are equally large the first
/// by name stand first; upstream's order changes from run to run.
pub(super) fn analyze(args: &AnalyzeArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let matchers = match args.selector.as_str() {
        "" => None,
        text => Some(selector(text)?),
    };
    let block = find(&args.path, args.block.as_deref())?;
    let meta = block.meta();
    let length = meta.max_time.wrapping_sub(meta.min_time);
    writeln!(io.out, "Block ID: {}", meta.ulid)?;
    writeln!(io.out, "Duration: {}", duration(length))?;
    writeln!(io.out, "Total Series: {}", meta.stats.num_series)?;
    let selected = match &matchers {
        Some(matchers) => {
            writeln!(io.out, "Matcher: {}", args.selector)?;
            Some(block.series_refs(matchers)?)
        }
        None => None,
    };

    let mut usage = Usage::default();
    let mut chunks = args.extended.then(|| ChunkSizes::new(&block));
    each_selected(&block, selected.as_deref(), |series| {
        let first = series.chunks.first().map_or(0, |chunk| chunk.mint);
        let last = series.chunks.last().map_or(0, |chunk| chunk.maxt);
        usage.add(
            &series.labels,
            (length as u64).wrapping_sub(last.wrapping_sub(first) as u64),
        );
        chunks.as_mut().map_or(Ok(()), |chunks| chunks.add(&series))
    })?;

    writeln!(io.out, "Label names: {}", usage.names.len())?;
    if let Some(selected) = &selected {
        writeln!(io.out, "Matched series: {}", selected.len())?;
    }
    let pairs: usize = usage.names.values().map(HashMap::len).sum();
    let entries: u64 = usage.pairs().map(|(_, _, pair)| pair.series).sum();
    writeln!(io.out, "Postings (unique label pairs): {pairs}")?;
    writeln!(io.out, "Postings entries (total label pairs): {entries}")?;

    // How many series that are missing all the time the gaps amount to.
    let churn = |uncovered: u64| (uncovered as f64 / length as f64) as u64;
    let mut lists = Lists { args, io };
    let key = |name: &str, value: &str| format!("{name}={value}");
    lists.print(
        "Label pairs most involved in churning",
        usage
            .pairs()
            .map(|(name, value, pair)| (churn(pair.uncovered), key(name, value))),
    )?;
    lists.print(
        "Label names most involved in churning",
        usage.by_name(|values| churn(values.values().fold(0, |sum, pair| sum.wrapping_add(pair.uncovered)))),
    )?;
    lists.print(
        "Most common label pairs",
        usage.pairs().map(|(name, value, pair)| (pair.series, key(name, value))),
    )?;
    lists.print(
        "Label names with highest cumulative label value length",
        usage.by_name(|values| values.keys().map(|value| value.len() as u64).sum()),
    )?;
    lists.print(
        "Highest cardinality labels",
        usage.by_name(|values| values.len() as u64),
    )?;
    let metrics = usage.names.get(METRIC_NAME).into_iter().flatten();
    lists.print(
        "Highest cardinality metric names",
        metrics.map(|(name, pair)| (pair.series, name.clone())),
    )?;
    if let Some(chunks) = chunks {
        chunks.print(io.out)?;
    }
    Ok(())
}

// The named block, or the one whose ULID is the youngest.
fn find(dir: &Path, id: Option<&str>) -> Result<Block, Failure> {
    if let Some(id) = id {
        let formats = [BlockFormat::Prometheus, BlockFormat::Native];
        let paths = formats.map(|format| format.folder(dir).join(id));
        let Some(path) = paths.iter().find(|path| path.exists()) else {
            // Tells a folder that is not there as such.
            open_blocks(dir)?;
            return Err(Failure::Told(format!("invalid block ID {id}")));
        };
        return Ok(Block::open(&RealFs::shared(), path)?);
    }
    if !dir.exists() {
        open_blocks(dir)?;
    }
    let found = list_blocks(&RealFs, dir)?;
    let whole = found.blocks.into_iter().map(|(path, meta)| (meta.ulid, path));
    match whole.max_by_key(|(ulid, _)| *ulid) {
        Some((_, path)) => Ok(Block::open(&RealFs::shared(), &path)?),
        None => Err(Failure::new("no blocks found")),
    }
}

// Both lists ascend.
fn each_selected(
    block: &Block,
    selected: Option<&[SeriesRef]>,
    mut visit: impl FnMut(cupola_block::BlockSeries) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for series in block.iter()? {
        let series = series?;
        if selected.is_none_or(|selected| selected.binary_search(&series.series_ref).is_ok()) {
            visit(series)?;
        }
    }
    Ok(())
}

#[derive(Debug, Default, Clone, Copy)]
struct Pair {
    series: u64,
    // Milliseconds of the block that its series do not cover, all together.
    uncovered: u64,
}

/// Label names with their values.
#[derive(Debug, Default)]
struct Usage {
    names: HashMap<String, HashMap<String, Pair>>,
}

impl Usage {
    fn add(&mut self, labels: &Labels, uncovered: u64) {
        for (name, value) in labels {
            // Looked up by reference first: nearly always both are known.
            if !self.names.contains_key(name) {
                self.names.insert(name.to_owned(), HashMap::new());
            }
            let Some(values) = self.names.get_mut(name) else {
                continue;
            };
            if !values.contains_key(value) {
                values.insert(value.to_owned(), Pair::default());
            }
            let Some(pair) = values.get_mut(value) else { continue };
            pair.series += 1;
            pair.uncovered = pair.uncovered.wrapping_add(uncovered);
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str, Pair)> {
        self.names.iter().flat_map(|(name, values)| {
            values
                .iter()
                .map(|(value, pair)| (name.as_str(), value.as_str(), *pair))
        })
    }

    fn by_name(&self, figure: impl Fn(&HashMap<String, Pair>) -> u64) -> impl Iterator<Item = (u64, String)> {
        self.names
            .iter()
            .map(move |(name, values)| (figure(values), name.clone()))
    }
}

struct Lists<'a, 'b, 'c> {
    args: &'a AnalyzeArgs,
    io: &'b mut Io<'c>,
}

impl Lists<'_, '_, '_> {
    fn print(&mut self, title: &str, items: impl Iterator<Item = (u64, String)>) -> io::Result<()> {
        let mut items: Vec<(u64, String)> = items.collect();
        items.sort_by(|(a, first), (b, second)| b.cmp(a).then_with(|| first.cmp(second)));
        writeln!(self.io.out, "\n{title}:")?;
        for (figure, key) in items.iter().take(self.args.limit) {
            writeln!(self.io.out, "{figure} {key}")?;
        }
        Ok(())
    }
}

/// How many chunks have which size.
type Sizes = BTreeMap<usize, u64>;

struct ChunkSizes {
    block: Block,
    reader: ChunkReader,
    total: u64,
    float_samples: Sizes,
    float_bytes: Sizes,
    histogram_samples: Sizes,
    histogram_bytes: Sizes,
    histogram_buckets: Sizes,
}

impl ChunkSizes {
    fn new(block: &Block) -> Self {
        Self {
            block: block.clone(),
            reader: block.chunk_reader(),
            total: 0,
            float_samples: Sizes::new(),
            float_bytes: Sizes::new(),
            histogram_samples: Sizes::new(),
            histogram_bytes: Sizes::new(),
            histogram_buckets: Sizes::new(),
        }
    }

    fn add(&mut self, series: &cupola_block::BlockSeries) -> Result<(), Failure> {
        for chunk in &series.chunks {
            let stored = self.reader.read(chunk)?;
            let failed = |source| {
                let error = self.block.undecodable(chunk, source);
                Failure::Told(format!("series {}: {error}", series.labels))
            };
            let count = usize::from(stored.num_samples().map_err(failed)?);
            let (samples, sizes) = match stored {
                StoredChunk::Encoded(encoding, bytes) if !stored.holds_floats() => {
                    let buckets = bucket_count(encoding, bytes).map_err(failed)?;
                    *self.histogram_buckets.entry(buckets).or_default() += 1;
                    (&mut self.histogram_samples, &mut self.histogram_bytes)
                }
                _ => (&mut self.float_samples, &mut self.float_bytes),
            };
            *samples.entry(count).or_default() += 1;
            *sizes.entry(stored.len_bytes()).or_default() += 1;
            self.total += 1;
        }
        Ok(())
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nCompaction analysis:\n")?;
        for (title, sizes) in [
            ("samples per float chunk", &self.float_samples),
            ("bytes per float chunk", &self.float_bytes),
            ("samples per histogram chunk", &self.histogram_samples),
            ("bytes per histogram chunk", &self.histogram_bytes),
            ("buckets per histogram chunk", &self.histogram_buckets),
        ] {
            write!(out, "{}", drawn(title, sizes, self.total))?;
        }
        Ok(())
    }
}

// The buckets of all histograms in a chunk.
fn bucket_count(encoding: Encoding, bytes: &[u8]) -> Result<usize, ChunkError> {
    let mut buckets = 0;
    cupola_chunk::decode_histograms(encoding, bytes, i64::MIN, i64::MAX, |_, histogram, _| {
        buckets += histogram.positive_buckets.len() + histogram.negative_buckets.len();
    })?;
    Ok(buckets)
}

// A histogram over at most a dozen buckets, each a mark for a percent of all chunks of the block.
fn drawn(title: &str, sizes: &Sizes, total: u64) -> String {
    let ends = sizes.first_key_value().zip(sizes.last_key_value());
    let Some(((min, _), (max, _))) = ends else {
        return format!("{title}: N/A\n\n");
    };
    let count: u64 = sizes.values().sum();
    let sum: u64 = sizes.iter().map(|(size, count)| *size as u64 * count).sum();
    let mut step = 10;
    while step < (max - min) / 10 && step <= 10_000 {
        step *= 10;
    }
    let (start, end) = (min - min % step, max - max % step + step);
    let mut buckets = vec![0_u64; (end - start) / step + 1];
    for (size, count) in sizes {
        if let Some(bucket) = buckets.get_mut((size - start) / step) {
            *bucket += count;
        }
    }
    let digits = |n: u64| n.to_string().len();
    let (left, right) = (digits(end as u64), digits((end + step) as u64));
    let wide = digits(buckets.iter().copied().max().unwrap_or(0));
    let mut out = format!("{title} (min/avg/max): {min}/{}/{max}\n", sum / count.max(1));
    for (i, count) in buckets.iter().enumerate() {
        let (from, to) = (i * step + start + 1, (i + 1) * step + start);
        let marks = "#".repeat(usize::try_from(100 * count / total.max(1)).unwrap_or(100));
        let _ = writeln!(out, "[{from:left$}, {to:right$}]: {count:wide$} {marks}");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn sizes_are_drawn_as_a_histogram() {
        let sizes = Sizes::from([(18, 1), (120, 6), (107, 3)]);
        expect![[r#"
            x (min/avg/max): 18/105/120
            [ 11,  20]: 1 ##########
            [ 21,  30]: 0 
            [ 31,  40]: 0 
            [ 41,  50]: 0 
            [ 51,  60]: 0 
            [ 61,  70]: 0 
            [ 71,  80]: 0 
            [ 81,  90]: 0 
            [ 91, 100]: 0 
            [101, 110]: 3 ##############################
            [111, 120]: 0 
            [121, 130]: 6 ############################################################
            [131, 140]: 0 

        "#]]
        .assert_eq(&drawn("x", &sizes, 10));
        assert_eq!(drawn("x", &Sizes::new(), 0), "x: N/A\n\n");
    }
}
