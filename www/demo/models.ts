/** The models of the page's menu: a row each. The first row of a task is its default. */
import type { Task } from 'mobilesight';

/** A weights file that the page offers. */
export interface ModelRow {
  task: Task;
  title: string;
  /** Relative to the page. */
  file: string;
  /** Size of the file, shown before it is fetched. */
  bytes: number;
  /** What it computes with. The files of f32 store its weights in f16. */
  dtype: 'f32' | 'int8';
}

const DETECTOR = { task: 'detection', title: 'Faster R-CNN 320, 80 COCO classes' } as const;
const SEGMENTER = { task: 'segmentation', title: 'LR-ASPP, 11 street classes' } as const;

export const MODELS: readonly ModelRow[] = [
  {
    ...DETECTOR,
    file: './models/coco-fasterrcnn-mobilenetv3-320.int8.safetensors',
    bytes: 12_265_575,
    dtype: 'int8',
  },
  {
    ...DETECTOR,
    file: './models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors',
    bytes: 21_445_464,
    dtype: 'f32',
  },
  {
    ...SEGMENTER,
    file: './models/street-lraspp-mobilenetv3.int8.safetensors',
    bytes: 2_249_467,
    dtype: 'int8',
  },
  {
    ...SEGMENTER,
    file: './models/street-lraspp-mobilenetv3.f16.safetensors',
    bytes: 4_017_956,
    dtype: 'f32',
  },
];

/** What a task shows, and whether it is shown at first; also the order in which tasks run. */
export const TASKS: readonly { task: Task; title: string; shown: boolean }[] = [
  { task: 'detection', title: 'Boxes', shown: true },
  { task: 'segmentation', title: 'Mask', shown: true },
  { task: 'classification', title: 'Classes', shown: false },
];

/** What a task shows, in one word. */
export function taskTitle(task: Task): string {
  return TASKS.find((entry) => entry.task === task)?.title ?? task;
}
