//! Which places of a column are patched: a list or one bit for each place, whichever is shorter.

use super::pack::{Packed, bits_of, pack, packed_len};
use super::reader::{Reader, malformed, put_uvarint};
use crate::ChunkError;

/// How the positions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// There are none.
    None,
    /// uvarint number of positions, then the positions, packed.
    List,
    /// One bit for each place.
    Bitmap,
}

impl Form {
    /// The two bits by which a column's first byte names it.
    pub(super) fn as_bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::List => 1,
            Self::Bitmap => 2,
        }
    }

    pub(super) fn from_bits(bits: u8) -> Result<Self, ChunkError> {
        match bits {
            0 => Ok(Self::None),
            1 => Ok(Self::List),
            2 => Ok(Self::Bitmap),
            _ => Err(malformed("form of patches")),
        }
    }

    /// The shorter form for `count` of `places` and how many bits it takes.
    pub(super) fn shortest(count: usize, places: usize) -> (Self, usize) {
        if count == 0 {
            return (Self::None, 0);
        }
        let list = 8 * (1 + usize::from(count >= 0x80) + packed_len(count, width(places)));
        let bitmap = 8 * places.div_ceil(8);
        if list <= bitmap {
            (Self::List, list)
        } else {
            (Self::Bitmap, bitmap)
        }
    }
}

// How many bits a position takes.
fn width(places: usize) -> u32 {
    bits_of(places.saturating_sub(1) as u64)
}

/// Appends ascending positions.
pub(super) fn encode(positions: &[u16], places: usize, form: Form, out: &mut Vec<u8>) {
    match form {
        Form::None => {}
        Form::List => {
            put_uvarint(out, positions.len() as u64);
            pack(positions.iter().map(|p| u64::from(*p)), width(places), out);
        }
        Form::Bitmap => {
            let start = out.len();
            out.resize(start + places.div_ceil(8), 0);
            let bitmap = out.get_mut(start..).unwrap_or_default();
            for position in positions {
                if let Some(byte) = bitmap.get_mut(usize::from(position >> 3)) {
                    *byte |= 1 << (position & 7);
                }
            }
        }
    }
}

/// The positions as they stand in the bytes of a column.
#[derive(Debug)]
pub(super) struct Positions<'a> {
    list: Packed<'a>,
    bitmap: &'a [u8],
    form: Form,
    places: usize,
    /// How many there are.
    pub(super) count: usize,
}

/// Passes over the positions that `reader` stands at.
///
/// # Errors
/// [`ChunkError::Truncated`] or [`ChunkError::Malformed`].
pub(super) fn decode<'a>(reader: &mut Reader<'a>, places: usize, form: Form) -> Result<Positions<'a>, ChunkError> {
    let (mut list, mut bitmap) = (Packed::default(), [].as_slice());
    let count = match form {
        Form::None => 0,
        Form::List => {
            let count = usize::try_from(reader.uvarint()?).unwrap_or(usize::MAX);
            if count == 0 || count > places {
                return Err(malformed("number of patches"));
            }
            list = reader.packed(count, width(places))?;
            count
        }
        Form::Bitmap => {
            bitmap = reader.section(places.div_ceil(8))?;
            bitmap.iter().map(|byte| byte.count_ones() as usize).sum()
        }
    };
    Ok(Positions {
        list,
        bitmap,
        form,
        places,
        count,
    })
}

impl Positions<'_> {
    /// Makes of the first cells, one more than there are positions, all: cell `n + 1` is that of `n` unless `n` is one of
    /// the positions, which take the next of the first cells.
    ///
    /// # Errors
    /// [`ChunkError::Malformed`] as [`Positions::each`].
    pub(super) fn spread<C: Copy>(&self, cells: &mut [C]) -> Result<(), ChunkError> {
        // From the end on, so that none is overwritten before it was copied.
        match self.form {
            Form::None | Form::List => {
                self.each(|_, _| Ok(()))?;
                let mut end = cells.len();
                for nth in (0..self.count).rev() {
                    let start = self.list.get(nth, width(self.places)) as usize + 1;
                    let Some(cell) = cells.get(nth + 1).copied() else {
                        continue;
                    };
                    cells.get_mut(start..end).unwrap_or_default().fill(cell);
                    end = start;
                }
                if let Some((first, run)) = cells.get_mut(..end).and_then(<[C]>::split_first_mut) {
                    run.fill(*first);
                }
            }
            Form::Bitmap => {
                let mut from = self.count;
                for to in (1..cells.len()).rev() {
                    let is_new = self
                        .bitmap
                        .get((to - 1) / 8)
                        .is_some_and(|byte| byte >> ((to - 1) % 8) & 1 != 0);
                    if let Some(cell) = cells.get(from).copied()
                        && let Some(to) = cells.get_mut(to)
                    {
                        *to = cell;
                    }
                    from = from.saturating_sub(usize::from(is_new));
                }
            }
        }
        Ok(())
    }

    /// Calls `patch` for each position, ascending, with its number among them.
    ///
    /// # Errors
    /// [`ChunkError::Malformed`] where one is not above the one before or not one of the places; those of `patch`.
    pub(super) fn each(&self, mut patch: impl FnMut(usize, usize) -> Result<(), ChunkError>) -> Result<(), ChunkError> {
        let mut least = 0;
        let mut nth = 0;
        let mut next = |place: usize| {
            if place < least || place >= self.places {
                return Err(malformed("position of a patch"));
            }
            least = place + 1;
            patch(nth, place)?;
            nth += 1;
            Ok(())
        };
        match self.form {
            Form::None => {}
            Form::List => {
                let width = width(self.places);
                for nth in 0..self.count {
                    next(self.list.get(nth, width) as usize)?;
                }
            }
            Form::Bitmap => {
                for (n, byte) in self.bitmap.iter().enumerate() {
                    let mut left = *byte;
                    while left != 0 {
                        next(n * 8 + left.trailing_zeros() as usize)?;
                        left &= left - 1;
                    }
                }
            }
        }
        Ok(())
    }
}
