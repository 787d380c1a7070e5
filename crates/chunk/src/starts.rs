//! Start timestamps, as encodings 4, 5 and 6 keep them behind each sample.
//!
//! A flag byte tells whether the first sample has one (top bit) and at which sample they begin to change (low bits, 0 is
//! never). Before that sample the first one holds; from it on every sample has the distance from the time of the sample
//! before it, first as such, then as the change of that distance.

use crate::histogram::Reader;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Starts {
    has_first: bool,
    changes_at: u16,
    distance: i64,
    /// Since when the counter of the last sample counts, in milliseconds; 0 where that is not known.
    pub(crate) start: i64,
}

impl Starts {
    pub(crate) fn new(flags: u8) -> Self {
        Self {
            has_first: flags & 0x80 != 0,
            changes_at: u16::from(flags & 0x7f),
            distance: 0,
            start: 0,
        }
    }

    /// Reads what stands behind sample number `sample`, from 0, at `ts`; the one before it was at `before`.
    #[inline]
    pub(crate) fn read(
        &mut self,
        from: &mut Reader<'_>,
        sample: u16,
        ts: i64,
        before: i64,
    ) -> Result<(), &'static str> {
        if sample == 0 {
            if self.has_first {
                self.distance = from.varint()?;
                self.start = ts.wrapping_sub(self.distance);
            }
        } else if self.changes_at > 0 && sample >= self.changes_at {
            let change = from.varbit_int();
            self.distance = match sample == self.changes_at {
                true => change,
                false => self.distance.wrapping_add(change),
            };
            self.start = before.wrapping_sub(self.distance);
        }
        Ok(())
    }
}
