//! What records say.

use cupola_histogram::NativeHistogram;
use cupola_model::{Labels, MetricType, SeriesRef};

use crate::bytes::{Dec, Fault, Parsed};
use crate::head_chunks::{ChunkRef, HeadChunk};
use crate::histograms;

/// Where an [`Event`] was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// `chunks_head/`.
    HeadChunks,
    /// The newest `wal/checkpoint.%08d/`.
    Checkpoint,
    /// A segment in `wal/`.
    Wal,
    /// A segment in `wbl/`: everything in it came out of order.
    Wbl,
}

/// A series gets its ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedSeries {
    /// How records and chunks call it.
    pub series_ref: SeriesRef,
    /// Its labels.
    pub labels: Labels,
}

/// A float of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoggedSample {
    /// Whose.
    pub series_ref: SeriesRef,
    /// When counting began, in milliseconds since the epoch; 0 where it is not known.
    pub start_ts: i64,
    /// Milliseconds since the epoch.
    pub ts: i64,
    /// The value; NaN payloads are kept bit for bit.
    pub value: f64,
}

/// A histogram of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedHistogramSample {
    /// Whose.
    pub series_ref: SeriesRef,
    /// When counting began, in milliseconds since the epoch; 0 where it is not known.
    pub start_ts: i64,
    /// Milliseconds since the epoch.
    pub ts: i64,
    /// The value.
    pub histogram: NativeHistogram,
}

/// A deletion of what a series had at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedTombstone {
    /// Whose.
    pub series_ref: SeriesRef,
    /// The first millisecond that is deleted.
    pub mint: i64,
    /// The last one.
    pub maxt: i64,
}

/// An exemplar of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedExemplar {
    /// Whose.
    pub series_ref: SeriesRef,
    /// Milliseconds since the epoch.
    pub ts: i64,
    /// The value.
    pub value: f64,
    /// The exemplar's own labels.
    pub labels: Labels,
}

/// What is told about a series' metric; a later one replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedMetadata {
    /// Whose.
    pub series_ref: SeriesRef,
    /// The type.
    pub metric_type: MetricType,
    /// The unit, empty where there is none.
    pub unit: String,
    /// What it means.
    pub help: String,
}

/// All samples of a series that the out-of-order log holds up to here lie in head chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmapMarker {
    /// Whose.
    pub series_ref: SeriesRef,
    /// The chunk that was written last. Where it is not there, the marker does not count. The ref 0 stands for none.
    pub chunk_ref: ChunkRef,
}

