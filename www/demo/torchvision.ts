/**
 * TorchVision's own models, the rows of src/models/registry.rs. Their weights are not shipped: `npm run weights` puts them into
 * models/torchvision, and says in models/index.json which are there.
 */
import type { Task } from 'mobilesight';
import type { ModelRow } from './models.ts';

/** A builder, and how the page calls it. */
interface Builder {
  task: Task;
  arch: string;
  /** Shorter side of the resized picture, where it is not the preset's. */
  resize?: number;
  title: string;
}

export const BUILDERS: readonly Builder[] = [
  { task: 'detection', arch: 'fasterrcnn_mobilenet_v3_large_320_fpn', title: 'Faster R-CNN Large 320, COCO' },
  { task: 'detection', arch: 'fasterrcnn_mobilenet_v3_large_fpn', title: 'Faster R-CNN Large, COCO' },
  { task: 'detection', arch: 'ssdlite320_mobilenet_v3_large', title: 'SSDlite 320 Large, COCO' },
  { task: 'segmentation', arch: 'lraspp_mobilenet_v3_large', title: 'LR-ASPP Large, VOC' },
  { task: 'segmentation', arch: 'lraspp_mobilenet_v3_large', resize: 320, title: 'LR-ASPP Large at 320, VOC' },
  { task: 'segmentation', arch: 'deeplabv3_mobilenet_v3_large', title: 'DeepLabV3 Large, VOC' },
  { task: 'segmentation', arch: 'fcn_mobilenet_v3_large', title: 'FCN Large, VOC (never released)' },
  { task: 'classification', arch: 'mobilenet_v3_large', title: 'MobileNetV3 Large, ImageNet' },
  { task: 'classification', arch: 'mobilenet_v3_small', title: 'MobileNetV3 Small, ImageNet' },
  {
    task: 'classification',
    arch: 'quantized_mobilenet_v3_large',
    title: 'MobileNetV3 Large, trained for int8, ImageNet',
  },
];

/** A line of models/index.json. */
interface Weights {
  arch: string;
  resize?: number;
  dtype: ModelRow['dtype'];
  /** Relative to the page. */
  file: string;
  bytes: number;
}

function isWeights(value: unknown): value is Weights {
  const { arch, resize, dtype, file, bytes } = (value ?? {}) as Partial<Record<keyof Weights, unknown>>;
  const isDtype = dtype === 'f32' || dtype === 'int8';
  const isSize = resize === undefined || typeof resize === 'number';
  return typeof arch === 'string' && isSize && isDtype && typeof file === 'string' && typeof bytes === 'number';
}

/** What a page waits for a file that it can do without, in milliseconds. */
const PATIENCE = 2000;

/** The weights that are there; none where the site has no index, or does not give it. */
async function index(): Promise<Weights[]> {
  const tooLate = new AbortController();
  const timer = setTimeout(() => tooLate.abort(), PATIENCE);
  try {
    const listed: unknown = await (await fetch('./models/index.json', { signal: tooLate.signal })).json();
    return Array.isArray(listed) ? listed.filter(isWeights) : [];
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
  }
}

/** A row for each file of each builder; int8 first, as everywhere. */
export async function torchvisionRows(): Promise<ModelRow[]> {
  const found = (await index()).sort((a, b) => b.dtype.localeCompare(a.dtype));
  return BUILDERS.flatMap(({ task, arch, resize, title }) =>
    found
      .filter((weights) => weights.arch === arch && weights.resize === resize)
      .map(({ file, bytes, dtype }) => ({ task, title, file, bytes, dtype })),
  );
}
