/** mobilesight: TorchVision's MobileNetV3 family in the browser. Importing it does nothing, also outside of browsers. */
export { createClassifier, createDetector, createSegmenter } from './models.ts';
export { MobilesightError, type ErrorCode } from './errors.ts';
export { classColor, classesPresent, drawDetections, drawMask } from './draw.ts';
export type { ClassPresence, DrawContext, DrawDetectionsOptions, DrawMaskOptions } from './draw.ts';
export type * from './types.ts';
