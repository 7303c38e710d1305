/** What the wrapper takes and gives: the whole public vocabulary of the package. Nothing here runs. */

/**
 * A picture in any form that a page has it. All forms of the same opaque picture give equal results; EXIF orientation is
 * respected. Alpha is ignored, but only ImageData keeps what it hides: to the other forms that is black. A string is a URL,
 * relative to the document. The picture is taken at the time of the call; the caller's object is never consumed or closed. A
 * file's colour profile is ignored, as TorchVision's readers do; where the browser has applied a wide gamut's profile already,
 * on a canvas or in an ImageBitmap, its sRGB values count.
 */
export type ImageSource =
  | ImageBitmap
  | ImageData
  | HTMLImageElement
  | HTMLCanvasElement
  | HTMLVideoElement
  | OffscreenCanvas
  | VideoFrame
  | Blob
  | URL
  | string;

/** The four modules that ship: the instruction set, and whether threads share the memory. */
export type ModuleName = 'simd128' | 'simd128-threads' | 'relaxed' | 'relaxed-threads';

/** The tasks of the family. */
export type Task = 'detection' | 'segmentation' | 'classification';

/** Where a load has got to. `download` counts bytes; the other phases have loaded = 0, then loaded = total = 1. */
export interface LoadProgress {
  phase: 'download' | 'compile' | 'load' | 'warmup';
  /** Bytes so far in `download`. */
  loaded: number;
  /** Bytes in all in `download`; undefined when the server does not say. */
  total: number | undefined;
}

/** What every create function takes. */
export interface CreateOptions {
  /**
   * Where the .safetensors file is, relative to the document, or its bytes. Bytes are copied, and read again should the worker
   * have to be replaced, so leave them as they are.
   */
  weights: string | URL | ArrayBuffer | Uint8Array;
  /** Threads: 'auto' takes the cores, 4 at most, where the page is cross-origin isolated; else 1. Default 'auto'. */
  threads?: 'auto' | number;
  /** The module to use, for comparison, refused where it cannot run; by default the best one that the engine supports. */
  module?: ModuleName | 'auto';
  /**
   * The folder that holds the package's folder `engine`, with or without a last slash; by default that of the package's own file.
   * A bundler moves that file, so copy `engine` to what the site serves, and name its parent here.
   */
  assetPath?: string | URL;
  /** `sha256-<base64>` of the weights, as Subresource Integrity writes it: other bytes are refused with E_CHECKSUM. */
  integrity?: string;
  /**
   * Whether weights are kept in the Cache API between visits, by their URL. Default true. Where a file may change at its URL,
   * give `integrity`, which refreshes it.
   */
  cache?: boolean;
  /** Requests that may wait beside the running one; one more is refused with E_QUEUE_FULL. Default 16. */
  maxQueue?: number;
  /** The builder's name, for a file without mobilesight metadata, for example `lraspp_mobilenet_v3_large`. */
  arch?: string;
  /** Names by class index, one for each class, for a file without labels or instead of its own. */
  labels?: string[];
  /** Called as the load goes on. */
  onProgress?: (progress: LoadProgress) => void;
  /** Ends the load with an AbortError. */
  signal?: AbortSignal;
}

/** What every run takes. */
export interface RunOptions {
  /** Rejects the call with an AbortError; a request that waits is dropped. */
  signal?: AbortSignal;
}

/** Milliseconds of a run's parts, in the worker. */
export interface Timings {
  /** Picture to RGBA. */
  decode: number;
  /** RGBA to the network's input. */
  preprocess: number;
  /** The network. */
  network: number;
  /** Its output to boxes, a mask or classes in source pixels. */
  postprocess: number;
}

/** Per-call options of a detector; the model's own values are the default. */
export interface DetectOptions extends RunOptions {
  /** Score that a box must exceed, 0 to 1. */
  scoreThreshold?: number;
  /** Most detections, at least 1. */
  maxResults?: number;
  /** Only these labels. */
  categoryAllowlist?: readonly string[];
  /** IoU above which the lesser of two detections of a class goes, 0 to 1. */
  nmsThreshold?: number;
  /** The region proposal network's own parameters, for models that have one. */
  rpn?: {
    /** Best anchors of a level that are decoded, at least 1. */
    preNmsTopN?: number;
    /** Proposals that remain, at least 1. */
    postNmsTopN?: number;
    /** Least objectness, 0 to 1. */
    scoreThreshold?: number;
    /** IoU above which the lesser of two proposals goes, 0 to 1. */
    nmsThreshold?: number;
  };
}

/** A box, pixels of the source picture, (0, 0) its top left corner. */
export interface BoundingBox {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** One object. */
export interface Detection {
  box: BoundingBox;
  label: string;
  classId: number;
  /** 0 to 1. */
  score: number;
}

/** What detect gives, best first. */
export interface DetectionResult {
  detections: Detection[];
  /** Of the source picture. */
  width: number;
  height: number;
  timings: Timings;
}

/** What segment gives. */
export interface SegmentationResult {
  /** Class of each pixel of the source picture, row by row, width * height. */
  mask: Uint8Array;
  /** Names by class. */
  labels: string[];
  width: number;
  height: number;
  timings: Timings;
}

/** Per-call options of a classifier. */
export interface ClassifyOptions extends RunOptions {
  /** Most classes, at least 1. Default 5. */
  topK?: number;
}

/** One class of a classifier. */
export interface Classification {
  label: string;
  classId: number;
  /** Softmax, 0 to 1. */
  score: number;
}

/** What classify gives, best first. */
export interface ClassificationResult {
  classes: Classification[];
  timings: Timings;
}

/** What `info()` tells of a loaded model. */
export interface ModelInfo {
  task: Task;
  /** TorchVision's builder name. */
  arch: string;
  /** Names by class. */
  labels: string[];
  /** How the weights are computed with. */
  dtype: 'f32' | 'int8';
  /** Which int8 GEMM runs, for int8 weights. */
  int8Gemm?: 'dot-i16' | 'dot-i8';
  /** The module in use. */
  module: ModuleName;
  threads: number;
  /** Why fewer threads or another module than asked for are in use, in words. */
  fallback?: string;
  /** Bytes of the weights file. */
  weightsBytes: number;
  /** Bytes of WebAssembly memory now. */
  memoryBytes: number;
  source?: string;
  license?: string;
}

/** What all models share. */
export interface Model {
  /** What is loaded, and on what it runs. */
  info(): ModelInfo;
  /** Milliseconds of each layer on `image`, in the order of the run. */
  profile(image: ImageSource, options?: RunOptions): Promise<{ name: string; ms: number }[]>;
  /** Ends the worker; calls that wait are rejected with E_CLOSED. Closing twice is no error. */
  close(): Promise<void>;
}

/** Boxes on a picture. */
export interface Detector extends Model {
  detect(image: ImageSource, options?: DetectOptions): Promise<DetectionResult>;
}

/** A class for each pixel of a picture. */
export interface Segmenter extends Model {
  segment(image: ImageSource, options?: RunOptions): Promise<SegmentationResult>;
}

/** Classes of a picture. */
export interface Classifier extends Model {
  classify(image: ImageSource, options?: ClassifyOptions): Promise<ClassificationResult>;
}
