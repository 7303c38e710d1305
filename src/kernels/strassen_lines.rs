//! What [`super::strassen_f32`] computes of quarters of a, b and c, a line after the other: Strassen's step in Winograd's form.

/// What a quarter, or a sum of some, is of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    A,
    S,
    B,
    T,
    /// x and y: a tile's sums so far.
    X,
    C,
    /// The biases of b11, of t1.
    BiasesOfB,
    BiasesOfT,
}

/// By row and column; the first sum is (0, 0), the next (1, 0).
pub(super) type Quarter = (Of, usize, usize);

/// to = start + the first product (= x) (+ y) + the second product; of c, act(that).
pub(super) struct Line {
    pub start: Quarter,
    pub products: [Option<[Quarter; 2]>; 2],
    pub adds_y: bool,
    pub to: Quarter,
}

pub(super) const X: Quarter = (Of::X, 0, 0);
pub(super) const Y: Quarter = (Of::X, 1, 0);

pub(super) const LINES: [Line; 5] = {
    use Of::{A, B, BiasesOfB, BiasesOfT, C, S, T};
    [
        // x = biases + a11 b11, c11 = x + a12 b21
        Line {
            start: (BiasesOfB, 0, 0),
            products: [Some([(A, 0, 0), (B, 0, 0)]), Some([(A, 0, 1), (B, 1, 0)])],
            adds_y: false,
            to: (C, 0, 0),
        },
        // y = biases + s1 t1
        Line { start: (BiasesOfT, 0, 0), products: [None, Some([(S, 0, 0), (T, 0, 0)])], adds_y: false, to: Y },
        // x = x + s2 t2, c12 = x + y + s4 b22
        Line {
            start: X,
            products: [Some([(S, 1, 0), (T, 1, 0)]), Some([(S, 3, 0), (B, 1, 1)])],
            adds_y: true,
            to: (C, 0, 1),
        },
        // x = x + s3 t3, c21 = x + a22 t4
        Line {
            start: X,
            products: [Some([(S, 2, 0), (T, 2, 0)]), Some([(A, 1, 1), (T, 3, 0)])],
            adds_y: false,
            to: (C, 1, 0),
        },
        // c22 = x + y
        Line { start: X, products: [None, None], adds_y: true, to: (C, 1, 1) },
    ]
};
