//! Bits, most significant first, as Prometheus's `bstream` lays them out.
//!
//! Reading looks at 64 bits at once at any bit position. Past the end it sees zeros, so that a decoder checks its
//! position once per sample instead of at every field.

/// How many bits [`peek`] gives at least.
pub(crate) const PEEKED: u32 = 57;

/// The bits from `pos` on, at the top of the word; at least [`PEEKED`] of them are real, those past the end are zero.
#[inline(always)]
pub(crate) fn peek(bytes: &[u8], pos: usize) -> u64 {
    let at = pos >> 3;
    let word = match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(word) => u64::from_be_bytes(*word),
        None => peek_at_end(bytes, at),
    };
    word << (pos & 7)
}

#[cold]
fn peek_at_end(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u64::from_be_bytes(word)
}

/// The `count` bits from `pos` on as a number; `count` is 1 to 64.
#[inline(always)]
pub(crate) fn read(bytes: &[u8], pos: usize, count: u32) -> u64 {
    debug_assert!((1..=64).contains(&count));
    if count <= PEEKED {
        return peek(bytes, pos) >> (64 - count);
    }
    let high = peek(bytes, pos) >> 32;
    let low = peek(bytes, pos + 32) >> (96 - count);
    (high << (count - 32)) | low
}

/// Appends the low `count` bits of `value` to `bytes`; `free` is the number of unused low bits of the last byte.
///
/// Upstream opens the next byte as soon as it has written a whole one, so a field of whole bytes that ends at a byte's
/// end leaves an empty byte behind it, with 8 bits free. The next field fills it; where none comes it stays.
#[inline]
pub(crate) fn write(bytes: &mut Vec<u8>, free: &mut u8, value: u64, count: u32) {
    write_joined(bytes, free, value, count, count);
}

/// As [`write`] for several fields at once, the last of which has `last` bits.
#[inline]
pub(crate) fn write_joined(bytes: &mut Vec<u8>, free: &mut u8, value: u64, count: u32, last: u32) {
    debug_assert!(last <= count && count <= 64);
    // Most fields are a bit or a few, and stay within the last byte.
    if count < u32::from(*free)
        && let Some(last) = bytes.last_mut()
    {
        *free -= count as u8;
        *last |= ((value & ((1 << count) - 1)) << *free) as u8;
        return;
    }
    write_beyond(bytes, free, value, count);
    if *free == 0 && last > 0 && last.is_multiple_of(8) {
        bytes.push(0);
        *free = 8;
    }
}

// A field that fills the last byte, or goes on behind it.
fn write_beyond(bytes: &mut Vec<u8>, free: &mut u8, value: u64, count: u32) {
    let mut left = count;
    if let Some(last) = bytes.last_mut().filter(|_| *free > 0) {
        let take = u32::from(*free).min(left);
        left -= take;
        let part = (value >> left) as u8 & ((1_u16 << take) - 1) as u8;
        *free -= take as u8;
        // With all of them free the byte is empty.
        *last |= part << *free;
    }
    if left > 0 {
        let word = (value << (64 - left)).to_be_bytes();
        let len = left.div_ceil(8) as usize;
        let end = bytes.len() + len;
        if bytes.capacity() - bytes.len() >= word.len() {
            // Eight at once are quicker than the few that are wanted.
            bytes.extend_from_slice(&word);
            bytes.truncate(end);
        } else {
            bytes.extend(word.iter().take(len));
        }
        *free = (8 * len as u32 - left) as u8;
    }
}

/// Appends Go's `binary.PutUvarint`, byte by byte as a field each.
pub(crate) fn write_uvarint(bytes: &mut Vec<u8>, free: &mut u8, mut value: u64) {
    while value >= 0x80 {
        write(bytes, free, value | 0x80, 8);
        value >>= 7;
    }
    write(bytes, free, value, 8);
}

