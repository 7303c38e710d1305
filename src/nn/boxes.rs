//! torchvision/ops/boxes.py and detection/_utils.py's BoxCoder: decode, clip, non-maximum suppression.

use crate::tensor::Workspace;

/// x1, y1, x2, y2 in pixels.
pub type Box2d = [f32; 4];

/// BoxCoder: deltas divided by `weights`, relative to a box's centre and size; dw and dh are clipped at ln(1000 / 16).
pub fn decode(anchor: Box2d, deltas: &[f32], weights: [f32; 4]) -> Box2d {
    let clip = (1000.0f32 / 16.0).ln();
    let (w, h) = (anchor[2] - anchor[0], anchor[3] - anchor[1]);
    let (cx, cy) = (anchor[0] + 0.5 * w, anchor[1] + 0.5 * h);
    let (dx, dy) = (deltas[0] / weights[0], deltas[1] / weights[1]);
    let (dw, dh) = ((deltas[2] / weights[2]).min(clip), (deltas[3] / weights[3]).min(clip));
    let (px, py) = (dx * w + cx, dy * h + cy);
    let (pw, ph) = (0.5 * (dw.exp() * w), 0.5 * (dh.exp() * h));
    [px - pw, py - ph, px + pw, py + ph]
}

/// clip_boxes_to_image, `size` = [h, w].
pub fn clip(b: Box2d, size: (usize, usize)) -> Box2d {
    let (h, w) = (size.0 as f32, size.1 as f32);
    [b[0].clamp(0.0, w), b[1].clamp(0.0, h), b[2].clamp(0.0, w), b[3].clamp(0.0, h)]
}

/// remove_small_boxes: whether both sides are at least `min_size`.
pub fn is_large(b: Box2d, min_size: f32) -> bool {
    b[2] - b[0] >= min_size && b[3] - b[1] >= min_size
}

/// Area of the intersection over area of the union.
pub fn iou(a: Box2d, b: Box2d) -> f32 {
    let area = |b: Box2d| (b[2] - b[0]) * (b[3] - b[1]);
    let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0.0);
    let inter = side(0) * side(1);
    inter / (area(a) + area(b) - inter)
}

/// A scored box of a group (a level or a class) that suppresses only its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate {
    /// The box.
    pub b: Box2d,
    /// Higher is kept.
    pub score: f32,
    /// Level or class.
    pub group: usize,
}

/// A number that is the smaller the earlier an index comes: that of the larger value by [`f32::total_cmp`], or the lower one.
fn key(value: f32, index: usize) -> u64 {
    let bits = value.to_bits();
    let ascending = if value.is_sign_negative() { !bits } else { bits | 1 << 31 };
    u64::from(!ascending) << 32 | index as u64
}

/// The indices of the `n` largest of `len` values, largest first, equal ones in their order; from and to the workspace.
pub fn top_n(workspace: &mut Workspace, len: usize, n: usize, value: &dyn Fn(usize) -> f32) -> Vec<usize> {
    let (mut keys, mut spare): (Vec<u64>, Vec<u64>) = (workspace.list(len), workspace.list(len));
    keys.extend((0..len).map(|i| key(value(i), i)));
    sort(&mut keys, &mut spare);
    let mut order = workspace.list(len);
    order.extend(keys.iter().take(n).map(|key| *key as u32 as usize));
    [keys, spare].into_iter().for_each(|list| workspace.give_list(list));
    order
}

