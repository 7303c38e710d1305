//! Results drawn into a picture, in the colours of www/lib/draw.ts and by its rules.

use crate::run::{Detection, Rectangle};
use font8x8::legacy::BASIC_LEGACY;
use image::{Rgba, RgbaImage};

/// The class of models that know one for nothing; it has no colour in a mask.
const BACKGROUND: &str = "__background__";

/// Side of a letter's cell in the font.
const CELL: i64 = 8;
/// A picture of this side has lines of two pixels and letters of eight.
const SIDE: u32 = 512;

/// Successive multiples of this angle fall between all earlier ones, so any number of classes gets hues apart.
const GOLDEN_ANGLE: f32 = 137.508;
/// A neighbour in hue differs in lightness.
const LIGHTNESSES: [f32; 3] = [0.55, 0.42, 0.68];

/// The colour of a class: CSS Color 4, "Converting HSL Colors to sRGB", saturation 0.8.
fn class_rgb(class_id: usize) -> [u8; 3] {
    let hue = class_id as f32 * GOLDEN_ANGLE % 360.0;
    let lightness = LIGHTNESSES[class_id % LIGHTNESSES.len()];
    let chroma = 0.8 * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|n| {
        let k = (n + hue / 30.0) % 12.0;
        (255.0 * (lightness - chroma * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0))).round() as u8
    })
}

/// Black or white, whichever stands out more: the crossing of WCAG's contrast ratios is at luminance 0.179.
fn text_rgb(ground: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = ground.map(|channel| match f32::from(channel) / 255.0 {
        c if c <= 0.04045 => c / 12.92,
        c => ((c + 0.055) / 1.055).powf(2.4),
    });
    if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 { [0; 3] } else { [u8::MAX; 3] }
}

/// Draws boxes with label and score, best on top.
pub fn detections(picture: &mut RgbaImage, found: &[Detection]) {
    let scale = i64::from(picture.width().max(picture.height()).div_ceil(SIDE));
    for Detection { rectangle, class_id, .. } in found.iter().rev() {
        outline(picture, rectangle, class_rgb(*class_id), 2 * scale);
    }
    // Over all boxes, so that no line crosses a text.
    for Detection { rectangle, class_id, label, score } in found.iter().rev() {
        let text = format!("{label} {score:.2}");
        caption(picture, (rectangle.x as i64, rectangle.y as i64), &text, class_rgb(*class_id), scale);
    }
}

/// Lays the colours of the classes over the picture, half transparent, the background's left out.
pub fn mask(picture: &mut RgbaImage, classes: &[u8], labels: &[String]) {
    let background = labels.iter().position(|label| label == BACKGROUND);
    let classes = classes.iter().map(|class| usize::from(*class));
    for (pixel, class) in picture.pixels_mut().zip(classes).filter(|(_, class)| Some(*class) != background) {
        let color = class_rgb(class);
        for (value, over) in pixel.0.iter_mut().zip(color) {
            *value = value.midpoint(over);
        }
    }
}

/// Fills the columns and rows from `from` up to, and without, `to`, as far as they are in the picture.
fn fill(picture: &mut RgbaImage, from: (i64, i64), to: (i64, i64), [r, g, b]: [u8; 3]) {
    let inside = |(x, y): (i64, i64), picture: &RgbaImage| {
        (x.clamp(0, i64::from(picture.width())) as u32, y.clamp(0, i64::from(picture.height())) as u32)
    };
    let ((left, top), (right, bottom)) = (inside(from, picture), inside(to, picture));
    for y in top..bottom {
        for x in left..right {
            picture.put_pixel(x, y, Rgba([r, g, b, u8::MAX]));
        }
    }
}

