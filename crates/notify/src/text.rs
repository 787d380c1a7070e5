//! Texts within a receiver's limits.

/// At most `limit` characters; what is cut ends with `…` (Alertmanager: `notify.TruncateInRunes`).
pub(crate) fn truncate(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(limit.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// At most `limit` bytes; what is cut ends with `…` (Alertmanager: `notify.TruncateInBytes`).
pub(crate) fn truncate_bytes(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub('…'.len_utf8()));
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(truncate("äöü", 3), "äöü");
        assert_eq!(truncate("äöüß", 3), "äö…");
        assert_eq!(truncate_bytes("äöüß", 8), "äöüß");
        assert_eq!(truncate_bytes("äöüß", 7), "äö…");
    }
}
