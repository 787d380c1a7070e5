//! New series of one record: their labels once, and the series as places among them. A target's series share most of
//! their labels, so the record is shorter, and replay looks each label up once and not once a series.

use cupola_model::Labels;
use foldhash::HashMap;

use super::codec::{CodecError, Reader, put_text, put_uvarint};

#[derive(Debug, Default, PartialEq)]
pub(crate) struct SeriesTable {
    // Names and values, one behind the other, and of each pair where its name and its value end.
    text: String,
    pairs: Vec<(usize, usize)>,
    // Of each series its id, and where its places end.
    series: Vec<(u64, usize)>,
    places: Vec<u32>,
}

impl SeriesTable {
    /// How many labels there are.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Name and value of the label in this place.
    pub(crate) fn pair(&self, place: u32) -> Option<(&str, &str)> {
        let place = place as usize;
        let begin = place.checked_sub(1).and_then(|before| self.pairs.get(before));
        let (name_end, end) = *self.pairs.get(place)?;
        let name = self.text.get(begin.map_or(0, |(_, end)| *end)..name_end)?;
        Some((name, self.text.get(name_end..end)?))
    }

    /// Each series' id and the places of its labels, of which there are so many.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u32])> {
        let begins = std::iter::once(0).chain(self.series.iter().map(|(_, end)| *end));
        let series = begins.zip(&self.series);
        series.map(|(begin, (id, end))| (*id, self.places.get(begin..*end).unwrap_or_default()))
    }
}

pub(super) fn encode<'a>(out: &mut Vec<u8>, all: impl Iterator<Item = (u64, &'a Labels)>) {
    let mut at: HashMap<(&str, &str), u32> = HashMap::default();
    let (mut pairs, mut series, mut count) = (Vec::new(), Vec::new(), 0);
    for (id, labels) in all {
        count += 1;
        put_uvarint(&mut series, id);
        put_uvarint(&mut series, labels.len() as u64);
        for (name, value) in labels {
            let next = at.len() as u32;
            let place = *at.entry((name, value)).or_insert_with(|| {
                put_text(&mut pairs, name);
                put_text(&mut pairs, value);
                next
            });
            put_uvarint(&mut series, place.into());
        }
    }
    put_uvarint(out, count);
    put_uvarint(out, at.len() as u64);
    out.extend_from_slice(&pairs);
    out.extend_from_slice(&series);
}

/// Reads what follows the number of series.
pub(super) fn decode(count: u64, rest: &mut Reader<'_>) -> Result<SeriesTable, CodecError> {
    let mut table = SeriesTable::default();
    for _ in 0..rest.uvarint("a label count")? {
        table.text.push_str(rest.text()?);
        let name_end = table.text.len();
        table.text.push_str(rest.text()?);
        table.pairs.push((name_end, table.text.len()));
    }
    for _ in 0..count {
        let id = rest.uvarint("a series id")?;
        for _ in 0..rest.uvarint("a label count")? {
            let place = rest.uvarint("a label's place")?;
            let place = u32::try_from(place)
                .ok()
                .filter(|place| (*place as usize) < table.pairs.len());
            table.places.push(place.ok_or(CodecError::Range("a label's place"))?);
        }
        table.series.push((id, table.places.len()));
    }
    Ok(table)
}