/// The four sides of a box, `line` pixels wide, inside of it.
fn outline(picture: &mut RgbaImage, r: &Rectangle, color: [u8; 3], line: i64) {
    let (left, top) = (r.x.round() as i64, r.y.round() as i64);
    let (right, bottom) = ((r.x + r.width).round() as i64, (r.y + r.height).round() as i64);
    fill(picture, (left, top), (right, top + line), color);
    fill(picture, (left, bottom - line), (right, bottom), color);
    fill(picture, (left, top), (left + line, bottom), color);
    fill(picture, (right - line, top), (right, bottom), color);
}

/// `text` on a ground of `color`, above the corner `at` of a box where there is room, else inside; never past the right edge.
fn caption(picture: &mut RgbaImage, at: (i64, i64), text: &str, color: [u8; 3], scale: i64) {
    let (cell, padding) = (CELL * scale, 2 * scale);
    let height = cell + 2 * padding;
    let width = cell * text.chars().count() as i64 + 2 * padding;
    let room = i64::from(picture.width()) - width;
    let (x, y) = (at.0.min(room).max(0), if at.1 >= height { at.1 - height } else { at.1 });
    fill(picture, (x, y), (x + width, y + height), color);
    let ink = text_rgb(color);
    for (letter, left) in text.chars().zip((x + padding..).step_by(cell as usize)) {
        let rows = BASIC_LEGACY.get(letter as usize).unwrap_or(&BASIC_LEGACY[usize::from(b'?')]);
        for (row, top) in rows.iter().zip((y + padding..).step_by(scale as usize)) {
            for bit in (0..CELL).filter(|bit| row >> bit & 1 == 1) {
                let from = (left + bit * scale, top);
                fill(picture, from, (from.0 + scale, from.1 + scale), ink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by www/lib/draw.ts.
    #[test]
    fn colours_are_the_pages() {
        assert_eq!([0, 1, 2].map(class_rgb), [[232, 48, 48], [21, 193, 71], [184, 108, 239]]);
        assert_eq!([0, 4, 10].map(class_rgb).map(text_rgb), [[0; 3], [0; 3], [255; 3]]);
    }

    #[test]
    fn the_background_is_left_out_of_a_mask() {
        let mut picture = RgbaImage::from_pixel(3, 1, Rgba([10, 20, 30, 255]));
        mask(&mut picture, &[0, 1, 2], &["__background__".to_string(), "cat".to_string()]);
        let pixels: Vec<_> = picture.pixels().map(|p| p.0).collect();
        assert_eq!(pixels[0], [10, 20, 30, 255]);
        assert!(pixels[1..].iter().all(|p| *p != pixels[0]), "{pixels:?}");
    }

    #[test]
    fn a_box_past_the_edge_is_drawn_as_far_as_it_is_inside() {
        let mut picture = RgbaImage::new(20, 10);
        let rectangle = Rectangle { x: -5.0, y: 4.0, width: 100.0, height: 100.0 };
        outline(&mut picture, &rectangle, [1, 2, 3], 2);
        let drawn = |x, y| picture.get_pixel(x, y).0 == [1, 2, 3, 255];
        assert!(drawn(0, 4) && drawn(19, 5) && !drawn(0, 6) && !drawn(0, 3));
        assert_eq!(picture.pixels().filter(|p| p.0[3] == 255).count(), 40);
    }

    #[test]
    fn a_label_has_ink_on_its_ground() {
        let mut picture = RgbaImage::new(40, 40);
        caption(&mut picture, (2, 20), "Ié", [10, 10, 10], 1);
        let count = |color: [u8; 4]| picture.pixels().filter(|p| p.0 == color).count();
        assert!(count([255; 4]) > 20, "letters are drawn");
        assert_eq!(count([255; 4]) + count([10, 10, 10, 255]), (2 * 8 + 4) * 12, "on a ground of their size");
        assert_eq!(picture.get_pixel(2, 8).0, [10, 10, 10, 255], "above the box");
        let mut narrow = RgbaImage::new(40, 40);
        caption(&mut narrow, (39, 20), "Ié", [10, 10, 10], 1);
        assert_eq!(narrow.get_pixel(20, 8).0, [10, 10, 10, 255], "moved to the left until it fits");
    }
}