/// One record, or one chunk.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// A chunk of the head.
    HeadChunk(HeadChunk<'a>),
    /// Series get their refs.
    Series(&'a [LoggedSeries]),
    /// Floats.
    Samples(&'a [LoggedSample]),
    /// Histograms.
    Histograms(&'a [LoggedHistogramSample]),
    /// Deletions.
    Tombstones(&'a [LoggedTombstone]),
    /// Exemplars.
    Exemplars(&'a [LoggedExemplar]),
    /// Metadata.
    Metadata(&'a [LoggedMetadata]),
    /// Markers of the out-of-order log.
    MmapMarkers(&'a [MmapMarker]),
    /// Written into a checkpoint by newer versions: samples in order before this time, in milliseconds, are in blocks.
    MinValidTime(i64),
}

pub(crate) const SERIES: u8 = 1;
pub(crate) const MMAP_MARKERS: u8 = 5;

/// A record, decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Series(Vec<LoggedSeries>),
    Samples(Vec<LoggedSample>),
    Histograms {
        histograms: Vec<LoggedHistogramSample>,
        /// How many were left out, because nobody knows what their buckets mean.
        unknown_schemas: u64,
    },
    Tombstones(Vec<LoggedTombstone>),
    Exemplars(Vec<LoggedExemplar>),
    Metadata(Vec<LoggedMetadata>),
    MmapMarkers(Vec<MmapMarker>),
    MinValidTime(i64),
    /// Of a kind that no version known to us writes; upstream skips them as well.
    Unknown(u8),
}

impl Record {
    /// Reads one record.
    ///
    /// # Errors
    /// Where the bytes are not what the format allows. Upstream takes that for damage of the log.
    pub(crate) fn decode(bytes: &[u8]) -> Parsed<Self> {
        let mut dec = Dec::new(bytes);
        let kind = dec.byte()?;
        let dec = &mut dec;
        match kind {
            SERIES => all(dec, series).map(Self::Series),
            2 => from_base(dec, sample).map(Self::Samples),
            3 => all(dec, tombstone).map(Self::Tombstones),
            4 => from_base(dec, exemplar).map(Self::Exemplars),
            MMAP_MARKERS => all(dec, mmap_marker).map(Self::MmapMarkers),
            6 => all(dec, metadata).map(Self::Metadata),
            // Integers, floats, and both again with custom buckets.
            7..=10 => {
                let is_float = kind % 2 == 0;
                let read = from_base(dec, |dec, series_ref, ts| histogram(dec, (series_ref, 0, ts), is_float));
                read.map(known_schemas)
            }
            11 => chained(dec, |dec, (series_ref, start_ts, ts)| {
                Ok(LoggedSample {
                    series_ref,
                    start_ts,
                    ts,
                    value: dec.float()?,
                })
            })
            .map(Self::Samples),
            12 | 13 => chained(dec, |dec, place| histogram(dec, place, kind == 13)).map(known_schemas),
            14 => {
                let ts = dec.be64_signed()?;
                if dec.is_empty() {
                    Ok(Self::MinValidTime(ts))
                } else {
                    Err(Fault(format!("{} bytes left over", dec.len())))
                }
            }
            other => Ok(Self::Unknown(other)),
        }
        .map_err(|Fault(reason)| Fault(format!("record of kind {kind}: {reason}")))
    }

    pub(crate) fn as_event(&self) -> Option<Event<'_>> {
        match self {
            Self::Series(series) => Some(Event::Series(series)),
            Self::Samples(samples) => Some(Event::Samples(samples)),
            Self::Histograms { histograms, .. } => Some(Event::Histograms(histograms)),
            Self::Tombstones(tombstones) => Some(Event::Tombstones(tombstones)),
            Self::Exemplars(exemplars) => Some(Event::Exemplars(exemplars)),
            Self::Metadata(metadata) => Some(Event::Metadata(metadata)),
            Self::MmapMarkers(markers) => Some(Event::MmapMarkers(markers)),
            Self::MinValidTime(ts) => Some(Event::MinValidTime(*ts)),
            Self::Unknown(_) => None,
        }
    }
}

fn known_schemas(mut list: Vec<LoggedHistogramSample>) -> Record {
    let read = list.len();
    list.retain(|sample| histograms::has_known_schema(&sample.histogram));
    Record::Histograms {
        unknown_schemas: (read - list.len()) as u64,
        histograms: list,
    }
}

/// Entries up to the end.
fn all<T>(dec: &mut Dec<'_>, entry: fn(&mut Dec<'_>) -> Parsed<T>) -> Parsed<Vec<T>> {
    let mut out = Vec::new();
    while !dec.is_empty() {
        out.push(entry(dec)?);
    }
    Ok(out)
}

/// A ref and a time, then entries up to the end, each beginning with its distance to both.
fn from_base<T>(dec: &mut Dec<'_>, mut entry: impl FnMut(&mut Dec<'_>, SeriesRef, i64) -> Parsed<T>) -> Parsed<Vec<T>> {
    let mut out = Vec::new();
    if dec.is_empty() {
        return Ok(out);
    }
    let (base_ref, base_ts) = (dec.be64()?, dec.be64_signed()?);
    while !dec.is_empty() {
        let series_ref = SeriesRef(base_ref.wrapping_add_signed(dec.varint()?));
        let ts = base_ts.wrapping_add(dec.varint()?);
        out.push(entry(dec, series_ref, ts)?);
    }
    Ok(out)
}

/// Entries of the second version: ref by distance to the entry before, times by distance to the first entry.
fn chained<T>(
    dec: &mut Dec<'_>,
    mut entry: impl FnMut(&mut Dec<'_>, (SeriesRef, i64, i64)) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    const NO_START: u8 = 0;
    const SAME_START: u8 = 1;
    let mut out = Vec::new();
    if dec.is_empty() {
        return Ok(out);
    }
    let mut series_ref = dec.varint()?;
    let (first_ts, first_start) = (dec.varint()?, dec.varint()?);
    let (mut ts, mut start_ts) = (first_ts, first_start);
    loop {
        out.push(entry(dec, (SeriesRef(series_ref as u64), start_ts, ts))?);
        if dec.is_empty() {
            return Ok(out);
        }
        series_ref = series_ref.wrapping_add(dec.varint()?);
        ts = first_ts.wrapping_add(dec.varint()?);
        start_ts = match dec.byte()? {
            NO_START => 0,
            SAME_START => start_ts,
            _ => first_start.wrapping_add(dec.varint()?),
        };
    }
}

fn labels(dec: &mut Dec<'_>) -> Parsed<Labels> {
    let count = dec.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((dec.text()?, dec.text()?));
    }
    Ok(Labels::from_pairs(pairs))
}

fn series(dec: &mut Dec<'_>) -> Parsed<LoggedSeries> {
    Ok(LoggedSeries {
        series_ref: SeriesRef(dec.be64()?),
        labels: labels(dec)?,
    })
}

fn sample(dec: &mut Dec<'_>, series_ref: SeriesRef, ts: i64) -> Parsed<LoggedSample> {
    Ok(LoggedSample {
        series_ref,
        start_ts: 0,
        ts,
        value: dec.float()?,
    })
}

fn histogram(
    dec: &mut Dec<'_>,
    (series_ref, start_ts, ts): (SeriesRef, i64, i64),
    is_float: bool,
) -> Parsed<LoggedHistogramSample> {
    Ok(LoggedHistogramSample {
        series_ref,
        start_ts,
        ts,
        histogram: histograms::decode(dec, is_float)?,
    })
}

fn tombstone(dec: &mut Dec<'_>) -> Parsed<LoggedTombstone> {
    Ok(LoggedTombstone {
        series_ref: SeriesRef(dec.be64()?),
        mint: dec.varint()?,
        maxt: dec.varint()?,
    })
}

fn exemplar(dec: &mut Dec<'_>, series_ref: SeriesRef, ts: i64) -> Parsed<LoggedExemplar> {
    Ok(LoggedExemplar {
        series_ref,
        ts,
        value: dec.float()?,
        labels: labels(dec)?,
    })
}

fn mmap_marker(dec: &mut Dec<'_>) -> Parsed<MmapMarker> {
    Ok(MmapMarker {
        series_ref: SeriesRef(dec.be64()?),
        chunk_ref: ChunkRef(dec.be64()?),
    })
}

fn metadata(dec: &mut Dec<'_>) -> Parsed<LoggedMetadata> {
    let series_ref = SeriesRef(dec.uvarint()?);
    let metric_type = MetricType::of_number(dec.byte()?.into());
    let (mut unit, mut help) = (String::new(), String::new());
    // Fields that later versions may add are skipped.
    for _ in 0..dec.count(2)? {
        let (name, value) = (dec.text()?, dec.text()?);
        match &*name {
            "UNIT" => unit = value.into_owned(),
            "HELP" => help = value.into_owned(),
            _ => (),
        }
    }
    Ok(LoggedMetadata {
        series_ref,
        metric_type,
        unit,
        help,
    })
}
