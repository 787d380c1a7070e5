//! Inflating a zstd body whole.

use std::io::Read as _;

use crate::NetError;

// RFC 9659: what is sent over HTTP has a window of at most 8 MiB. The limit bounds what a frame makes us reserve.
const MAX_WINDOW_LOG: u32 = 23;

/// Inflates one or more frames; `limit` bounds the result.
pub(crate) fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, NetError> {
    let bad = |error: std::io::Error| NetError::Zstd(error.to_string());
    let mut decoder = ::zstd::stream::read::Decoder::with_buffer(body).map_err(bad)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(bad)?;
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    // One more tells that there is more.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut out).map_err(bad)?;
    match out.len() > limit {
        true => Err(NetError::BodyLimit { limit }),
        false => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(data: &[u8]) -> Vec<u8> {
        ::zstd::stream::encode_all(data, 1).unwrap()
    }

    #[test]
    fn bodies_inflate_up_to_the_limit() {
        let data = vec![b'a'; 100_000];
        let body = compressed(&data);
        assert_eq!(inflate(&body, 100_000).unwrap(), data);
        assert!(matches!(inflate(&body, 99_999), Err(NetError::BodyLimit { .. })));
        assert_eq!(
            inflate(&[compressed(b"ab"), compressed(b"cd")].concat(), 9).unwrap(),
            b"abcd"
        );
    }

    #[test]
    fn garbage_halves_and_too_large_a_window_are_errors() {
        assert!(inflate(b"not zstd at all", 1000).is_err());
        assert!(inflate(b"", 1000).is_err());
        let body = compressed(&vec![b'a'; 100_000]);
        assert!(inflate(&body[..body.len() - 4], 200_000).is_err());
        // A frame whose window is 2 GiB; then a block that repeats one byte.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x0b, 0x00, 0x00, b'a'];
        assert!(inflate(&frame, 1000).is_err());
    }

    #[test]
    fn no_body_makes_it_panic_or_grow_past_the_limit() {
        let corpus = vec![compressed(b"hello hello hello"), compressed(&vec![b'a'; 10_000])];
        cupola_testkit::fuzz(5_000, &corpus, &[], |bytes| {
            if let Ok(out) = inflate(bytes, 20_000) {
                assert!(out.len() <= 20_000);
            }
        });
    }
}
