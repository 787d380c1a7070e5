//! A vector that grows without moving what it has.
//!
//! A million series in one `Vec` were copied again and again while they came, and a vector that had just grown was half
//! empty.

// Elements of a piece.
const PIECE: usize = 4096;

/// Elements by number, from 0 on.
#[derive(Debug)]
pub(crate) struct Pieces<T> {
    // All but the last one are full.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Pieces<T> {
    pub(crate) fn len(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1) * PIECE + last
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pieces.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }

    pub(crate) fn push(&mut self, element: T) {
        match self.pieces.last_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last.push(element),
            None => {
                let mut next = Vec::with_capacity(PIECE);
                next.push(element);
                self.pieces.push(next);
            }
        }
    }

    /// The element of this number, made with all before it where it is new.
    pub(crate) fn get_or_make(&mut self, at: usize, make: impl Fn() -> T) -> Option<&mut T> {
        if at >= self.len() {
            for _ in self.len()..=at {
                self.push(make());
            }
        }
        self.get_mut(at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }
}

/// Gives each piece back once it was gone through.
impl<T> IntoIterator for Pieces<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_a_vector() {
        let mut pieces = Pieces::default();
        assert_eq!((pieces.len(), pieces.get(0)), (0, None));
        for n in 0..3 * PIECE {
            assert_eq!(pieces.len(), n);
            pieces.push(n);
        }
        assert_eq!(pieces.get_or_make(4 * PIECE, || 7), Some(&mut 7));
        assert_eq!(pieces.get_or_make(5, || 8), Some(&mut 5));
        assert_eq!((pieces.len(), pieces.get(4 * PIECE + 1)), (4 * PIECE + 1, None));
        pieces.iter_mut().for_each(|n| *n += 1);
        *pieces.get_mut(PIECE).unwrap() = 0;
        let mut expected: Vec<usize> = (1..=3 * PIECE).chain(std::iter::repeat_n(8, PIECE + 1)).collect();
        expected[PIECE] = 0;
        assert!(pieces.iter().eq(&expected));
        assert!(pieces.into_iter().eq(expected));
    }
}
