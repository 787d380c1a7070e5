//! What bcrypt made of a password, looked at without knowing the password.

// `$2y$10$`, 22 characters of salt, 31 of the hash.
const LENGTH: usize = 60;
// What Go's library takes at least: version 2 without a letter is one shorter.
const SHORTEST: usize = 59;

/// The cost of a hash.
///
/// # Errors
/// Where it is none, in the words of Go's library where it refuses it, too; the hash is not in them.
pub(super) fn cost(hash: &str) -> Result<u32, String> {
    let go = |what: String| Err(format!("crypto/bcrypt: {what}"));
    if hash.len() < SHORTEST {
        return go("hashedSecret too short to be a bcrypted password".to_owned());
    }
    let mut start = hash.chars();
    match start.next() {
        Some('$') => {}
        other => {
            return go(format!(
                "bcrypt hashes must start with '$', but hashedSecret started with '{}'",
                other.unwrap_or_default()
            ));
        }
    }
    match start.next() {
        Some(version) if version > '2' => {
            return go(format!(
                "bcrypt algorithm version '{version}' requested is newer than current version '2'"
            ));
        }
        _ => {}
    }
    let known = ["$2a$", "$2b$", "$2x$", "$2y$"];
    let Some(rest) = known.iter().find_map(|version| hash.strip_prefix(version)) else {
        return Err("only bcrypt hashes of the versions 2a, 2b, 2x and 2y are supported".to_owned());
    };
    let (cost, rest) = rest.split_once('$').unwrap_or((rest, ""));
    let is_number = cost.len() == 2 && cost.bytes().all(|c| c.is_ascii_digit());
    let Some(cost) = cost.parse::<u32>().ok().filter(|_| is_number) else {
        return Err("the cost of a bcrypt hash must have two digits".to_owned());
    };
    if !(4..=31).contains(&cost) {
        return go(format!("cost {cost} is outside allowed inclusive range 4..31"));
    }
    let is_base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'/');
    if hash.len() != LENGTH || !rest.bytes().all(is_base64) {
        return Err("salt and hash of a bcrypt hash must be 53 characters of ./A-Za-z0-9".to_owned());
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::cost;

    const TAIL: &str = "QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

    #[test]
    fn costs_of_all_versions_are_read() {
        for (start, expected) in [("$2y$10$", 10), ("$2a$04$", 4), ("$2b$31$", 31), ("$2x$12$", 12)] {
            assert_eq!(cost(&format!("{start}{TAIL}")), Ok(expected), "{start}");
        }
    }

    #[test]
    fn what_is_no_hash_is_told_as_go_tells_it() {
        for (start, part) in [
            (
                "x2y$10$",
                "bcrypt hashes must start with '$', but hashedSecret started with 'x'",
            ),
            (
                "$3y$10$",
                "bcrypt algorithm version '3' requested is newer than current version '2'",
            ),
            (
                "$2y$03$",
                "crypto/bcrypt: cost 3 is outside allowed inclusive range 4..31",
            ),
            ("$2y$32$", "cost 32 is outside"),
            ("$2y$1x$", "must have two digits"),
            ("$2y$+9$", "must have two digits"),
            ("$2y$010$", "must have two digits"),
            ("$2$10$", "only bcrypt hashes of the versions"),
            ("$2y$10$x", "must be 53 characters"),
        ] {
            let told = cost(&format!("{start}{TAIL}")).unwrap_err();
            assert!(told.contains(part), "{start}: {told}");
            assert!(!told.contains(TAIL), "{told}");
        }
        let short = cost("password").unwrap_err();
        assert_eq!(short, "crypto/bcrypt: hashedSecret too short to be a bcrypted password");
    }
}