/// Appends Go's `binary.PutVarint`: zigzag, then uvarint.
pub(crate) fn write_varint(bytes: &mut Vec<u8>, free: &mut u8, value: i64) {
    write_uvarint(bytes, free, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads a uvarint at the start of `bytes`; gives it and its length. `None` where it does not end or exceeds 64 bits.
pub(crate) fn uvarint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        if i == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Reads a varint as [`uvarint`] does.
pub(crate) fn varint(bytes: &[u8]) -> Option<(i64, usize)> {
    let (raw, len) = uvarint(bytes)?;
    Some(((raw >> 1) as i64 ^ -((raw & 1) as i64), len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Bit by bit, and the byte that upstream opens behind a field of whole bytes.
    fn write_slowly(bytes: &mut Vec<u8>, free: &mut u8, value: u64, count: u32) {
        for bit in (0..count).rev() {
            if *free == 0 {
                bytes.push(0);
                *free = 8;
            }
            *free -= 1;
            if let Some(last) = bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << *free;
            }
        }
        if *free == 0 && count > 0 && count.is_multiple_of(8) {
            bytes.push(0);
            *free = 8;
        }
    }

    proptest! {
        #[test]
        fn fields_are_laid_out_as_bit_by_bit(
            fields in proptest::collection::vec((any::<u64>(), prop_oneof![1_u32..=8, 1_u32..=64]), 0..60),
            room in 0_usize..200,
        ) {
            let (mut quick, mut slow) = ((Vec::with_capacity(room), 0), (Vec::new(), 0));
            for (value, count) in &fields {
                write(&mut quick.0, &mut quick.1, *value, *count);
                write_slowly(&mut slow.0, &mut slow.1, *value, *count);
                prop_assert_eq!(&quick, &slow);
            }
        }

        #[test]
        fn fields_together_are_laid_out_as_one_by_one(
            fields in proptest::collection::vec((any::<u64>(), 1_u32..=32, any::<u64>(), 1_u32..=32), 0..60),
        ) {
            let (mut joined, mut single) = ((Vec::new(), 0), (Vec::new(), 0));
            for (a, a_count, b, b_count) in &fields {
                let (a, b) = (a & ((1 << a_count) - 1), b & ((1 << b_count) - 1));
                write_joined(&mut joined.0, &mut joined.1, a << b_count | b, a_count + b_count, *b_count);
                write(&mut single.0, &mut single.1, a, *a_count);
                write(&mut single.0, &mut single.1, b, *b_count);
                prop_assert_eq!(&joined, &single);
            }
        }

        #[test]
        fn bits_come_back_as_they_went_in(fields in proptest::collection::vec((any::<u64>(), 1_u32..=64), 0..60)) {
            let (mut bytes, mut free) = (Vec::new(), 0);
            for (value, count) in &fields {
                write(&mut bytes, &mut free, *value, *count);
            }
            let mut pos = 0;
            for (value, count) in &fields {
                let kept = if *count == 64 { *value } else { value & ((1 << count) - 1) };
                prop_assert_eq!(read(&bytes, pos, *count), kept);
                pos += *count as usize;
            }
            prop_assert_eq!(bytes.len() * 8 - usize::from(free), pos);
        }

        #[test]
        fn varints_come_back_as_they_went_in(signed in any::<i64>(), unsigned in any::<u64>(), small in 0_u64..300) {
            for value in [unsigned, small] {
                let (mut bytes, mut free) = (Vec::new(), 0);
                write_uvarint(&mut bytes, &mut free, value);
                prop_assert_eq!(uvarint(&bytes), Some((value, bytes.len() - 1)));
            }
            let (mut bytes, mut free) = (Vec::new(), 0);
            write_varint(&mut bytes, &mut free, signed);
            prop_assert_eq!(varint(&bytes), Some((signed, bytes.len() - 1)));
        }
    }

    #[test]
    fn a_varint_that_does_not_end_or_overflows_is_refused() {
        assert_eq!(uvarint(&[]), None);
        assert_eq!(uvarint(&[0x80]), None);
        assert_eq!(uvarint(&[0xff; 10]), None);
        assert_eq!(
            uvarint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Some((u64::MAX, 10))
        );
    }
}
