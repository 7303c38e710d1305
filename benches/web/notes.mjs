// What the reports say beside their figures, a sentence each: no run finds it out. Keep one as long as it is true.

/** Why a goal is missed and what was tried, by model, dtype and figure (goals.mjs), as `large224 f32, of the limit`. */
export const goalNotes = {};

/** Why time jumps between two points of a series, by series and dtype, as `LR-ASPP by picture side, f32`. */
export const scaleNotes = {};
