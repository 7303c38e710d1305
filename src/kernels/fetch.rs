//! Weights on their way before a loop that computes comes to them.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Reads a byte of each cache line of `bytes`.
///
/// A CPU goes no further than some hundred instructions ahead, which are a few lines of a loop that computes, and a short loop of loads many: where
/// lines come from memory, it takes less time to have them come together first. In Chromium on Intel (family 6 model 167, November 2026) gates of
/// squeeze-excite in int8 take half as long so: LR-ASPP 3 % less, MobileNetV3-Large 8 %.
#[inline(never)]
pub fn fetch(bytes: &[u8]) {
    let read = bytes.iter().step_by(LINE).fold(0, |all, byte| all | byte);
    // What comes of it is of no use, which the compiler is not to know.
    std::hint::black_box(read);
}