/// Sorts keys whose lower halves ascend: a pass over them for each byte of the upper half, the lowest first, by how many are below. The browser's build
/// has the standard library for size, whose sort takes 45 us for the classes of ImageNet instead of 10 (Chromium on Intel, November 2026).
fn sort(keys: &mut Vec<u64>, spare: &mut Vec<u64>) {
    // Not worth the counting.
    const FEW: usize = 64;
    if keys.len() < FEW {
        return keys.sort_unstable();
    }
    spare.resize(keys.len(), 0);
    for shift in [32, 40, 48, 56] {
        let byte = |key: u64| usize::from((key >> shift) as u8);
        let mut places = [0; 256];
        keys.iter().for_each(|key| places[byte(*key)] += 1);
        let mut below = 0;
        places.iter_mut().for_each(|place| below += std::mem::replace(place, below));
        for key in keys.iter() {
            let place = &mut places[byte(*key)];
            spare[*place] = *key;
            *place += 1;
        }
        std::mem::swap(keys, spare);
    }
}

/// batched_nms: of `candidates`, those that no better one of their group overlaps by strictly more than `threshold`, best
/// first (equal ones in their order), at most `limit`; from and to the workspace.
pub fn batched_nms(
    workspace: &mut Workspace,
    candidates: Vec<Candidate>,
    threshold: f32,
    limit: usize,
) -> Vec<Candidate> {
    let order = top_n(workspace, candidates.len(), candidates.len(), &|i| candidates[i].score);
    let mut kept: Vec<Candidate> = workspace.list(limit.min(candidates.capacity()));
    for c in order.iter().map(|i| candidates[*i]) {
        if kept.len() == limit {
            break;
        }
        if !kept.iter().any(|k| k.group == c.group && iou(k.b, c.b) > threshold) {
            kept.push(c);
        }
    }
    workspace.give_list(order);
    workspace.give_list(candidates);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nms_keeps_an_overlap_equal_to_the_threshold_and_other_groups() {
        let at = |x: f32, score: f32, group| Candidate { b: [x, 0.0, x + 4.0, 3.0], score, group };
        // Shifted by one of four columns: 9 of 15.
        assert_eq!(iou(at(0.0, 0.0, 0).b, at(1.0, 0.0, 0).b), 0.6);
        let mut workspace = Workspace::default();
        let all = vec![at(0.0, 0.5, 0), at(1.0, 0.9, 0), at(1.0, 0.7, 1)];
        assert_eq!(batched_nms(&mut workspace, all.clone(), 0.6, 10).len(), 3);
        let kept: Vec<f32> = batched_nms(&mut workspace, all.clone(), 0.59, 10).iter().map(|c| c.score).collect();
        assert_eq!(kept, [0.9, 0.7]);
        assert_eq!(batched_nms(&mut workspace, all, 0.6, 1).len(), 1);
    }

    /// As many as a sort by counts takes, with values that differ in every byte and some that are equal.
    #[test]
    fn many_are_sorted() {
        let values: Vec<f32> =
            (0..1000u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9) & 0xff7f_fffc)).collect();
        let value = |i: usize| values[i % values.len()];
        let mut order: Vec<usize> = (0..2 * values.len()).collect();
        order.sort_by(|a, b| value(*b).total_cmp(&value(*a)));
        for n in [0, 700, 3000] {
            let best = top_n(&mut Workspace::default(), order.len(), n, &value);
            assert_eq!(best, order[..n.min(order.len())]);
        }
    }

    #[test]
    fn top_n_is_stable() {
        let values = [1.0, 3.0, -1.0, 3.0, 2.0, -0.0, 0.0, -2.0, f32::NEG_INFINITY];
        let order = [1, 3, 4, 0, 6, 5, 2, 7, 8];
        for n in [0, 3, 5, 9, 20] {
            let best = top_n(&mut Workspace::default(), values.len(), n, &|i| values[i]);
            assert_eq!(best, order[..n.min(values.len())]);
        }
    }

    #[test]
    fn decode_clips_the_growth_of_a_box() {
        let b = decode([0.0, 0.0, 2.0, 2.0], &[0.0, 0.0, 100.0, 0.0], [1.0; 4]);
        assert!((b[2] - b[0] - 125.0).abs() < 1e-3 && (b[3] - b[1] - 2.0).abs() < 1e-6, "{b:?}");
    }
}
