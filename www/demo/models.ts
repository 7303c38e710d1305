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
  /** How the weights are stored. */
  dtype: 'f32' | 'f16' | 'int8';
}

export const MODELS: readonly ModelRow[] = [
  {
    task: 'detection',
    title: 'Faster R-CNN 320, 80 COCO classes',
    file: './models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors',
    bytes: 21_445_464,
    dtype: 'f16',
  },
  {
    task: 'segmentation',
    title: 'LR-ASPP, 11 street classes',
    file: './models/street-lraspp-mobilenetv3.f16.safetensors',
    bytes: 4_017_956,
    dtype: 'f16',
  },
  {
    task: 'segmentation',
    title: 'LR-ASPP, 11 street classes',
    file: './models/street-lraspp-mobilenetv3.int8.safetensors',
    bytes: 2_249_451,
    dtype: 'int8',
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
