//! A small seeded fuzzer: mutates a corpus and feeds a parser, the same inputs for the same seed.

/// Makes variants of the inputs of a corpus; the same seed gives the same variants.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator whose output is determined by `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed ^ 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// The next number of the sequence (splitmix64).
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            (self.next_u64() % bound as u64) as usize
        }
    }

    /// A variant of one input of `corpus`: flips, removals, copies, splices, and words of `dictionary`.
    pub fn mutate(&mut self, corpus: &[Vec<u8>], dictionary: &[&str]) -> Vec<u8> {
        let pick = self.below(corpus.len());
        let mut out = corpus.get(pick).cloned().unwrap_or_default();
        for _ in 0..=self.below(6) {
            let at = self.below(out.len() + 1);
            match self.below(7) {
                0 if !out.is_empty() => {
                    let i = at % out.len();
                    out[i] ^= 1 << self.below(8);
                }
                1 if !out.is_empty() => {
                    let i = at % out.len();
                    out[i] = self.next_u64() as u8;
                }
                2 => {
                    let end = (at + self.below(16)).min(out.len());
                    out.drain(at..end);
                }
                3 => {
                    let end = (at + self.below(32)).min(out.len());
                    let piece = out[at..end].to_vec();
                    let to = self.below(out.len() + 1);
                    out.splice(to..to, piece);
                }
                4 if !dictionary.is_empty() => {
                    let word = dictionary[self.below(dictionary.len())];
                    out.splice(at..at, word.bytes());
                }
                5 if !corpus.is_empty() => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    out.truncate(at);
                    out.extend_from_slice(&other[from..]);
                }
                _ => out.truncate(at),
            }
        }
        out
    }
}

/// Calls `parse` with the corpus and with `$CUPOLA_FUZZ_RUNS` (else `runs`) seeded variants of it.
///
/// The check is that `parse` returns; a panic fails the test and shows the input.
pub fn fuzz(runs: usize, corpus: &[Vec<u8>], dictionary: &[&str], mut parse: impl FnMut(&[u8])) {
    let runs = std::env::var("CUPOLA_FUZZ_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(runs);
    let mut mutator = Mutator::new(42);
    for input in corpus {
        parse(input);
    }
    for _ in 0..runs {
        let input = mutator.mutate(corpus, dictionary);
        let guard = ShowOnPanic(&input);
        parse(&input);
        std::mem::forget(guard);
    }
}

struct ShowOnPanic<'a>(&'a [u8]);

impl Drop for ShowOnPanic<'_> {
    fn drop(&mut self) {
        eprintln!("panicked on input: {:?}", String::from_utf8_lossy(self.0));
    }
}
