//! Names for members that were given none.

use std::hash::{BuildHasher as _, RandomState};

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Random bits, from the keys that the system gives each hasher.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// A ULID: 26 characters, of which the first ten are `now_ms` (milliseconds since the epoch), so that members are in the
/// order of their start, as Alertmanager names them where `--cluster.peer-name` is absent.
#[must_use]
pub fn random_name(now_ms: i64) -> String {
    let time = u128::from(now_ms.max(0).unsigned_abs() & 0xffff_ffff_ffff);
    let noise = (u128::from(random()) << 64 | u128::from(random())) & ((1 << 80) - 1);
    let bits = time << 80 | noise;
    let digit = |place: u32| DIGITS.get((bits >> (5 * place) & 31) as usize).copied().unwrap_or(b'0');
    (0..26).rev().map(|place| char::from(digit(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::random_name;

    #[test]
    fn names_are_in_the_order_of_their_time_and_never_the_same() {
        let (old, new, other) = (
            random_name(1),
            random_name(1_795_000_000_000),
            random_name(1_795_000_000_000),
        );
        assert!(old.starts_with("0000000001") && old.len() == 26, "{old}");
        assert!(old < new && old < other && new != other);
        assert_eq!(new[..10], other[..10]);
    }
}
