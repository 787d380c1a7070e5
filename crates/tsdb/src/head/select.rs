//! Selecting series: what a reader of the head gets.

use std::sync::atomic::Ordering;

use cupola_model::Labels;
use cupola_storage::{Hints, MergedSource, SampleSource, Selection, Series, StorageError};

use super::source::Newest;
use super::{Head, Inner, series_ref};

// Once per so many selected series it is asked whether selecting is to go on.
const ASK_EVERY: usize = 1024;

impl Head {
    /// The series with samples in the range; fails only where `go_on` said `false`, which is asked now and then.
    pub(crate) fn select_hinted(
        &self,
        selection: &Selection<'_>,
        hints: Hints,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let floor = self.floor.load(Ordering::Acquire);
        let inner = self.inner.read();
        let reader = Reader {
            inner: &inner,
            selection,
            mint: selection.mint.max(floor),
            hints,
        };
        let mut found = Vec::new();
        let ask = |count: usize| {
            if count.is_multiple_of(ASK_EVERY) && !go_on() {
                return Err(StorageError::Stopped);
            }
            Ok(())
        };
        let picked = if hints.repeats {
            self.picks.lock().find(&inner, selection.matchers)
        } else {
            None
        };
        if let Some(picked) = picked {
            for (count, (slot, labels)) in picked.iter().enumerate() {
                ask(count)?;
                found.extend(reader.series(*slot, Some(labels)));
            }
            return Ok(found);
        }
        for (count, slot) in inner.index.select(selection.matchers).into_iter().enumerate() {
            ask(count)?;
            found.extend(reader.series(slot, None));
        }
        Ok(found)
    }
}

struct Reader<'a> {
    inner: &'a Inner,
    selection: &'a Selection<'a>,
    // Not below the floor.
    mint: i64,
    hints: Hints,
}

impl Reader<'_> {
    // The series in a slot, where it has samples in the range.
    fn series(&self, slot: u32, labels: Option<&Labels>) -> Option<Series> {
        let Self {
            inner,
            selection,
            mint,
            hints,
        } = self;
        let entry = inner.slots.get(slot as usize)?;
        let series = entry.series.as_ref()?;
        // What came late may be newer than what came in order.
        let newest = Some(()).filter(|()| hints.newest && inner.late.is_empty());
        let newest = newest.and_then(|()| series.newest_float());
        let source: Box<dyn SampleSource> = match newest {
            Some((ts, value)) if (*mint..=selection.maxt).contains(&ts) => Box::new(Newest { ts, value }),
            _ => {
                let in_order = series.snapshot(*mint, selection.maxt);
                let in_order = in_order.map(|source| Box::new(source) as Box<dyn SampleSource>);
                if inner.late.is_empty() {
                    in_order?
                } else {
                    let id = series_ref(slot, entry.generation);
                    let late = inner.late.snapshots(id, selection.mint, selection.maxt);
                    let late = late.map(|source| Box::new(source) as Box<dyn SampleSource>);
                    let all: Vec<_> = in_order.into_iter().chain(late).collect();
                    (!all.is_empty()).then(|| MergedSource::of(all))?
                }
            }
        };
        Some(Series {
            labels: labels.cloned().unwrap_or_else(|| inner.labels(series)),
            source,
        })
    }
}
