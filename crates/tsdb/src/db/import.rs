//! Taking over a data folder from a Prometheus that was stopped: what it had not yet written to blocks is put into the
//! head.
//!
//! Its files stay as they are, so that one can go back. Once everything is in a checkpoint of our own log, a note beside
//! it says which files that were: they are not read again, unless Prometheus has run on the folder since.

use std::io;
use std::path::Path;

use cupola_chunk::{ChunkError, Encoding, HistogramCursor, decode_xor2};
use cupola_env::Vfs;
use cupola_storage::Exemplar;
use cupola_wlog::{Event, HeadChunk, LoggedTombstone, Options, Restored, Source, restore};

use crate::head::Replay;
use crate::wal::{
    Entry, LoggedChunk, LoggedDeletion, LoggedExemplar, LoggedHistogram, LoggedSample, LoggedStart, Packing,
};

const FOLDERS: [&str; 3] = ["wal", "wbl", "chunks_head"];
const NOTE: &str = "imported";

/// What was taken over, and what not.
#[derive(Debug, Default)]
pub(super) struct Imported {
    /// Which files were there; to be noted.
    files: String,
    pub restored: Restored,
}

/// Reads what Prometheus left in `dir` into `replay`; `None` where it left nothing, or nothing new.
///
/// # Errors
/// Where a file cannot be read; [`io::ErrorKind::Interrupted`] soon after `go_on` said `false`.
pub(super) fn import(
    vfs: &dyn Vfs,
    dir: &Path,
    log: &Path,
    min_valid_time: i64,
    go_on: &dyn Fn() -> bool,
    replay: &mut Replay,
) -> io::Result<Option<Imported>> {
    let files = files(vfs, dir)?;
    let noted = vfs.read(&log.join(NOTE)).unwrap_or_default();
    if files.is_empty() || noted == files.as_bytes() {
        return Ok(None);
    }
    let mut imported = Imported {
        files,
        ..Imported::default()
    };
    replay.next_log();
    let options = Options { min_valid_time };
    imported.restored = restore(vfs, dir, options, go_on, &mut |source, event| {
        match event {
            Event::Series(all) => {
                for series in all {
                    replay.entry(Entry::Series(series.series_ref.0, series.labels.clone()));
                }
            }
            Event::HeadChunk(chunk) if chunk.encoding >= Encoding::Xor2 => {
                let decoded = with_starts(&chunk, replay);
                decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            Event::HeadChunk(chunk) => replay.entry(Entry::Chunk(LoggedChunk {
                series: chunk.series_ref.0,
                packing: Packing::Prometheus(chunk.encoding),
                mint: chunk.mint,
                maxt: chunk.maxt,
                bytes: chunk.bytes.to_vec(),
                is_late: chunk.is_out_of_order,
            })),
            Event::Samples(all) => {
                let starts = all
                    .iter()
                    .map(|sample| (sample.series_ref.0, sample.ts, sample.start_ts));
                tell_starts(starts, replay);
                let samples = all.iter().map(|sample| LoggedSample {
                    series: sample.series_ref.0,
                    ts: sample.ts,
                    value: sample.value,
                });
                let samples = samples.collect();
                replay.entry(if source == Source::Wbl {
                    Entry::LateSamples(samples)
                } else {
                    Entry::Samples(samples)
                });
            }
            Event::Histograms(all) => {
                let starts = all
                    .iter()
                    .map(|sample| (sample.series_ref.0, sample.ts, sample.start_ts));
                tell_starts(starts, replay);
                let histograms: Vec<LoggedHistogram> = all
                    .iter()
                    .map(|sample| {
                        let (series, mut value) = (sample.series_ref.0, sample.histogram.clone());
                        value.limit_resolution();
                        LoggedHistogram {
                            series,
                            ts: sample.ts,
                            value,
                        }
                    })
                    .collect();
                replay.entry(if source == Source::Wbl {
                    Entry::LateHistograms(histograms)
                } else {
                    Entry::Histograms(histograms)
                });
            }
            Event::Tombstones(all) => all.iter().for_each(|tombstone| delete(replay, tombstone)),
            Event::Exemplars(all) => {
                let logged = all.iter().map(|logged| LoggedExemplar {
                    series: logged.series_ref.0,
                    exemplar: Exemplar {
                        labels: logged.labels.clone(),
                        value: logged.value,
                        ts: logged.ts,
                    },
                });
                replay.entry(Entry::Exemplars(logged.collect()));
            }
            // Prometheus says it of each series, and only where a feature flag asks for it; targets say it again.
            Event::Metadata(_) => {}
            Event::MmapMarkers(_) | Event::MinValidTime(_) => {}
        }
        Ok(())
    })?;
    Ok(Some(imported))
}

// Of the samples that come next.
fn tell_starts(all: impl Iterator<Item = (u64, i64, i64)>, replay: &mut Replay) {
    let known = all.filter(|(_, _, start)| *start != 0);
    let told: Vec<LoggedStart> = known
        .map(|(series, ts, start)| LoggedStart { series, ts, start })
        .collect();
    if !told.is_empty() {
        replay.entry(Entry::Start(told));
    }
}

// The head does not grow chunks with start timestamps: their samples are taken over one by one.
fn with_starts(chunk: &HeadChunk<'_>, replay: &mut Replay) -> Result<(), ChunkError> {
    let series = chunk.series_ref.0;
    if chunk.encoding == Encoding::Xor2 {
        let (mut samples, mut starts) = (Vec::new(), Vec::new());
        decode_xor2(chunk.bytes, i64::MIN, i64::MAX, |ts, value, start| {
            samples.push(LoggedSample { series, ts, value });
            starts.push((series, ts, start));
        })?;
        tell_starts(starts.into_iter(), replay);
        replay.entry(match chunk.is_out_of_order {
            true => Entry::LateSamples(samples),
            false => Entry::Samples(samples),
        });
        return Ok(());
    }
    let mut cursor = HistogramCursor::new(chunk.encoding, chunk.bytes)?;
    let (mut histograms, mut starts) = (Vec::new(), Vec::new());
    while let Some(ts) = cursor.next_sample()? {
        let mut value = cursor.native();
        value.limit_resolution();
        histograms.push(LoggedHistogram { series, ts, value });
        starts.push((series, ts, cursor.start()));
    }
    tell_starts(starts.into_iter(), replay);
    replay.entry(match chunk.is_out_of_order {
        true => Entry::LateHistograms(histograms),
        false => Entry::Histograms(histograms),
    });
    Ok(())
}

fn delete(replay: &mut Replay, tombstone: &LoggedTombstone) {
    replay.entry(Entry::Deletion(LoggedDeletion {
        series: vec![tombstone.series_ref.0],
        mint: tombstone.mint,
        maxt: tombstone.maxt,
    }));
}

impl Imported {
    /// Notes beside our log that everything is in it by now.
    pub(super) fn note(&self, vfs: &dyn Vfs, log: &Path) -> io::Result<()> {
        let temporary = log.join("imported.tmp");
        if vfs.len(&temporary).is_ok() {
            vfs.remove_file(&temporary)?;
        }
        let mut file = vfs.open_append(&temporary)?;
        file.append(self.files.as_bytes())?;
        file.sync()?;
        vfs.rename(&temporary, &log.join(NOTE))
    }
}

// The files with their sizes, a line each: different once Prometheus has run again.
fn files(vfs: &dyn Vfs, dir: &Path) -> io::Result<String> {
    let mut out = String::new();
    for folder in FOLDERS {
        let path = dir.join(folder);
        let names = match vfs.list(&path) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for name in names {
            let bytes = vfs.len(&path.join(&name))?;
            out.push_str(&format!("{folder}/{name} {bytes}\n"));
        }
    }
    Ok(out)
}
