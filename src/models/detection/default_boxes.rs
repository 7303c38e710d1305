//! DefaultBoxGenerator of torchvision/models/detection/anchor_utils.py, as ssdlite.py sets it.
//!
//! Map k of n has the scale s = 0.2 + 0.75 * k / (n - 1) of the picture, the last's next is 1. Each cell has six boxes round its
//! centre: squares of s and of sqrt(s * next), then s * sqrt(r) by s / sqrt(r), both ways, for r = 2 and 3.

use crate::nn::boxes::Box2d;

/// Boxes of a cell.
pub const BOXES: usize = 6;
const MIN_RATIO: f64 = 0.2;
const MAX_RATIO: f64 = 0.95;
const ASPECT_RATIOS: [f64; 2] = [2.0, 3.0];

/// Adds the boxes of all `maps` of [h, w] on a picture of `size` to `boxes`, in the order (map, y, x, box).
///
/// # Panics
/// When there are fewer than two maps.
pub fn default_boxes(maps: &[(usize, usize)], size: (usize, usize), boxes: &mut Vec<Box2d>) {
    assert!(maps.len() > 1, "scales lie between the first map's and the last's");
    let (height, width) = (size.0 as f32, size.1 as f32);
    for (k, &(rows, columns)) in maps.iter().enumerate() {
        let sides = sides(k, maps.len());
        for cell in 0..rows * columns {
            let x = ((cell % columns) as f32 + 0.5) / columns as f32;
            let y = ((cell / columns) as f32 + 0.5) / rows as f32;
            boxes.extend(sides.map(|(w, h)| {
                [(x - 0.5 * w) * width, (y - 0.5 * h) * height, (x + 0.5 * w) * width, (y + 0.5 * h) * height]
            }));
        }
    }
}

/// Width and height of the boxes of map `k` of `n`, in shares of the picture, at most the whole.
fn sides(k: usize, n: usize) -> [(f32, f32); BOXES] {
    let scale = |k: usize| if k == n { 1.0 } else { MIN_RATIO + (MAX_RATIO - MIN_RATIO) * k as f64 / (n - 1) as f64 };
    let (s, between) = (scale(k), (scale(k) * scale(k + 1)).sqrt());
    let [(w2, h2), (w3, h3)] = ASPECT_RATIOS.map(|r| (s * r.sqrt(), s / r.sqrt()));
    [(s, s), (between, between), (w2, h2), (h2, w2), (w3, h3), (h3, w3)]
        .map(|(w, h)| ((w as f32).min(1.0), (h as f32).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_the_first_cell_and_of_the_whole_picture() {
        let mut boxes = Vec::new();
        default_boxes(&[(2, 4), (1, 1)], (100, 200), &mut boxes);
        assert_eq!(boxes.len(), 9 * BOXES);
        // The first map's scale is a fifth of the picture, round a cell of 50 x 50.
        let near = |(a, b): (&f32, f32)| (a - b).abs() < 1e-4;
        assert!(boxes[0].iter().zip([5.0, 15.0, 45.0, 35.0]).all(near), "{:?}", boxes[0]);
        // The last map's wide boxes stop at the picture's width.
        let wide = boxes[8 * BOXES + 2];
        assert_eq!((wide[0], wide[2]), (0.0, 200.0));
        assert!(near((&(wide[3] - wide[1]), 95.0 / 2f32.sqrt())), "{wide:?}");
    }
}
