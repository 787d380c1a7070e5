//! What differs between two texts, line by line, in colours: `--diff`.

const RED: &str = "\u{1b}[0;31m";
const GREEN: &str = "\u{1b}[0;32m";
const PLAIN: &str = "\u{1b}[0m";

// Beyond this the table of lines would be too large to be worth it: everything is shown as different.
const MOST_LINES: usize = 2000;

/// The lines of both: with `-` and in red what only `expected` has, with `+` and in green what only `got` has.
pub(super) fn lines(expected: &str, got: &str, indent: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let mut out = String::new();
    for (sign, line) in walk(&a, &b) {
        let (begin, end) = match sign {
            '-' => (RED, PLAIN),
            '+' => (GREEN, PLAIN),
            _ => ("", ""),
        };
        out += &format!("\n{indent}{begin}{sign} {line}{end}");
    }
    out
}

// The longest common run of lines stays, found by the usual table.
fn walk<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    if a.len().max(b.len()) > MOST_LINES {
        let gone = a.iter().map(|line| ('-', *line));
        return gone.chain(b.iter().map(|line| ('+', *line))).collect();
    }
    let width = b.len() + 1;
    let mut table = vec![0_u32; (a.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            table[at(i, j)] = match a[i] == b[j] {
                true => table[at(i + 1, j + 1)] + 1,
                false => table[at(i + 1, j)].max(table[at(i, j + 1)]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && table[at(i + 1, j)] >= table[at(i, j + 1)]) {
            out.push(('-', a[i]));
            i += 1;
        } else {
            out.push(('+', b[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_stays_between_what_differs() {
        let shown: Vec<String> = walk(&["a", "b", "c"], &["a", "x", "c", "d"])
            .into_iter()
            .map(|(sign, line)| format!("{sign}{line}"))
            .collect();
        assert_eq!(shown, [" a", "-b", "+x", " c", "+d"]);
        assert_eq!(
            lines("1", "2", " "),
            "\n \u{1b}[0;31m- 1\u{1b}[0m\n \u{1b}[0;32m+ 2\u{1b}[0m"
        );
        assert_eq!(walk(&[], &[]).len(), 0);
    }
}
